"""The presentation times of written frames, computed without files or decoders.

A step may write more or fewer frames than it reads: two per frame if it bobs, four per five for inverse telecine. Its
clock follows exactly from the source's timeline, in whole ticks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tasks.engine.contract.errors import BadInput
from tasks.media.index import Int64s
from tasks.media.timeline import Timeline

# Maximum denominator of frame rates, limited by the smallest header field.
_LARGEST_DENOMINATOR = 60_000
_LARGEST_TIME = 2**61


@dataclass(frozen=True)
class Clock:
    """The presentation times of a written video.

    pts         int64, one per frame, strictly increasing, in units of ``time_base``; those of the source if possible
    end_pts     end of the last frame
    time_base   seconds per tick
    ratio       frames written per frame read
    rate        average frames per second of the whole video; parts have the same, because encoders write it to headers
    moved       source frames with the same time as the previous one, which are shown a tick after it
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
        """Durations of the frames in ticks: int64, one per frame."""
        return np.diff(self.pts, append=self.end_pts)

    def written(self, start_frame: int, end_frame: int) -> tuple[int, int]:
        """Return the written frames (half-open range) for the half-open range of source frames."""
        return self.written_at(start_frame, self.ratio), self.written_at(end_frame, self.ratio)

    @staticmethod
    def written_at(frame: int, ratio: Fraction | int) -> int:
        """Return the index of the first frame written for source frame ``frame`` at ``ratio``."""
        return math.ceil(frame * ratio)

    def part(self, start_frame: int, end_frame: int) -> Clock:
        """Return the clock of the frames written for these source frames, starting at 0."""
        start, end = self.written(start_frame, end_frame)
        begin = int(self.pts[start])
        end_pts = int(self.pts[end]) if end < len(self) else self.end_pts
        return Clock(self.pts[start:end] - begin, end_pts - begin, self.time_base, self.rate, self.ratio)


def build_clock(timeline: Timeline, ratio: Fraction | int = 1) -> Clock:
    """Return the clock of a video with ``ratio`` written frames per frame of ``timeline``.

    Written frame j has the time of position j / ``ratio`` among the source frames, interpolated linearly. The time base
    is that of the source, divided so that every time is a whole tick.
    Raises BadInput if the source's times exceed 64-bit arithmetic, as damaged ones may.
    """
    ratio = Fraction(ratio)
    times, moved = _separate_repeats(timeline.ticks + _find_first_pts(timeline))
    end = max(int(times[-1]) + 1, timeline.end_ticks + _find_first_pts(timeline))
    if max(abs(end), abs(int(times[0]))) * ratio.numerator > _LARGEST_TIME:
        raise BadInput(f"the times of its frames, up to {end * timeline.time_base} s, are damaged")
    bounds = np.append(times, end)
    # Position j / ratio is whole + rest / parts; each tick is divided into that many parts.
    parts = ratio.numerator
    positions = np.arange(math.ceil(len(times) * ratio), dtype=np.int64) * ratio.denominator
    whole, rest = np.divmod(positions, parts)
    pts = bounds[whole] * parts + rest * (bounds[whole + 1] - bounds[whole])
    time_base = timeline.time_base / parts
    rate = len(pts) / ((end * parts - int(pts[0])) * time_base)
    return Clock(pts, end * parts, time_base, rate.limit_denominator(_LARGEST_DENOMINATOR), ratio, moved)


def _find_first_pts(timeline: Timeline) -> int:
    """Return the time of the first frame in ticks of the file; of the first recording if there are several."""
    restarts = find_restarts(timeline)
    return int(timeline.pts[: restarts[0]].min() if restarts else timeline.pts.min())


def find_restarts(timeline: Timeline) -> list[int]:
    """Return the frames at which the times restart: they decrease by more than a second."""
    second = round(1 / timeline.time_base)
    return [int(index) + 1 for index in np.flatnonzero(np.diff(timeline.pts) < -second)]


def measure_restart_delays(timeline: Timeline) -> list[Fraction]:
    """Return, per restart of the times, by how many seconds the frames after it are delayed."""
    shown = timeline.ticks + _find_first_pts(timeline)
    return [int(shown[index] - timeline.pts[index]) * timeline.time_base for index in find_restarts(timeline)]


def _separate_repeats(times: Int64s) -> tuple[Int64s, int]:
    """Return non-decreasing ``times`` with repeated ones moved by one tick, and the number of moved ones."""
    ranks = np.arange(len(times), dtype=np.int64)
    rising = np.maximum.accumulate(times - ranks) + ranks
    return rising, int(np.count_nonzero(rising != times))
