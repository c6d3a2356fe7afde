"""Overlay detection and removal as in overlay_removal, without flow and encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.overlay_truth.crops import Crops, View, crop_frames
from tasks.media.segments.plan import Segment
from tasks.media.segments.planes import Plane
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.source import survey_video
from tasks.overlays.cleaning import SegmentCleaner
from tasks.overlays.components import ComponentReader, Shape
from tasks.overlays.detection.findings import Findings
from tasks.overlays.detection.mask.opacity import fit_opacity
from tasks.overlays.detection.static.detector import find_static
from tasks.overlays.overlay import FrameRange, Layer, Overlay
from tasks.overlays.removal.base import Method, count_context_frames, plan_regions
from tasks.overlays.removal.fusing import FusingRemover


def detect(path: Path) -> Findings:
    """Return the findings of detection without training in the video at ``path``."""
    return find_static(path, survey_video(path))


def forget_opacity(overlay: Overlay) -> Overlay:
    """Return ``overlay`` as a user's mask gives it: its place only."""
    unknown = [np.where(layer.mask, np.float32(np.nan), np.float32(0)) for layer in overlay.layers]
    layers = (
        Layer(layer.mask, alpha, np.full_like(layer.color, np.nan))
        for layer, alpha in zip(overlay.layers, unknown, strict=True)
    )
    return replace(overlay, layers=tuple(layers))


def fit_masks(path: Path, overlays: Sequence[Overlay]) -> list[Overlay]:
    """Return the overlays fitted from the masks and times of ``overlays``, for the video at ``path``."""
    survey = survey_video(path)
    return [fitted for overlay in overlays for fitted in fit_opacity(path, survey, forget_opacity(overlay))]


def remove(path: Path, overlays: Sequence[Overlay], view: View, method: Method = "auto") -> Crops:
    """Return the view of the video at ``path`` without ``overlays``."""
    return crop_frames(clean_frames(path, overlays, view.marked.shape, method, view.shown), view)


def clean_frames(
    path: Path, overlays: Sequence[Overlay], shape: Shape, method: Method = "auto", wanted: FrameRange | None = None
) -> Iterator[tuple[Plane, ...]]:
    """Yield the components of the ``wanted`` frames of the video at ``path`` (default: all), without ``overlays``."""
    survey = survey_video(path)
    total, picture = len(survey.timeline), survey.picture
    wanted, context = wanted or FrameRange(0, total), count_context_frames(method)
    start, end = wanted.start_frame, wanted.end_frame
    parts = plan_regions(overlays, shape, picture.width_px, picture.height_px)
    cleaner = SegmentCleaner(shape, parts, lambda region: FusingRemover(method, region, shape))
    segment = Segment(0, start, end, max(0, start - context), min(total, end + context))
    components = ComponentReader()
    with SegmentReader(path, survey) as reader:
        for frame in cleaner.clean(reader.frames(segment), segment):
            yield components.get_components(frame)
