"""Which frames a video has, and how to decode some of them: from its packets, or from decoding it all."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from av.video.frame import VideoFrame

from tasks.engine.errors import BadInput
from tasks.media.decoding import RunDecoder
from tasks.media.demuxing import PacketSource
from tasks.media.index import Int64s, PacketIndex
from tasks.media.runs import Run, decoding_starts, plan_runs
from tasks.media.timeline import Timeline, continuous_ticks, last_frame_ticks


class UnreliableIndexError(Exception):
    """A sound packet gave no frame: the time line has to be made by decoding."""


class Listing(Protocol):
    """The presented frames of one video."""

    timeline: Timeline

    def decode(self, indices: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
        """The frames with these indices, given in rising order, each with its index."""

    def frames_or_damage(self, indices: Sequence[int]) -> Iterator[tuple[int, VideoFrame | str]]:
        """Give the frames with these indices, in rising order, with their index; for a damaged one, the reason."""

    def keyframe_distance(self, index: int) -> int:
        """Packets between frame ``index`` and the keyframe that it is decoded from."""


class IndexedListing:
    """A listing that believes the packets: each one that is not hidden is a frame, shown at its time."""

    def __init__(self, source: PacketSource) -> None:
        self._source = source
        self._index = source.index
        self._decoder = RunDecoder(source)
        self._positions = self._shown()
        if not len(self._positions):
            raise BadInput(f"{source.path.name}: its video stream holds no frame that can be shown")
        self.timeline = self._timeline()
        self._rank = {int(pts): rank for rank, pts in enumerate(self.timeline.pts)}

    def decode(self, indices: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
        """See Listing. Raises BadInput for a damaged frame, UnreliableIndexError for one that does not exist."""
        for run in plan_runs(self._index, [int(self._positions[index]) for index in indices]):
            missing = set(run.wanted)
            latest = -1
            for position, frame in self._decoder.wanted_frames(run):
                missing.discard(position)
                index = self._rank_of(position)
                if index < latest:
                    raise UnreliableIndexError(f"{self._source.path.name}: {self._place(position)} comes too late")
                latest = index
                yield index, frame
            self._judge(run, missing)

    def frames_or_damage(self, indices: Sequence[int]) -> Iterator[tuple[int, VideoFrame | str]]:
        """See Listing. Raises UnreliableIndexError where a frame does not exist although nothing is damaged."""
        for run in plan_runs(self._index, self._positions[list(indices)].tolist()):
            yield from self._run_or_damage(run)

    def _run_or_damage(self, run: Run) -> Iterator[tuple[int, VideoFrame | str]]:
        """The frames that ``run`` wants, in the order in which they are shown."""
        start_of = dict(zip(run.wanted, decoding_starts(self._index, run.wanted), strict=True))
        due = deque(sorted(run.wanted, key=lambda position: int(self._index.pts[position])))
        for position, frame in self._held_back(run):
            if position not in due:  # it comes too late, which is told of already
                continue
            while due[0] != position:
                yield self._lacking(due.popleft(), start_of)
            due.popleft()
            damage = self._damage(position, start_of[position])
            yield self._rank_of(position), frame if damage is None else damage
        while due:
            yield self._lacking(due.popleft(), start_of)

    def _held_back(self, run: Run) -> Iterator[tuple[int, VideoFrame]]:
        """The frames that ``run`` wants, each given when all that it is decoded from has come out of the decoder.

        Whether a reference is damaged may be known only when it comes out itself, which is after the frames that are
        shown before it.
        """
        held: deque[tuple[int, VideoFrame]] = deque()
        for found in self._decoder.wanted_frames(run):
            held.append(found)
            if len(held) > self._source.decoder.reorder_depth:
                yield held.popleft()
        yield from held

    def _lacking(self, position: int, start_of: Mapping[int, int]) -> tuple[int, str]:
        """The clause that stands for a frame that did not come."""
        damage = self._damage(position, start_of[position])
        if damage is None:
            raise UnreliableIndexError(f"{self._source.path.name}: {self._place(position)} gives no picture")
        return self._rank_of(position), damage

    def _damage(self, position: int, start: int) -> str | None:
        """What is wrong with the frame at ``position``, decoded from ``start`` on, as far as the decoder has said."""
        complaints = self._decoder.complaints
        damage = next((complaint for complaint in complaints if start <= complaint.position <= position), None)
        if damage is None:
            return None
        owner = "is" if damage.position == position else "is decoded from a frame that is"
        return f"{owner} damaged: {damage.reason}"

    @property
    def positions(self) -> Int64s:
        """The position of each frame's packet in the index, in the order in which the frames are shown."""
        return self._positions

    def keyframe_distance(self, index: int) -> int:
        """See Listing."""
        position = int(self._positions[index])
        return position - decoding_starts(self._index, [position])[0]

    def _judge(self, run: Run, missing: set[int]) -> None:
        """Raise what must be raised when ``run`` is over and the frames at ``missing`` did not come."""
        starts = decoding_starts(self._index, run.wanted)
        for start, position in zip(starts, run.wanted, strict=True):
            damage = self._damage(position, start)
            if damage is not None:
                raise BadInput(f"{self._source.path.name}: {self._place(position)} {damage}")
        if missing:
            raise UnreliableIndexError(f"{self._source.path.name}: {self._place(min(missing))} gives no picture")

    def _rank_of(self, position: int) -> int:
        return self._rank[int(self._index.pts[position])]

    def _place(self, position: int) -> str:
        index = self._rank_of(position)
        return f"frame {index} at {self.timeline.seconds(index):.3f} s"

    def _shown(self) -> Int64s:
        """Positions of the packets whose frames are shown, in the order in which they are shown."""
        index = self._index
        shown = ~index.hidden
        doubtful = _doubtful(index)
        if len(doubtful):
            shown[doubtful] = False
            shown[self._decoder.probe(Run(0, int(doubtful[-1]) + 1, tuple(doubtful.tolist())))] = True
        positions = np.flatnonzero(shown)
        return positions[np.argsort(index.pts[positions], kind="stable")]

    def _timeline(self) -> Timeline:
        pts = self._index.pts[self._positions]
        ticks = pts - pts[0]
        last = int(self._index.durations[self._positions[-1]])
        end = int(ticks[-1]) + last_frame_ticks(ticks, last, self._source.frame_ticks)
        return Timeline(ticks, pts, end, self._index.time_base)


