"""The stage of landmark_extraction: the frames of one sample in, its landmarks out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, ClassVar

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Workspace
from tasks.landmarks.detection.landmarker import Landmarker
from tasks.landmarks.detection.rescue import HandRescue
from tasks.landmarks.extraction import Extractor, Track
from tasks.landmarks.formats.writing import LandmarkFile, write_landmarks
from tasks.landmarks.frames import FrameSource, open_frames
from tasks.landmarks.gaps import fill_gaps
from tasks.landmarks.models.store import Model, locate_model
from tasks.landmarks.normalization import normalize
from tasks.landmarks.overlay import Overlay
from tasks.landmarks.params import LandmarkParams
from tasks.landmarks.pictures import Strip
from tasks.landmarks.quality import measure, values
from tasks.landmarks.sequence import LandmarkSequence
from tasks.media.damage import check_truncation, damaged_frames_error, truncation_values


def preview_path(split: str, name: str) -> str:
    """Where the sheet of a sample's frames is published, relative to the output folder."""
    return f"{split}/previews/{name}.jpg"


class LandmarksStage(Stage):
    """Finds the landmarks in every frame of one sample.

    The item's only input is a folder of pictures or a video; its payload is ``{"split", "name", "media", "fps"}``,
    and ``"title"`` if the sample's own name is no file name.
    Published are ``SPLIT/landmarks/NAME.*``, ``SPLIT/previews/NAME.jpg`` and, where asked for,
    ``SPLIT/overlays/NAME.*``.
    """

    name: ClassVar[str] = "landmarks"
    version: ClassVar[int] = 2
    memory_bytes: ClassVar[int] = 450 * 2**20
    timeout_seconds: ClassVar[float] = 3600.0  # an hour of video takes about as long
    packages: ClassVar[tuple[str, ...]] = ("mediapipe", "opencv-contrib-python", "av", "pose-format")
    params: LandmarkParams

    def __init__(self, params: LandmarkParams, model: Model, rescue: Model | None = None) -> None:
        super().__init__(params)
        self._model = model
        self._rescue = rescue
        self._extractor: Extractor | None = None

    def model_digests(self) -> Mapping[str, str]:
        """sha256 by file name of the model, and of the one that looks for lost hands."""
        rescue = {f"{self._rescue.file_name} (rescue)": self._rescue.sha256} if self._rescue else {}
        return {self._model.file_name: self._model.sha256, **rescue}

    def open(self) -> None:
        """Build the landmarkers; each takes one thread's worth of a core."""
        device = self.params.device
        rescue = HandRescue(locate_model(self._rescue), device) if self._rescue else None
        self._extractor = Extractor(Landmarker(self.params.kind, locate_model(self._model), device), rescue)

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Write the landmarks of the item's sample.

        Raises BadInput if none of its frames can be read, or with ``on_damage="fail"`` if any cannot.
        """
        split, name = item.payload["split"], item.payload["name"]
        path = work.input(item.inputs[0])
        with open_frames(path, item.payload["media"], item.payload["fps"]) as source:
            truncation = source.truncation
            check_truncation(path.name, truncation, self.params.on_damage)
            raw = self._extract(source, split, name, work)
        self._check_frames(path.name, raw)
        self._write(raw, item.payload, work)
        bad = [asdict(frame) for frame in raw.bad_frames]
        figures = values(measure(raw)) | truncation_values(truncation)
        return StageResult(figures, {"split": split, "name": name, "bad_frames": bad})

    def _check_frames(self, name: str, raw: LandmarkSequence) -> None:
        """Raise BadInput if frames cannot be read and that is not accepted."""
        if raw.bad_frames and self.params.on_damage == "fail":
            raise damaged_frames_error(name, [frame.name for frame in raw.bad_frames], raw.bad_frames[0].reason)

    def _extract(self, source: FrameSource, split: str, name: str, work: Workspace) -> LandmarkSequence:
        """The landmarks as found; the pictures of them are drawn on the way."""
        assert self._extractor is not None, "open() comes first"
        skeleton = self._extractor.skeleton
        track, strip = Track(self.params.kind, skeleton), Strip(skeleton, source.frames or None)
        with ExitStack() as stack:
            overlay: Overlay | None = None
            if self.params.overlay:
                folder = work.output(f"{split}/overlays/{name}").parent
                overlay = Overlay(folder, name, skeleton, source.fps)
                stack.callback(overlay.close)
            for look in self._extractor.looks(source):
                track.add(look)
                strip.add(look.frame.frame_index, look.frame.image, look.points, look.source)
                if overlay:
                    overlay.add(look.frame.image, look.points, look.source, look.frame.seconds)
        work.output(preview_path(split, name)).write_bytes(strip.jpeg())
        return track.sequence(source.fps)

    def _write(self, raw: LandmarkSequence, sample: Mapping[str, Any], work: Workspace) -> None:
        params, name, title = self.params, sample["name"], sample.get("title", "")
        finished = normalize(fill_gaps(raw, params.fill_gaps), params.normalize)
        file = LandmarkFile(name, finished, raw, self.model_digests(), params.normalize, params.fill_gaps, title)
        write_landmarks(file, params.format, work.output, f"{sample['split']}/landmarks")
