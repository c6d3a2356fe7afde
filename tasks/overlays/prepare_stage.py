"""The stage that detects the overlays of a video and lists its frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, get_args

import cv2
import numpy as np
from pydantic import TypeAdapter

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Value, Workspace
from tasks.media.segments.codecs import Codec
from tasks.media.segments.containers import choose_container
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.source import Survey, save_survey, survey_video
from tasks.media.segments.tail import list_damage_columns
from tasks.overlays.boxes import Box
from tasks.overlays.detection.adjusting import Adjustments, adjust_findings, parse_times, read_mask
from tasks.overlays.detection.findings import Findings
from tasks.overlays.detection.mask.parsing import parse_mask
from tasks.overlays.detection.static.detector import find_static
from tasks.overlays.detection.yolo.search import SearchSettings, find_by_model
from tasks.overlays.options import PrepareParams
from tasks.overlays.overlay import Overlay, save_overlays
from tasks.overlays.prepared import Prepared, mask_path, overlays_path, survey_path
from tasks.overlays.video_source import VideoSource

_FORMAT = TypeAdapter(PictureFormat)


class PrepareStage(Stage):
    """Prepares one video.

    The item's first input is the video, the second the mask image or the model, if any; then images of further
    overlays. It publishes the survey of the video, which lists its frames, the overlays, and an image of their masks.
    """

    name: ClassVar[str] = "prepare"
    version: ClassVar[int] = 3
    memory_bytes: ClassVar[int] = 1 << 30  # 3840x2160 in 8 bits takes 650 MB, in 10 bits half as much again
    timeout_seconds: ClassVar[float] = 3600.0
    packages: ClassVar[tuple[str, ...]] = ("av", "numpy", "opencv-contrib-python", "scipy")
    params: PrepareParams

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Survey the video and detect its overlays. Raises BadInput if it is not a video, or the mask does not fit."""
        path = work.input(item.inputs[0])
        survey = survey_video(path, tolerant=True)
        findings = self._detect(path, survey, [work.input(extra) for extra in item.inputs[1:]])
        save_survey(survey, work.output(survey_path(item.id)))
        save_overlays(findings.overlays, work.output(overlays_path(item.id)))
        _write_mask(work.output(mask_path(item.id)), findings.overlays, survey)
        detail = {
            "picture": _FORMAT.dump_python(survey.picture, mode="json"),
            "containers": {codec: choose_container(path, codec).suffix for codec in get_args(Codec)},
            "found": len(_list_boxes(findings.overlays)),
            "reason": findings.reason,
        }
        return StageResult(_make_values(survey, findings), detail)

    def _detect(self, path: Path, survey: Survey, extra: Sequence[Path]) -> Findings:
        params = self.params
        own, images = extra[: len(extra) - params.added_images], extra[len(extra) - params.added_images :]
        findings = self._find(path, survey, own[0] if own else None)
        adjustments = Adjustments(
            tuple(box for text in params.skip if isinstance(box := parse_mask(text), Box)),
            (*params.add, *map(str, images)),
            tuple(part for text in params.times if not isinstance(part := parse_times(text), Problem)),
        )
        return adjust_findings(path, survey, findings, adjustments)

    def _find(self, path: Path, survey: Survey, extra: Path | None) -> Findings:
        if self.params.detector == "static":
            return find_static(path, survey)
        if self.params.detector == "yolo":
            settings = SearchSettings(self.params.score, classes=self.params.classes, device=self.params.device)
            return find_by_model(path, survey, Path(extra or ""), settings)
        overlays = read_mask(path, survey, str(extra) if extra else self.params.mask)
        suffix = "" if all(overlay.is_known for overlay in overlays) else "; unknown opacity"
        return Findings(overlays, 1.0, f"given by --mask{suffix}")


def make_prepare_items(videos: Iterable[VideoSource], extra: Sequence[Path] = ()) -> list[Item]:
    """Return an item for each local video of ``videos``; ``extra`` are the model and the mask images, if any."""
    more = tuple(map(str, extra))
    return [_make_item(source, source.path, more) for source in videos if source.path or source.refusal]


def _make_item(source: VideoSource, path: Path | None, more: tuple[str, ...]) -> Item:
    if path is None:
        return Item(source.id, name=source.file_name, path=source.relative, refusal=source.refusal)
    cost = float(path.stat().st_size)
    return Item(source.id, {}, (str(path), *more), cost, name=source.file_name, path=source.relative)


def read_prepared(
    video: str,
    path: Path,
    detail: Mapping[str, Any],
    digests: Mapping[str, str],
    source: VideoSource | None = None,
) -> Prepared:
    """Return the video of the stage's ``detail``; ``digests`` are those of its outputs, by path."""
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


def _make_values(survey: Survey, findings: Findings) -> dict[str, Value]:
    timeline, picture = survey.timeline, survey.picture
    overlays = findings.overlays
    shown = {
        frame for overlay in overlays for part in overlay.ranges for frame in range(part.start_frame, part.end_frame)
    }
    return {
        "width_px": picture.width_px,
        "height_px": picture.height_px,
        "pixel_format": picture.pixel_format,
        "frames": len(timeline),
        "duration_seconds": timeline.duration_seconds,
        "overlays": len(_list_boxes(overlays)),
        "boxes": _list_boxes(overlays),
        "opacity": _measure_opacity(overlays),
        "frames_with_overlay": len(shown),
        "confidence": findings.confidence,
        "reason": findings.reason,
        **list_damage_columns(survey.damage),
    }


def _list_boxes(overlays: Iterable[Overlay]) -> list[str]:
    """Return the boxes of overlays; those of overlays with several strengths once."""
    return list(dict.fromkeys(map(_format_box, overlays)))


def _format_box(overlay: Overlay) -> str:
    box = asdict(overlay.box)
    words = "{x},{y},{width}x{height}".format(**box)
    return f"{overlay.label} {words}".strip()


def _measure_opacity(overlays: Iterable[Overlay]) -> float | None:
    """Return the median opacity of overlays; None if it is unknown."""
    opacities = [
        layer.alpha[layer.mask & np.isfinite(layer.alpha)] for overlay in overlays for layer in overlay.layers[:1]
    ]
    samples = np.concatenate(opacities) if opacities else np.empty(0)
    return round(float(np.median(samples)), 3) if len(samples) else None


def _write_mask(path: Path, overlays: Iterable[Overlay], survey: Survey) -> None:
    """Write a PNG of the frame's size: white where an overlay shows at any time."""
    page = np.zeros((survey.picture.height_px, survey.picture.width_px), np.uint8)
    for overlay in overlays:
        box = overlay.box
        page[box.y : box.bottom, box.x : box.right][overlay.layers[0].mask] = 255
    path.write_bytes(bytes(cv2.imencode(".png", page)[1]))
