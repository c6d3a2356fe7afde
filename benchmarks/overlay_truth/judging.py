"""Compares detected overlays with the true ones: opacity and frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.overlays.boxes import intersect, slice_box
from tasks.overlays.overlay import Floats, FrameRange, Overlay


def measure_opacity_error(detected: Sequence[Overlay], true: Sequence[Overlay]) -> float | None:
    """Return the mean error of the luma opacity, 0 to 1, over samples and frames that both overlays cover.

    Return None if there are none or all opacities are unknown.
    """
    differences = [part for overlay in detected for true_overlay in true for part in _compare(overlay, true_overlay)]
    samples = sum(distances.size * frames for distances, frames in differences)
    return sum(float(distances.sum()) * frames for distances, frames in differences) / samples if samples else None


def _compare(detected: Overlay, true: Overlay) -> list[tuple[Floats, int]]:
    """Return the errors of samples that both cover, and the number of frames in which both show."""
    frames = sum(_count_common(layer, true_layer) for layer in detected.ranges for true_layer in true.ranges)
    both = intersect(detected.box, true.box)
    if not frames or both is None:
        return []
    layer, true_layer = detected.layers[0], true.layers[0]
    mine, theirs = slice_box(both, detected.box), slice_box(both, true.box)
    compared = layer.mask[mine] & true_layer.mask[theirs] & np.isfinite(layer.alpha[mine])
    return [(np.abs(layer.alpha[mine] - true_layer.alpha[theirs])[compared], frames)]


def _count_common(part: FrameRange, other: FrameRange) -> int:
    return max(0, min(part.end_frame, other.end_frame) - max(part.start_frame, other.start_frame))


def count_wrong_frames(detected: Sequence[Overlay], true: Sequence[Overlay], frames: int) -> int:
    """Count the frames with a detected overlay and no true one, or the reverse."""
    return int(np.count_nonzero(_list_shown(detected, frames) != _list_shown(true, frames)))


def _list_shown(overlays: Sequence[Overlay], frames: int) -> np.ndarray:
    """Return True for each frame in which an overlay shows."""
    return np.array([any(overlay.is_shown(index) for overlay in overlays) for index in range(frames)], bool)
