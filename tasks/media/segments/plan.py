"""Where a video is cut into segments. Pure: frames in, half-open ranges of frames out."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from tasks.media.timeline import Timeline

# Where the number is ours to choose, a segment is about that long: what a kill may cost, against what a start costs.
# A short video is to fill some slots, too.
_AUTO_SECONDS, _LEAST_SECONDS, _SHORT_PARTS = 30.0, 4.0, 16


@dataclass(frozen=True)
class Segment:
    """The frames ``start_frame`` up to and without ``end_frame`` of a video, counted as they are shown, from 0.

    ``read_start`` and ``read_end`` (half-open, too) add the context that methods over time read and drop.
    """

    number: int
    start_frame: int
    end_frame: int
    read_start: int
    read_end: int

    def __len__(self) -> int:
        return self.end_frame - self.start_frame


@dataclass(frozen=True)
class Cut:
    """How a video is to be cut.

    count               so many segments; ``None`` for as many as ``seconds`` say
    seconds             each about so long; ``None``, without ``count``, for what suits ``slots``
    slots               how many segments are worked on at a time: without ``count`` there are a multiple of it
    min_segment_frames  no segment is shorter, unless the video is
    context_frames      frames before and after each segment that are read and dropped
    align_frames        every segment but the last is a multiple of so many frames: 5 for telecine
    """

    count: int | None = None
    seconds: float | None = None
    slots: int = 1
    min_segment_frames: int = 60
    context_frames: int = 0
    align_frames: int = 1

    def __post_init__(self) -> None:
        """Raises ValueError where a figure makes no sense."""
        if self.count is not None and self.seconds is not None:
            raise ValueError("a video is cut by count or by seconds, not by both")
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"seconds must be a positive number, not {self.seconds}")
        least = (self.count or 1, self.slots, self.min_segment_frames, self.align_frames)
        if min(least) < 1 or self.context_frames < 0 or self.count == 0:
            raise ValueError("count, slots, min_segment_frames and align_frames are at least 1, context_frames 0")


def plan_segments(timeline: Timeline, cut: Cut) -> tuple[Segment, ...]:
    """The segments of a video in order: together all of its frames, each once, as equal in length as can be.

    Fewer than asked for where they would be shorter than ``min_segment_frames``.
    """
    frames = len(timeline)
    units = math.ceil(frames / cut.align_frames)
    most = max(1, frames // max(cut.min_segment_frames, cut.align_frames))
    count = min(_wanted(timeline, cut), most, units)
    while count > 1 and units // count * cut.align_frames < cut.min_segment_frames:
        count -= 1
    bounds = [min(frames, number * units // count * cut.align_frames) for number in range(count + 1)]
    return tuple(
        Segment(number, start, end, max(0, start - cut.context_frames), min(frames, end + cut.context_frames))
        for number, (start, end) in enumerate(itertools.pairwise(bounds))
    )


def usual_seconds(timeline: Timeline, context_frames: int, context_share: float = 0.1) -> float:
    """How long segments are where the user says nothing: 30 s, and in short videos a sixteenth, but 4 s at least.

    Frames that are read for context alone are at most that share. How many slots there are has no part in it: another
    run, with more of them, takes the same segments up.
    """
    frame_seconds = timeline.duration_seconds / len(timeline)
    least = max(_LEAST_SECONDS, 2 * context_frames * frame_seconds / context_share)
    return max(least, min(_AUTO_SECONDS, timeline.duration_seconds / _SHORT_PARTS))


def _wanted(timeline: Timeline, cut: Cut) -> int:
    """How many segments are wished for, however short they get."""
    if cut.count is not None:
        return cut.count
    count = max(1, round(timeline.duration_seconds / (cut.seconds or _AUTO_SECONDS)))
    # All slots are to end at the same time; a fixed length is kept.
    return count if cut.seconds else math.ceil(count / cut.slots) * cut.slots
