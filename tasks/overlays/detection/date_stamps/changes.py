"""Where letters beside a line change, and when: the ink there steps from one frame to the next, and then stays.

What moves beneath changes the picture step by step, and a cut changes all of it. A letter that becomes another changes
by as much from one frame to the next as from the frames before to the frames after, and what is beside it does not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from tasks.overlays.detection.date_stamps.rows import KNOWN_ROWS, Ink, RowView, TextRow
from tasks.overlays.overlay import Floats

# A frame in which the ink would change no more than what is filled in errs by tells nothing.
_PRIOR = 3.0
# A change counts where it makes so much of what an opaque picture of the ink would, and so many times what is usual
# along the line: digits share strokes, and an 8 becomes a 9 by a fiftieth of their place.
_LEAST_CHANGE, _TIMES_USUAL = 0.02, 4.0
# Columns are of a letter that changes where their changes add up to this: one clear change, or some weak ones.
_LEAST_CHANGES = 0.12
# Letters are narrower than high by about this; and columns of one that change least, as a share of the most.
_WIDTH, _LEAST_SHARE = 0.6, 0.1


@dataclass(frozen=True)
class Change:
    """What changes between a frame and the one before.

    frame    the first one after it
    profile  float32, one a column: the mean square of the step, as a share of the ink's opacity
    clear    float32, one a column: the same, as wide as letters are, where it stands out in place and time; 0 elsewhere
    """

    frame: int
    profile: Floats
    clear: Floats


@dataclass(frozen=True)
class Block:
    """Letters side by side that change: columns ``start`` up to ``end`` of what a RowView looks at."""

    start: int
    end: int

    @property
    def columns(self) -> slice:
        """Its columns."""
        return slice(self.start, self.end)


class ChangeFinder:
    """Takes the ink of frame after frame of ``row``, and says what changed 2 ``lag`` frames ago; ``lag`` is 2 at least.

    What moves changes frame after frame: a change stands out where it is the largest within ``lag`` frames, and many
    times what is usual in them.
    """

    def __init__(self, row: TextRow, lag: int) -> None:
        self._opacity, self._lag, self._width = row.opacity, lag, letter_width(row.height)
        self._inks: deque[tuple[int, Ink]] = deque(maxlen=2 * lag)
        self._steps: deque[tuple[int, Floats, Floats]] = deque(maxlen=2 * lag + 1)

    def push(self, frame: int, ink: Ink) -> Change | None:
        """The next frame's ink."""
        self._inks.append((frame, ink))
        if len(self._inks) < 2 * self._lag:
            return None
        profile = self._profile([one for _, one in self._inks])
        self._steps.append((self._inks[self._lag][0], profile, _smooth(profile, self._width)))
        return self._change(len(self._steps) - self._lag - 1) if len(self._steps) > self._lag else None

    def rest(self) -> Iterator[Change]:
        """What changed in the last frames."""
        for number in range(max(0, len(self._steps) - self._lag), len(self._steps)):
            yield self._change(number)

    def _profile(self, inks: list[Ink]) -> Floats:
        before, after = inks[: self._lag], inks[self._lag :]
        lasting = coverage(after) - coverage(before)
        at_once = coverage(after[:1]) - coverage(before[-1:])
        inner = (lasting * at_once)[KNOWN_ROWS:-KNOWN_ROWS]
        return np.asarray(inner.mean(axis=0) / np.float32(self._opacity**2), np.float32)

    def _change(self, number: int) -> Change:
        frame, profile, smooth = self._steps[number]
        all_smooth = np.stack([one for _, _, one in self._steps])
        usual = np.maximum(np.median(np.abs(all_smooth), axis=0), np.median(np.abs(smooth)))
        clear = (smooth > np.maximum(_LEAST_CHANGE, _TIMES_USUAL * usual)) & (smooth >= all_smooth.max(axis=0))
        return Change(frame, profile, np.where(clear, smooth, np.float32(0)).astype(np.float32))


def coverage(inks: list[Ink]) -> Floats:
    """The opacity of each pixel, by least squares over the frames whose ink is given: height x width."""
    product, square = sum(one.product for one in inks), sum(one.square for one in inks)
    return np.asarray(product / (square + np.float32(_PRIOR * len(inks))), np.float32)


class ColumnsThatChange:
    """Gathers changes of a line, and tells which columns of it change again and again, or clearly once."""

    def __init__(self, view: RowView) -> None:
        self._width = letter_width(view.row.height)
        self._changes = np.zeros(view.box.width, np.float32)
        self._profile = np.zeros(view.box.width, np.float32)

    def add(self, change: Change) -> None:
        """Count it where it stands out."""
        self._changes += change.clear
        near = cv2.dilate((change.clear > 0).astype(np.uint8)[None], np.ones((1, self._width), np.uint8))[0] > 0
        self._profile += np.where(near, np.maximum(change.profile, 0), np.float32(0))

    def blocks(self) -> Iterator[Block]:
        """The letters that change, from left to right; those that lie over each other are one."""
        found: list[Block] = []
        for (place,) in ndimage.find_objects(ndimage.label(self._changes > _LEAST_CHANGES)[0]):
            reach = slice(max(0, place.start - self._width // 2), place.stop + self._width // 2)
            profile = self._profile[reach]
            columns = np.flatnonzero(profile > _LEAST_SHARE * profile.max()) + reach.start
            start, end = int(columns[0]), int(columns[-1]) + 1
            if found and start < found[-1].end:
                start, end = min(start, found[-1].start), max(end, found.pop().end)
            found.append(Block(start, end))
        yield from found


def changes_in(change: Change, block: Block) -> bool:
    """Whether the letters of ``block`` are others from this frame on."""
    return bool((change.clear[block.columns] > 0).any())


def letter_width(height: int) -> int:
    """The usual width in pixels of letters of that height."""
    return max(3, round(_WIDTH * height))


def _smooth(profile: Floats, width: int) -> Floats:
    return np.asarray(cv2.blur(profile[None], (width, 1), borderType=cv2.BORDER_REPLICATE)[0], np.float32)
