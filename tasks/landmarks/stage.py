"""The landmarks stage of landmark_extraction: extract the landmarks of one sample."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, ClassVar

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Workspace
from tasks.landmarks.contact_sheets import ContactSheet
from tasks.landmarks.detection.landmarker import Landmarker
from tasks.landmarks.detection.rescue import HandRescue
from tasks.landmarks.extraction import Extractor, SequenceBuilder
from tasks.landmarks.formats.writing import LandmarkFile, write_landmarks
from tasks.landmarks.frames import FrameSource, open_frames
from tasks.landmarks.gaps import fill_gaps
from tasks.landmarks.models.store import Model, locate_model
from tasks.landmarks.normalization import normalize
from tasks.landmarks.overlay import Overlay
from tasks.landmarks.params import LandmarkParams
from tasks.landmarks.quality import list_figures, measure_quality
from tasks.landmarks.sequence import LandmarkSequence
from tasks.media.damage import check_truncation, get_truncation_values, make_damage_error


def build_preview_path(split: str, name: str) -> str:
    """Return the path of a sample's contact sheet, relative to the output folder."""
    return f"{split}/previews/{name}.jpg"


class LandmarksStage(Stage):
    """Extract the landmarks from every frame of one sample.

    The item's only input is an image folder or a video; its payload is ``{"split", "name", "media", "fps"}``, and
    ``"title"`` if the sample's name is not safe as a file name. Outputs are ``SPLIT/landmarks/NAME.*``,
    ``SPLIT/previews/NAME.jpg`` and, with ``overlay``, ``SPLIT/overlays/NAME.*``.
    """

    name: ClassVar[str] = "landmarks"
    version: ClassVar[int] = 4
    memory_bytes: ClassVar[int] = 450 * 2**20
    timeout_seconds: ClassVar[float] = 3600.0  # an hour of video takes about an hour
    packages: ClassVar[tuple[str, ...]] = ("mediapipe", "opencv-contrib-python", "av", "pose-format")
    params: LandmarkParams

    def __init__(self, params: LandmarkParams, model: Model, rescue: Model | None = None) -> None:
        super().__init__(params)
        self._model = model
        self._rescue = rescue
        self._extractor: Extractor | None = None

    def list_model_digests(self) -> Mapping[str, str]:
        """Return the sha256 of the model, and of the hand rescue's model, by file name."""
        rescue = {f"{self._rescue.file_name} (rescue)": self._rescue.sha256} if self._rescue else {}
        return {self._model.file_name: self._model.sha256, **rescue}

    def open(self) -> None:
        """Build the landmarkers; each uses one core."""
        device = self.params.device
        rescue = HandRescue(locate_model(self._rescue), device) if self._rescue else None
        self._extractor = Extractor(Landmarker(self.params.kind, locate_model(self._model), device), rescue)

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Write the landmarks of the item's sample.

        Raises BadInput if no frame is readable, or if any is unreadable with ``on_damage="fail"``.
        """
        split, name = item.payload["split"], item.payload["name"]
        path = work.input(item.inputs[0])
        start, end = item.payload.get("start"), item.payload.get("end")
        with open_frames(path, item.payload["media"], item.payload["fps"], start, end) as source:
            truncation = source.truncation
            check_truncation(path.name, truncation, self.params.on_damage)
            raw = self._extract(source, split, name, work)
            conversion = source.conversion
        self._check_frames(path.name, raw)
        self._write(raw, item.payload, work)
        bad = [asdict(frame) for frame in raw.bad_frames]
        figures = list_figures(measure_quality(raw)) | asdict(conversion) | get_truncation_values(truncation)
        return StageResult(figures, {"split": split, "name": name, "bad_frames": bad})

    def _check_frames(self, name: str, raw: LandmarkSequence) -> None:
        """Raise BadInput if there are unreadable frames and ``on_damage`` is "fail"."""
        if raw.bad_frames and self.params.on_damage == "fail":
            raise make_damage_error(name, [frame.name for frame in raw.bad_frames], raw.bad_frames[0].reason)

    def _extract(self, source: FrameSource, split: str, name: str, work: Workspace) -> LandmarkSequence:
        """Return the landmarks as detected, and write the contact sheet and the overlay."""
        assert self._extractor is not None, "open() comes first"
        skeleton = self._extractor.skeleton
        builder, contact_sheet = (
            SequenceBuilder(self.params.kind, skeleton),
            ContactSheet(skeleton, source.frames or None),
        )
        with ExitStack() as stack:
            overlay: Overlay | None = None
            if self.params.overlay:
                folder = work.output(f"{split}/overlays/{name}").parent
                overlay = Overlay(folder, name, skeleton, source.fps)
                stack.callback(overlay.close)
            for detection in self._extractor.detect(source):
                builder.add(detection)
                contact_sheet.add(
                    detection.frame.frame_index, detection.frame.image, detection.points, detection.source
                )
                if overlay:
                    overlay.add(detection.frame.image, detection.points, detection.source, detection.frame.seconds)
        work.output(build_preview_path(split, name)).write_bytes(contact_sheet.encode_jpeg())
        return builder.build(source.fps)

    def _write(self, raw: LandmarkSequence, sample: Mapping[str, Any], work: Workspace) -> None:
        params, name, title = self.params, sample["name"], sample.get("title", "")
        finished = normalize(fill_gaps(raw, params.fill_gaps), params.normalize)
        file = LandmarkFile(name, finished, raw, self.list_model_digests(), params.normalize, params.fill_gaps, title)
        write_landmarks(file, params.format, work.output, f"{sample['split']}/landmarks")
