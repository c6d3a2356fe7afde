"""When each picture of a video is shown. Pure: no file, no decoder."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

# Times given with six decimals name the frame that they were rounded from: 0.033367 is frame 1 at 30000/1001 fps.
ROUNDING = Fraction(1, 2_000_000)


@dataclass(frozen=True)
class Timeline:
    """The presented frames of a video, in the order in which they are shown.

    ticks      int64, one a frame: when it is shown, in units of ``time_base`` since the first frame; never falls
    pts        int64, one a frame: what the file says, equal to ``ticks`` plus a constant where the file is sound
    end_ticks  when the last frame ends
    time_base  seconds a tick
    """

    ticks: npt.NDArray[np.int64]
    pts: npt.NDArray[np.int64]
    end_ticks: int
    time_base: Fraction

    def __len__(self) -> int:
        return len(self.ticks)

    def shortened(self, frames: int) -> Timeline:
        """Return the timeline of the first ``frames`` frames."""
        if frames >= len(self):
            return self
        return Timeline(self.ticks[:frames], self.pts[:frames], int(self.ticks[frames]), self.time_base)

    @property
    def duration_seconds(self) -> float:
        """From the first frame's start to the last frame's end."""
        return float(self.end_ticks * self.time_base)

    def seconds(self, index: int) -> float:
        """When frame ``index`` is shown, in seconds since the first frame."""
        return float(int(self.ticks[index]) * self.time_base)

    def index_at(self, seconds: float) -> int | None:
        """The frame shown at ``seconds`` since the first frame: the last one that starts at or before it.

        ``None`` outside the video: before 0, at or after the last frame's end, or not a number.
        """
        if not math.isfinite(seconds) or seconds < 0:
            return None
        # The decimal that was written, not the binary number next to it: 0.12 s is frame 3 at 25 fps.
        exact = Fraction(repr(float(seconds)))
        if exact >= self.end_ticks * self.time_base:
            return None
        tick = math.floor((exact + ROUNDING) / self.time_base)
        return int(np.searchsorted(self.ticks, tick, side="right")) - 1


def last_frame_ticks(ticks: npt.NDArray[np.int64], stated: int | None, usual: int) -> int:
    """How long the last frame is shown, in ticks: as stated, else as long as the others, else ``usual``."""
    if stated is not None and stated > 0:
        return stated
    gaps = np.diff(ticks)
    gaps = gaps[gaps > 0]
    return int(np.median(gaps)) if len(gaps) else usual


def continuous_ticks(pts: list[int], jump: int, step: int) -> npt.NDArray[np.int64]:
    """A time line that never falls, from 0, for frames in the order in which they are shown.

    A fall of more than ``jump`` is a new beginning: it goes on ``step`` ticks after the latest frame before. Smaller
    falls are times in the wrong order, as of a file that gives decoding times for presentation times: they are sorted.
    """
    latest, offset = pts[0], 0
    ticks = []
    for before, time in itertools.pairwise([pts[0], *pts]):
        if time < before - jump:
            offset = latest + step - time
        ticks.append(time + offset)
        latest = max(latest, ticks[-1])
    return np.sort(np.array(ticks, dtype=np.int64)) - min(ticks)