class DecodedListing:
    """A listing that decodes the whole video to know its frames: for streams without sound timestamps."""

    def __init__(self, source: PacketSource) -> None:
        self._source = source
        self._decoder = RunDecoder(source)
        frames = [(frame.pts, frame.key_frame) for frame in self._all()]
        if not frames:
            raise BadInput(f"{source.path.name}: its video stream holds no frame that can be decoded")
        self._keyframes = np.flatnonzero([is_key for _, is_key in frames])
        self.timeline = timeline_of(source, [pts for pts, _ in frames])

    def decode(self, indices: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
        """See Listing. Raises BadInput where anything up to the last of the frames is damaged."""
        wanted = set(indices)
        for rank, frame in enumerate(self._all()):
            if rank in wanted:
                yield rank, frame
            if indices and rank >= indices[-1]:
                return

    def frames_or_damage(self, indices: Sequence[int]) -> Iterator[tuple[int, VideoFrame | str]]:
        """See Listing. Raises BadInput where anything is damaged: no time says which frames that leaves."""
        return self.decode(indices)

    def keyframe_distance(self, index: int) -> int:
        """See Listing; counted in frames as they are shown."""
        before = self._keyframes[self._keyframes <= index]
        return index - int(before[-1]) if len(before) else index

    def _all(self) -> Iterator[VideoFrame]:
        """Every frame, in the order in which it is shown; damage before the first one is what a cut stream has."""
        started = False
        for frame in self._decoder.all_frames():
            if not started:
                self._decoder.complaints.clear()
            started = True
            self._raise_complaint()
            yield frame
        self._raise_complaint()

    def _raise_complaint(self) -> None:
        if self._decoder.complaints:
            reason = self._decoder.complaints[0].reason
            raise BadInput(f"{self._source.path.name}: is damaged, and its timestamps do not say where: {reason}")


def timeline_of(source: PacketSource, pts: list[int | None]) -> Timeline:
    """The time line of frames that a full decode gives with these times, in the order in which they are shown."""
    times = [time for time in pts if time is not None]
    if len(times) < len(pts):  # no times at all: the frames are shown at the stream's rate
        ranks = np.arange(len(pts), dtype=np.int64)
        return Timeline(ranks, ranks, len(pts), 1 / source.rate)
    ticks = continuous_ticks(times, jump=round(1 / source.index.time_base), step=source.frame_ticks)
    end = int(ticks[-1]) + last_frame_ticks(ticks, None, source.frame_ticks)
    return Timeline(ticks, np.array(times, dtype=np.int64), end, source.index.time_base)


def _doubtful(index: PacketIndex) -> Int64s:
    """Positions before the first keyframe, or shown before it: what a stream that was cut open begins with.

    Their pictures can be made only where they do without what was cut off.
    """
    keyframes = np.flatnonzero(index.keyframe)
    first = int(keyframes[0]) if len(keyframes) else len(index)
    early = np.arange(len(index)) < first
    if first < len(index):
        early |= index.pts < index.pts[first]
    return np.flatnonzero(early & ~index.hidden).astype(np.int64)
