"""The timeline of a video: the time of each frame. Pure: no file, no decoder."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

# Times with six decimals are rounded; allow for that: 0.033367 is frame 1 at 30000/1001 fps.
ROUNDING = Fraction(1, 2_000_000)


@dataclass(frozen=True)
class Timeline:
    """The times of the presented frames of a video, in presentation order.

    ticks      int64, one per frame: its start, in units of ``time_base`` since the first frame; never falls
    pts        int64, one per frame: its time in the file; ``ticks`` plus a constant if the file is intact
    end_ticks  end of the last frame
    time_base  seconds per tick
    """

    ticks: npt.NDArray[np.int64]
    pts: npt.NDArray[np.int64]
    end_ticks: int
    time_base: Fraction

    def __len__(self) -> int:
        return len(self.ticks)

    def truncate(self, frames: int) -> Timeline:
        """Return the timeline of the first ``frames`` frames."""
        if frames >= len(self):
            return self
        return Timeline(self.ticks[:frames], self.pts[:frames], int(self.ticks[frames]), self.time_base)

    @property
    def duration_seconds(self) -> float:
        """Duration from the start of the first frame to the end of the last one."""
        return float(self.end_ticks * self.time_base)

    def seconds(self, index: int) -> float:
        """Return the start of frame ``index`` in seconds since the first frame."""
        return float(int(self.ticks[index]) * self.time_base)

    def index_at(self, seconds: float | Fraction) -> int | None:
        """Return the index of the frame shown at ``seconds``: the last one that starts at or before this time.

        Returns None outside the video (before 0, at or after the end of the last frame) and for NaN.
        """
        if not math.isfinite(seconds) or seconds < 0:
            return None
        # Use the decimal that the user wrote, not the nearest binary number: 0.12 s is frame 3 at 25 fps.
        exact = seconds if isinstance(seconds, Fraction) else Fraction(repr(float(seconds)))
        if exact >= self.end_ticks * self.time_base:
            return None
        tick = math.floor((exact + ROUNDING) / self.time_base)
        return int(np.searchsorted(self.ticks, tick, side="right")) - 1


def estimate_last_duration(ticks: npt.NDArray[np.int64], stated: int | None, default: int) -> int:
    """Return the duration of the last frame in ticks: as stated, else the median of the others, else ``default``."""
    if stated is not None and stated > 0:
        return stated
    gaps = np.diff(ticks)
    gaps = gaps[gaps > 0]
    return int(np.median(gaps)) if len(gaps) else default


def make_continuous_ticks(pts: list[int], jump: int, step: int) -> npt.NDArray[np.int64]:
    """Return ticks that start at 0 and never fall, for frames with the times ``pts`` in presentation order.

    If a time falls by more than ``jump``, the timeline continues ``step`` ticks after the latest frame before. Smaller
    falls are times in the wrong order, as in files with decoding times instead of presentation times: they are sorted.
    """
    latest, offset = pts[0], 0
    ticks = []
    for before, time in itertools.pairwise([pts[0], *pts]):
        if time < before - jump:
            offset = latest + step - time
        ticks.append(time + offset)
        latest = max(latest, ticks[-1])
    return np.sort(np.array(ticks, dtype=np.int64)) - min(ticks)
