"""When each frame that is written is shown. Pure: no file, no decoder.

A step may write another number of frames than it reads: two for each one where it bobs, four for five where it takes
telecine out. Its clock follows from the source's time line exactly, in whole ticks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tasks.engine.contract.errors import BadInput
from tasks.media.index import Int64s
from tasks.media.timeline import Timeline

# Of frame rates, in the headers that have the least room for them.
_LARGEST_DENOMINATOR = 60_000
_LARGEST_TIME = 2**61


@dataclass(frozen=True)
class Clock:
    """When each frame of a written video is shown.

    pts         int64, one a frame, strictly rising, in units of ``time_base``; what the source says, where it is sound
    end_pts     when the last frame ends
    time_base   seconds a tick
    ratio       frames written for each frame read
    rate        frames a second of the whole video, on average: parts have it too, for encoders put it into headers
    moved       frames of the source that had the time of the frame before, and are shown a tick after it
    """

    pts: Int64s
    end_pts: int
    time_base: Fraction
    rate: Fraction
    ratio: Fraction = Fraction(1)
    moved: int = 0

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def durations(self) -> Int64s:
        """int64, one a frame: how long it is shown, in ticks."""
        return np.diff(self.pts, append=self.end_pts)

    def written(self, start_frame: int, end_frame: int) -> tuple[int, int]:
        """Which frames are written for the source's ``start_frame`` up to and without ``end_frame``; half-open too."""
        return self.written_at(start_frame, self.ratio), self.written_at(end_frame, self.ratio)

    @staticmethod
    def written_at(frame: int, ratio: Fraction | int) -> int:
        """How many frames are written before the one that frame ``frame`` of the source begins, at that ratio."""
        return math.ceil(frame * ratio)

    def part(self, start_frame: int, end_frame: int) -> Clock:
        """The clock of the frames written for these frames of the source, from 0 on."""
        start, end = self.written(start_frame, end_frame)
        begin = int(self.pts[start])
        end_pts = int(self.pts[end]) if end < len(self) else self.end_pts
        return Clock(self.pts[start:end] - begin, end_pts - begin, self.time_base, self.rate, self.ratio)


def output_clock(timeline: Timeline, ratio: Fraction | int = 1) -> Clock:
    """The clock of a video for which ``ratio`` frames are written for each frame of ``timeline``.

    Written frame j is shown where position j / ``ratio`` lies among the source's frames; between two of them the time
    is divided evenly. The time base is the source's, divided so that every such time is a whole tick.
    Raises BadInput where the source's times are too large to be counted with, as damaged ones may be.
    """
    ratio = Fraction(ratio)
    times, moved = _rising(timeline.ticks + _first_pts(timeline))
    end = max(int(times[-1]) + 1, timeline.end_ticks + _first_pts(timeline))
    if max(abs(end), abs(int(times[0]))) * ratio.numerator > _LARGEST_TIME:
        raise BadInput(f"the times of its frames, up to {end * timeline.time_base} s, are damaged")
    bounds = np.append(times, end)
    # Position j / ratio is whole + rest / parts, and a tick is divided into as many parts.
    parts = ratio.numerator
    positions = np.arange(math.ceil(len(times) * ratio), dtype=np.int64) * ratio.denominator
    whole, rest = np.divmod(positions, parts)
    pts = bounds[whole] * parts + rest * (bounds[whole + 1] - bounds[whole])
    time_base = timeline.time_base / parts
    rate = len(pts) / ((end * parts - int(pts[0])) * time_base)
    return Clock(pts, end * parts, time_base, rate.limit_denominator(_LARGEST_DENOMINATOR), ratio, moved)


def _first_pts(timeline: Timeline) -> int:
    """When the first frame is shown, in the file's own terms: of the first recording, where it holds several."""
    begun = restarts_of_time(timeline)
    return int(timeline.pts[: begun[0]].min() if begun else timeline.pts.min())


def restarts_of_time(timeline: Timeline) -> list[int]:
    """The frames at which the file's times begin anew: where they fall by more than a second."""
    second = round(1 / timeline.time_base)
    return [int(index) + 1 for index in np.flatnonzero(np.diff(timeline.pts) < -second)]


def moves_of_time(timeline: Timeline) -> list[Fraction]:
    """For each time that the file's times begin anew: how many seconds later than they say its pictures are shown."""
    shown = timeline.ticks + _first_pts(timeline)
    return [int(shown[index] - timeline.pts[index]) * timeline.time_base for index in restarts_of_time(timeline)]


def _rising(times: Int64s) -> tuple[Int64s, int]:
    """``times``, which never fall, with those that repeat put one tick after the one before; and how many moved."""
    ranks = np.arange(len(times), dtype=np.int64)
    rising = np.maximum.accumulate(times - ranks) + ranks
    return rising, int(np.count_nonzero(rising != times))
