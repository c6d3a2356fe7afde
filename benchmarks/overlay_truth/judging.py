"""How near what was found is to what is there, beside where it lies: its opacity, and when it shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.overlays.boxes import intersect, slice_box
from tasks.overlays.overlay import Floats, FrameRange, Overlay


def opacity_error(found: Sequence[Overlay], true: Sequence[Overlay]) -> float | None:
    """The mean distance of the opacity of luma from the true one, 0 to 1, over samples and frames that both cover.

    ``None`` where there are none, or the opacity of none is known.
    """
    apart = [part for one in found for other in true for part in _apart(one, other)]
    samples = sum(distances.size * frames for distances, frames in apart)
    return sum(float(distances.sum()) * frames for distances, frames in apart) / samples if samples else None


def _apart(found: Overlay, true: Overlay) -> list[tuple[Floats, int]]:
    """Distances of the samples that both cover, and in how many frames both show."""
    frames = sum(_common(one, other) for one in found.ranges for other in true.ranges)
    both = intersect(found.box, true.box)
    if not frames or both is None:
        return []
    one, other = found.layers[0], true.layers[0]
    mine, theirs = slice_box(both, found.box), slice_box(both, true.box)
    known = one.mask[mine] & other.mask[theirs] & np.isfinite(one.alpha[mine])
    return [(np.abs(one.alpha[mine] - other.alpha[theirs])[known], frames)]


def _common(one: FrameRange, other: FrameRange) -> int:
    return max(0, min(one.end_frame, other.end_frame) - max(one.start_frame, other.start_frame))


def wrong_frames(found: Sequence[Overlay], true: Sequence[Overlay], frames: int) -> int:
    """In how many of ``frames`` something is found that is not there, or nothing where something is."""
    return int(np.count_nonzero(_shown(found, frames) != _shown(true, frames)))


def _shown(overlays: Sequence[Overlay], frames: int) -> np.ndarray:
    """For each frame, whether any of ``overlays`` shows."""
    return np.array([any(one.is_shown(index) for one in overlays) for index in range(frames)], bool)
