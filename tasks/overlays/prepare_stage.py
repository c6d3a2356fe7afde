"""The stage that finds what lies over a video, and lists its frames for the stages after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, get_args

import cv2
import numpy as np
from pydantic import TypeAdapter

from tasks.engine.contract.errors import BadInput, Problem
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Value, Workspace
from tasks.media.segments.containers import choose_container
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.settings import Codec
from tasks.media.segments.source import Survey, save_survey, survey_video
from tasks.media.segments.tail import damage_values
from tasks.overlays.detection.findings import Found
from tasks.overlays.detection.mask.opacity import with_opacity
from tasks.overlays.detection.mask.parsing import fit_mask, parse_mask
from tasks.overlays.detection.static.detector import find_static
from tasks.overlays.detection.yolo.search import SearchSettings, find_by_model
from tasks.overlays.options import PrepareParams
from tasks.overlays.overlay import Overlay, save_overlays
from tasks.overlays.prepared import Prepared, mask_path, overlays_path, survey_path
from tasks.overlays.video_source import VideoSource

_FORMAT = TypeAdapter(PictureFormat)


class PrepareStage(Stage):
    """Prepares one video.

    The item's first input is the video; a second one is the mask's picture or the model, if any. Published
    are the survey of the video, which lists its frames, what lies over them, and a picture of where.
    """

    name: ClassVar[str] = "prepare"
    version: ClassVar[int] = 3
    memory_bytes: ClassVar[int] = 1 << 30  # 3840x2160 in 8 bits takes 650 MB, in 10 bits half as much again
    timeout_seconds: ClassVar[float] = 3600.0
    packages: ClassVar[tuple[str, ...]] = ("av", "numpy", "opencv-contrib-python-headless", "scipy")
    params: PrepareParams

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Survey the video and find what lies over it. Raises BadInput where it is none, or the mask is not its own."""
        path = work.input(item.inputs[0])
        surveyed = survey_video(path, tolerant=True)
        extra = work.input(item.inputs[1]) if len(item.inputs) > 1 else None
        found = self._found(path, surveyed, extra)
        save_survey(surveyed, work.output(survey_path(item.id)))
        save_overlays(found.overlays, work.output(overlays_path(item.id)))
        _write_mask(work.output(mask_path(item.id)), found.overlays, surveyed)
        detail = {
            "picture": _FORMAT.dump_python(surveyed.picture, mode="json"),
            "containers": {codec: choose_container(path, codec).suffix for codec in get_args(Codec)},
            "found": len(_places(found.overlays)),
            "reason": found.reason,
        }
        return StageResult(_values(surveyed, found), detail)

    def _found(self, path: Path, surveyed: Survey, extra: Path | None) -> Found:
        if self.params.detector == "static":
            return find_static(path, surveyed)
        if self.params.detector == "yolo":
            settings = SearchSettings(self.params.score, classes=self.params.classes, device=self.params.device)
            return find_by_model(path, surveyed, Path(extra or ""), settings)
        return _given(path, surveyed, str(extra) if extra else self.params.mask)


def _given(path: Path, surveyed: Survey, text: str) -> Found:
    """What the user says is an overlay. Raises BadInput where that does not fit the video."""
    given = parse_mask(text)
    overlay = given if isinstance(given, Problem) else fit_mask(given, surveyed, path.name)
    if isinstance(overlay, Problem):
        raise BadInput(str(overlay))
    overlays = with_opacity(path, surveyed, overlay)
    known = "" if all(one.is_known for one in overlays) else "; its opacity is not known"
    return Found(overlays, 1.0, f"given by --mask{known}")


def prepare_items(videos: Iterable[VideoSource], extra: Path | None) -> list[Item]:
    """An item for each of ``videos`` that is here; ``extra`` is the mask's picture or the model, if any."""
    more = (str(extra),) if extra else ()
    return [_item(source, source.path, more) for source in videos if source.path or source.refusal]


def _item(source: VideoSource, path: Path | None, more: tuple[str, ...]) -> Item:
    if path is None:
        return Item(source.id, name=source.file_name, path=source.relative, refusal=source.refusal)
    cost = float(path.stat().st_size)
    return Item(source.id, {}, (str(path), *more), cost, name=source.file_name, path=source.relative)


def prepared(
    video: str,
    path: Path,
    detail: Mapping[str, Any],
    digests: Mapping[str, str],
    source: VideoSource | None = None,
) -> Prepared:
    """What the stage's ``detail`` says of a video; ``digests`` are those of its outputs, by their paths."""
    return Prepared(
        video=video,
        path=path,
        survey_digest=digests[survey_path(video)],
        overlays_digest=digests[overlays_path(video)],
        picture=_FORMAT.validate_python(detail["picture"]),
        containers=detail["containers"],
        found=detail["found"],
        reason=detail["reason"],
        source=source or VideoSource(video, path.name, path),
    )


def _values(surveyed: Survey, found: Found) -> dict[str, Value]:
    timeline, picture = surveyed.timeline, surveyed.picture
    overlays = found.overlays
    shown = {frame for one in overlays for part in one.ranges for frame in range(part.start_frame, part.end_frame)}
    return {
        "width_px": picture.width_px,
        "height_px": picture.height_px,
        "pixel_format": picture.pixel_format,
        "frames": len(timeline),
        "duration_seconds": timeline.duration_seconds,
        "overlays": len(_places(overlays)),
        "boxes": _places(overlays),
        "opacity": _opacity(overlays),
        "frames_with_overlay": len(shown),
        "confidence": found.confidence,
        "reason": found.reason,
        **damage_values(surveyed.damage),
    }


def _places(overlays: Iterable[Overlay]) -> list[str]:
    """Where overlays lie; one that is given in several strengths, each with frames of its own, once."""
    return list(dict.fromkeys(map(_box_words, overlays)))


def _box_words(overlay: Overlay) -> str:
    box = asdict(overlay.box)
    words = "{x},{y},{width}x{height}".format(**box)
    return f"{overlay.label} {words}".strip()


def _opacity(overlays: Iterable[Overlay]) -> float | None:
    """The median opacity of what is known of them; None where nothing is."""
    known = [layer.alpha[layer.mask & np.isfinite(layer.alpha)] for one in overlays for layer in one.layers[:1]]
    samples = np.concatenate(known) if known else np.empty(0)
    return round(float(np.median(samples)), 3) if len(samples) else None


def _write_mask(path: Path, overlays: Iterable[Overlay], surveyed: Survey) -> None:
    """A PNG as large as the picture: white where an overlay lies at any time."""
    page = np.zeros((surveyed.picture.height_px, surveyed.picture.width_px), np.uint8)
    for one in overlays:
        box = one.box
        page[box.y : box.bottom, box.x : box.right][one.layers[0].mask] = 255
    path.write_bytes(bytes(cv2.imencode(".png", page)[1]))
