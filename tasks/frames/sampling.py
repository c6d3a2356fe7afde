"""Select the frames of a sample. Pure functions: from a timeline and requested times to frame indices."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from tasks.frames.params import FramesParams, Rule, get_rule
from tasks.media.timeline import ROUNDING, Timeline

Source = Literal["support", "uniform", "fps", "every", "all", "keyframes", "random", "shots"]


@dataclass(frozen=True)
class Video:
    """The properties of a video that frames are selected by.

    offset        time of the first frame after the origin of all requested times
    keyframes     indices of the frames from which decoding can start, ascending; only ``--keyframes`` needs them
    cuts          indices of the first frames of shots, ascending; only ``--shots`` needs them
    full_seconds  duration of the complete video if the file is truncated (infinity if unknown), else 0
    """

    timeline: Timeline
    offset: Fraction = Fraction(0)
    keyframes: Sequence[int] = ()
    cuts: Sequence[int] = ()
    full_seconds: float = 0.0

    def index_at(self, seconds: float) -> int | None:
        """Return the index of the frame shown at ``seconds`` from the origin; None outside the video."""
        return self.timeline.index_at(self._convert(seconds)) if math.isfinite(seconds) else None

    def is_missing(self, seconds: float) -> bool:
        """Return True if the frame at ``seconds`` is in the missing part of a truncated file."""
        end = self.timeline.duration_seconds
        return math.isfinite(seconds) and end <= float(self._convert(seconds)) < self.full_seconds

    def count_frames_before(self, seconds: float) -> int:
        """Return the number of frames that start before ``seconds`` from the origin."""
        tick = math.ceil((self._convert(seconds) - ROUNDING) / self.timeline.time_base)
        return int(self.timeline.ticks.searchsorted(tick, side="left"))

    def _convert(self, seconds: float) -> Fraction:
        """Return ``seconds`` from the origin as seconds from the first frame, exactly as the user wrote them."""
        return Fraction(repr(float(seconds))) - self.offset


@dataclass(frozen=True)
class SampleRequest:
    """Request of one sample for frames of a video. All times count from the origin.

    start, end  limits of the sample within the video; None for no limit
    """

    id: str
    support_seconds: tuple[float, ...] = ()
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Pick:
    """One frame to extract: its index among the displayed frames, and the time that selected it."""

    index: int
    source: Source
    requested_seconds: float


@dataclass(frozen=True)
class Selection:
    """The selected frames of a sample, and the support timestamps that select no frame.

    picks     selected frames in time order, no duplicates, at most ``max_frames``
    outside   timestamps outside the video or the sample's part of it: negative, at or after its end, not a number
    missing   timestamps in the missing part of a truncated file
    repeated  timestamps whose frame an earlier timestamp already selected
    dropped   timestamps in the video, beyond ``max_frames``
    left_out  number of frames that a rule selects beyond ``max_frames``
    frames    the sample's part of the video: its first frame, and the one after its last
    shots     start of each shot in this part, if shots were detected
    """

    picks: tuple[Pick, ...]
    outside: tuple[float, ...] = ()
    repeated: tuple[float, ...] = ()
    dropped: tuple[float, ...] = ()
    missing: tuple[float, ...] = ()
    left_out: int = 0
    frames: tuple[int, int] = (0, 0)
    shots: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Span:
    """The sample's part of a video: frames ``first`` up to and without ``stop``, and its times from the first frame."""

    video: Video
    first: int
    stop: int
    start_seconds: float
    end_seconds: float

    def __len__(self) -> int:
        return self.stop - self.first

    def find_frame(self, seconds: float | Fraction) -> int:
        """Return the index of the frame shown at ``seconds`` from the first frame, within the span."""
        index = self.video.timeline.index_at(seconds)
        return self.stop - 1 if index is None else min(max(index, self.first), self.stop - 1)

    def get_seconds(self, index: int) -> float:
        """Return the start of a frame in seconds from the origin."""
        return float(int(self.video.timeline.ticks[index]) * self.video.timeline.time_base + self.video.offset)


