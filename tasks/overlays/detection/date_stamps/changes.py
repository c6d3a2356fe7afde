"""Where and when letters of a row change: the ink steps from one frame to the next and then stays.

Motion in the background changes the image gradually, and a cut changes all of it. A letter that is replaced changes as
much from one frame to the next as from the frames before to the frames after, and its surroundings do not change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from tasks.overlays.detection.date_stamps.rows import OUTSIDE_ROWS, Ink, RowView, TextRow
from tasks.overlays.overlay import Floats

# Prior variance of filling in: frames in which the ink would change less are uninformative.
_PRIOR = 3.0
# A change counts above this share of the change by opaque ink, and above this multiple of the median along the row:
# digits have common parts, and an 8 becomes a 9 by a fiftieth of its area.
_MIN_CHANGE, _MIN_RATIO = 0.02, 4.0
# Minimum sum of changes in a column: a clear change, or several weak ones.
_MIN_CHANGES = 0.12
# Letter width relative to the height; and the minimum change of a column, relative to the maximum.
_WIDTH, _MIN_SHARE = 0.6, 0.1


@dataclass(frozen=True)
class Change:
    """The change from one frame to the next.

    frame    the first frame after the change
    profile  float32, one per column: mean squared step, relative to the ink's opacity
    clear    float32, one per column: the profile at the width of letters, at peaks in place and time; 0 elsewhere
    """

    frame: int
    profile: Floats
    clear: Floats


@dataclass(frozen=True)
class Block:
    """Adjacent letters that change: columns ``start`` to ``end`` of a RowView."""

    start: int
    end: int

    @property
    def columns(self) -> slice:
        """The columns of the block."""
        return slice(self.start, self.end)


class ChangeFinder:
    """Receives the ink of successive frames of ``row``; reports changes 2 ``lag`` frames later (``lag`` is at least 2).

    Motion changes every frame. A change counts if it is the largest within ``lag`` frames and many times the median.
    """

    def __init__(self, row: TextRow, lag: int) -> None:
        self._opacity, self._lag, self._width = row.opacity, lag, estimate_letter_width(row.height)
        self._inks: deque[tuple[int, Ink]] = deque(maxlen=2 * lag)
        self._steps: deque[tuple[int, Floats, Floats]] = deque(maxlen=2 * lag + 1)

    def push(self, frame: int, ink: Ink) -> Change | None:
        """Add the next frame's ink."""
        self._inks.append((frame, ink))
        if len(self._inks) < 2 * self._lag:
            return None
        profile = self._compute_profile([recent for _, recent in self._inks])
        self._steps.append((self._inks[self._lag][0], profile, _smooth(profile, self._width)))
        return self._evaluate_step(len(self._steps) - self._lag - 1) if len(self._steps) > self._lag else None

    def flush(self) -> Iterator[Change]:
        """Yield the changes in the last frames."""
        for number in range(max(0, len(self._steps) - self._lag), len(self._steps)):
            yield self._evaluate_step(number)

    def _compute_profile(self, inks: list[Ink]) -> Floats:
        before, after = inks[: self._lag], inks[self._lag :]
        lasting = estimate_coverage(after) - estimate_coverage(before)
        sudden = estimate_coverage(after[:1]) - estimate_coverage(before[-1:])
        inner = (lasting * sudden)[OUTSIDE_ROWS:-OUTSIDE_ROWS]
        return np.asarray(inner.mean(axis=0) / np.float32(self._opacity**2), np.float32)

    def _evaluate_step(self, number: int) -> Change:
        frame, profile, smooth = self._steps[number]
        all_smooth = np.stack([step for _, _, step in self._steps])
        usual = np.maximum(np.median(np.abs(all_smooth), axis=0), np.median(np.abs(smooth)))
        clear = (smooth > np.maximum(_MIN_CHANGE, _MIN_RATIO * usual)) & (smooth >= all_smooth.max(axis=0))
        return Change(frame, profile, np.where(clear, smooth, np.float32(0)).astype(np.float32))


def estimate_coverage(inks: list[Ink]) -> Floats:
    """Return the opacity of each pixel by least squares over ``inks``: height x width."""
    product, square = sum(ink.product for ink in inks), sum(ink.square for ink in inks)
    return np.asarray(product / (square + np.float32(_PRIOR * len(inks))), np.float32)


class ChangeCounter:
    """Accumulates changes of a row to find columns that change repeatedly or clearly."""

    def __init__(self, view: RowView) -> None:
        self._width = estimate_letter_width(view.row.height)
        self._changes = np.zeros(view.box.width, np.float32)
        self._profile = np.zeros(view.box.width, np.float32)

    def add(self, change: Change) -> None:
        """Count a change."""
        self._changes += change.clear
        nearby = cv2.dilate((change.clear > 0).astype(np.uint8)[None], np.ones((1, self._width), np.uint8))[0] > 0
        self._profile += np.where(nearby, np.maximum(change.profile, 0), np.float32(0))

    def find_blocks(self) -> Iterator[Block]:
        """Yield the letters that change, from left to right; overlapping ones are merged."""
        blocks: list[Block] = []
        for (place,) in ndimage.find_objects(ndimage.label(self._changes > _MIN_CHANGES)[0]):
            reach = slice(max(0, place.start - self._width // 2), place.stop + self._width // 2)
            profile = self._profile[reach]
            columns = np.flatnonzero(profile > _MIN_SHARE * profile.max()) + reach.start
            start, end = int(columns[0]), int(columns[-1]) + 1
            if blocks and start < blocks[-1].end:
                start, end = min(start, blocks[-1].start), max(end, blocks.pop().end)
            blocks.append(Block(start, end))
        yield from blocks


def is_changed(change: Change, block: Block) -> bool:
    """Return True if ``block`` shows other letters from this frame on."""
    return bool((change.clear[block.columns] > 0).any())


def estimate_letter_width(height: int) -> int:
    """Return the typical width in pixels of letters of this height."""
    return max(3, round(_WIDTH * height))


def _smooth(profile: Floats, width: int) -> Floats:
    return np.asarray(cv2.blur(profile[None], (width, 1), borderType=cv2.BORDER_REPLICATE)[0], np.float32)
