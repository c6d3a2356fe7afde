"""Plan the segments of a video as half-open ranges of frames."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from tasks.media.timeline import Timeline

# Default length of a segment: a compromise between the work lost in a kill and the cost of a start. Short videos have
# shorter segments, so that they use several slots.
_AUTO_SECONDS, _MIN_SECONDS, _SHORT_PARTS = 30.0, 4.0, 16


@dataclass(frozen=True)
class Segment:
    """The frames from ``start_frame`` to ``end_frame``, exclusive, in presentation order from 0.

    ``read_start`` and ``read_end`` (exclusive) include the context that temporal filters read and drop.
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
    """How to divide a video.

    count               number of segments; None to derive it from ``seconds``
    seconds             length of a segment; None, without ``count``, to derive it from ``slots``
    slots               segments processed in parallel; without ``count`` and ``seconds``, the count is a multiple of it
    min_segment_frames  minimum length, unless the video is shorter
    context_frames      frames before and after each segment that are read and dropped
    align_frames        the length of every segment but the last is a multiple of this: 5 for telecine
    """

    count: int | None = None
    seconds: float | None = None
    slots: int = 1
    min_segment_frames: int = 60
    context_frames: int = 0
    align_frames: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError for invalid values."""
        if self.count is not None and self.seconds is not None:
            raise ValueError("give count or seconds, not both")
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"seconds must be a positive number, not {self.seconds}")
        counts = (self.count or 1, self.slots, self.min_segment_frames, self.align_frames)
        if min(counts) < 1 or self.context_frames < 0 or self.count == 0:
            raise ValueError("count, slots, min_segment_frames and align_frames are at least 1, context_frames 0")


def plan_segments(timeline: Timeline, cut: Cut) -> tuple[Segment, ...]:
    """Return the segments of a video in order; they cover each frame once and are of nearly equal length.

    There are fewer than requested if they would be shorter than ``min_segment_frames``.
    """
    frames = len(timeline)
    units = math.ceil(frames / cut.align_frames)
    max_count = max(1, frames // max(cut.min_segment_frames, cut.align_frames))
    count = min(_count_requested(timeline, cut), max_count, units)
    while count > 1 and units // count * cut.align_frames < cut.min_segment_frames:
        count -= 1
    bounds = [min(frames, number * units // count * cut.align_frames) for number in range(count + 1)]
    return tuple(
        Segment(number, start, end, max(0, start - cut.context_frames), min(frames, end + cut.context_frames))
        for number, (start, end) in enumerate(itertools.pairwise(bounds))
    )


def choose_segment_seconds(timeline: Timeline, context_frames: int, context_share: float = 0.1) -> float:
    """Return the default length of segments: 30 s, or a sixteenth of a short video, but at least 4 s.

    Context frames are at most ``context_share`` of the frames read. The number of slots has no influence, so that a
    later run with more slots continues with the same segments.
    """
    frame_seconds = timeline.duration_seconds / len(timeline)
    min_seconds = max(_MIN_SECONDS, 2 * context_frames * frame_seconds / context_share)
    return max(min_seconds, min(_AUTO_SECONDS, timeline.duration_seconds / _SHORT_PARTS))


def _count_requested(timeline: Timeline, cut: Cut) -> int:
    """Return the requested number of segments, whatever their length."""
    if cut.count is not None:
        return cut.count
    count = max(1, round(timeline.duration_seconds / (cut.seconds or _AUTO_SECONDS)))
    # A multiple of the slots lets all slots finish together; a fixed length has priority.
    return count if cut.seconds else math.ceil(count / cut.slots) * cut.slots