def select_frames(video: Video, request: SampleRequest, params: FramesParams) -> Selection:
    """Return the selection of one sample. Every strategy reports timestamps outside the video."""
    span, outside = _find_span(video, request)
    support = _select_support_frames(span, request.support_seconds, params.max_frames)
    support = replace(support, outside=(*outside, *support.outside), frames=(span.first, span.stop))
    if params.strategy == "support":
        return support
    kept = support.picks if params.strategy == "support-then-uniform" else ()
    filled, left_out = _fill(span, request.id, params, kept)
    shots = tuple(span.get_seconds(first) for first, _ in _list_shots(span)) if params.shots and len(span) else ()
    picks = _sort_by_index([*kept, *filled])
    if params.strategy != "support-then-uniform":
        support = replace(support, repeated=(), dropped=())
    return replace(support, picks=picks, left_out=left_out, shots=shots)


def _find_span(video: Video, request: SampleRequest) -> tuple[_Span, list[float]]:
    """Return the sample's part of the video, and the limits that are outside it."""
    total, duration, offset = len(video.timeline), video.timeline.duration_seconds, float(video.offset)
    first, stop, start, end = 0, total, 0.0, duration
    outside: list[float] = []
    if request.start is not None and request.start > offset:
        start = request.start - offset
        index = video.index_at(request.start)
        first = total if index is None else index
        outside += [request.start] if index is None else []
    if request.end is not None:
        stop, end = min(total, video.count_frames_before(request.end)), min(duration, request.end - offset)
        frame_seconds = duration / total
        outside += [request.end] if stop == 0 or request.end - offset > duration + frame_seconds else []
    return _Span(video, first, max(first, stop), start, end), outside


def _select_support_frames(span: _Span, seconds: Iterable[float], limit: int | None) -> Selection:
    """Select the frames at the timestamps; beyond ``limit``, the first ones in the given order win."""
    picks: dict[int, Pick] = {}
    outside: list[float] = []
    missing: list[float] = []
    repeated: list[float] = []
    dropped: list[float] = []
    for time in seconds:
        index = span.video.index_at(time)
        if index is None or not span.first <= index < span.stop:
            (missing if span.video.is_missing(time) else outside).append(time)
        elif index in picks:
            repeated.append(time)
        elif limit is not None and len(picks) >= limit:
            dropped.append(time)
        else:
            picks[index] = Pick(index, "support", time)
    return Selection(_sort_by_index(picks.values()), tuple(outside), tuple(repeated), tuple(dropped), tuple(missing))


def _fill(span: _Span, sample: str, params: FramesParams, kept: Sequence[Pick]) -> tuple[list[Pick], int]:
    """Return the frames in addition to ``kept``, and the number of frames that the rule selects beyond the maximum."""
    used = {pick.index for pick in kept}
    room = None if params.max_frames is None else params.max_frames - len(kept)
    rule = get_rule(params)
    if rule is None:
        return _select_uniform_frames(span, len(span) if room is None else room, used), 0
    picks = [pick for pick in _RULES[rule](span, sample, params, used) if pick.index not in used]
    if room is None or len(picks) <= room:
        return picks, 0
    thinned = [picks[(2 * part + 1) * len(picks) // (2 * room)] for part in range(room)]
    return thinned, len(picks) - room


def _select_uniform_frames(span: _Span, count: int, used: set[int]) -> list[Pick]:
    """Select ``count`` unused frames, at the middles of ``count`` equal parts; fewer if the video is short."""
    count = min(count, len(span) - len(used))
    taken = set(used)
    picks = []
    for part in range(count):
        seconds = span.start_seconds + (span.end_seconds - span.start_seconds) * (part + 0.5) / count
        index = _find_nearest_unused(span.find_frame(seconds), taken, span)
        taken.add(index)
        picks.append(Pick(index, "uniform", seconds + float(span.video.offset)))
    return picks


def _find_nearest_unused(index: int, used: set[int], span: _Span) -> int:
    """Return the unused frame nearest to ``index``, the earlier of two. At least one of the span must be unused."""
    candidates = (index + sign * distance for distance in range(len(span)) for sign in (-1, 1))
    return next(candidate for candidate in candidates if span.first <= candidate < span.stop and candidate not in used)


# Rules: frames that an option selects, in time order


def _select_at_rate(span: _Span, _: str, params: FramesParams, __: set[int]) -> Iterator[Pick]:
    assert params.fps is not None
    return _select_at_times(span, 1 / Fraction(repr(float(params.fps))), "fps")


def _select_every(span: _Span, _: str, params: FramesParams, __: set[int]) -> Iterator[Pick]:
    step = params.every or ""
    if step.endswith("s"):
        return _select_at_times(span, Fraction(step[:-1]), "every")
    return (Pick(index, "every", span.get_seconds(index)) for index in range(span.first, span.stop, int(step)))


def _select_at_times(span: _Span, step: Fraction, source: Source) -> Iterator[Pick]:
    """Yield the frames shown at the span's start and every ``step`` seconds after it, each frame once."""
    start, end = Fraction(repr(span.start_seconds)), Fraction(repr(span.end_seconds))
    last = -1
    for number in range(math.ceil((end - start - ROUNDING) / step) if len(span) else 0):
        seconds = start + number * step
        index = span.find_frame(seconds)
        if index != last:
            yield Pick(index, source, float(seconds + span.video.offset))
        last = index


def _select_all(span: _Span, _: str, __: FramesParams, ___: set[int]) -> Iterator[Pick]:
    return (Pick(index, "all", span.get_seconds(index)) for index in range(span.first, span.stop))


def _select_keyframes(span: _Span, _: str, __: FramesParams, ___: set[int]) -> Iterator[Pick]:
    chosen = (index for index in span.video.keyframes if span.first <= index < span.stop)
    return (Pick(index, "keyframes", span.get_seconds(index)) for index in chosen)


def _select_random(span: _Span, sample: str, params: FramesParams, used: set[int]) -> Iterator[Pick]:
    """Yield frames whose hashes are the smallest: the same in every run, on every machine and Python version."""
    assert params.random is not None
    candidates = [index for index in range(span.first, span.stop) if index not in used]
    ranked = sorted(candidates, key=lambda index: _hash_text(f"{params.seed or 0}:{sample}:{index}"))
    return (Pick(index, "random", span.get_seconds(index)) for index in sorted(ranked[: params.random]))


def _select_in_shots(span: _Span, _: str, params: FramesParams, __: set[int]) -> Iterator[Pick]:
    """Yield frames at the middles of equal parts of each shot."""
    assert params.shots is not None
    if not len(span):
        return
    for first, stop in _list_shots(span):
        start = span.get_seconds(first) - float(span.video.offset)
        end = span.end_seconds if stop == span.stop else span.get_seconds(stop) - float(span.video.offset)
        shot = _Span(span.video, first, stop, start, max(start, end))
        for pick in sorted(_select_uniform_frames(shot, params.shots, set()), key=lambda pick: pick.index):
            yield replace(pick, source="shots")


def _list_shots(span: _Span) -> list[tuple[int, int]]:
    """Return the shots in the span, each by its first frame and the one after its last."""
    starts = [span.first, *(cut for cut in span.video.cuts if span.first < cut < span.stop)]
    return list(zip(starts, [*starts[1:], span.stop], strict=True))


_RULES: Mapping[Rule, Callable[[_Span, str, FramesParams, set[int]], Iterator[Pick]]] = {
    "fps": _select_at_rate,
    "every": _select_every,
    "all": _select_all,
    "keyframes": _select_keyframes,
    "random": _select_random,
    "shots": _select_in_shots,
}


def _hash_text(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _sort_by_index(picks: Iterable[Pick]) -> tuple[Pick, ...]:
    return tuple(sorted(picks, key=lambda pick: pick.index))
