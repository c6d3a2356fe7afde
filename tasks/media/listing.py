"""Which frames a video has, and how to decode some of them: from its packets, or from decoding it all."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from av.video.frame import VideoFrame

from tasks.engine.contract.errors import BadInput
from tasks.media.decoding import RunDecoder, UnreliableIndexError, position_of
from tasks.media.demuxing import PacketSource
from tasks.media.index import NO_TIME, Int64s, PacketIndex
from tasks.media.runs import Run, decoding_starts, plan_runs
from tasks.media.timeline import Timeline, continuous_ticks, last_frame_ticks
from tasks.media.truncation import count_certain_frames

# Decoders that give no frame, or call it corrupt, while they lack what it refers to.
_WITHHOLDING = frozenset({"h264", "hevc", "vvc", "mpeg1video", "mpeg2video", "vp8", "vp9", "av1"})
# Decoders that make up what they lack, without a word.
_GUESSING = frozenset({
    "mpeg4", "h263", "h263p", "flv1", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "svq1", "theora", "vp3",
    "vp6", "vp6f", "zmbv",
})  # fmt: skip


class Listing:
    """The presented frames of one video, and the packet of each.

    order       the packet index with what tells the presentation order (times, or ranks) as presentation times
    positions   the position of each frame's packet in the index, in presentation order
    """

    def __init__(
        self, source: PacketSource, decoder: RunDecoder, order: PacketIndex, positions: Int64s, timeline: Timeline
    ) -> None:
        self._source = source
        self._decoder = decoder
        self._order = order
        self.positions = positions
        self.timeline = timeline
        self._ranks: dict[int, list[int]] = {}
        for rank, position in enumerate(positions.tolist()):
            self._ranks.setdefault(position, []).append(rank)
        # What a stream that was cut begins with is no damage: its first packets give no frame.
        codec, is_cut = source.decoder.codec.canonical_name, not order.entry[0]
        self._first_packet = int(positions.min()) if is_cut and codec in _WITHHOLDING else 0
        self._first_entry = int(np.argmax(order.entry)) if is_cut and codec in _GUESSING else 0

    def keyframe_distance(self, index: int) -> int:
        """Return the number of packets between frame ``index`` and the entry that it is decoded from.

        Packets that only complete the frame of another are not counted.
        """
        position = int(self.positions[index])
        start = decoding_starts(self._order, [position])[0]
        return position - start - int(self._order.second[start:position].sum())

    def decode(self, indices: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the frames with these indices, given in rising order, each with its index.

        Raises BadInput for a damaged frame, UnreliableIndexError for one that does not exist.
        """
        for rank, frame in self.frames_or_damage(indices):
            if isinstance(frame, str):
                raise BadInput(f"{self._source.path.name}: {self._place(rank)} {frame}")
            yield rank, frame

    def frames_or_damage(self, indices: Sequence[int]) -> Iterator[tuple[int, VideoFrame | str]]:
        """Yield the frames with these indices, given in rising order, each with its index; a reason if it is damaged.

        Raises UnreliableIndexError where a frame does not exist although nothing is damaged.
        """
        wanted = set(indices)
        for run in plan_runs(self._order, np.unique(self.positions[list(indices)]).tolist()):
            due = deque(sorted(rank for position in run.wanted for rank in self._ranks[position] if rank in wanted))
            starts = dict(zip(run.wanted, decoding_starts(self._order, run.wanted), strict=True))
            try:
                yield from self._run(run, due, starts)
            except UnreliableIndexError:
                if not run.start:
                    raise
                # Decoding may not start there after all. From the beginning it can.
                yield from self._run(Run(0, run.stop, run.wanted), due, dict.fromkeys(run.wanted, 0))

    def _run(self, run: Run, due: deque[int], starts: Mapping[int, int]) -> Iterator[tuple[int, VideoFrame | str]]:
        """Yield the frames ``due``, each removed before, in presentation order. ``starts``: see ``_damage``."""
        for rank, frame in self._held_back(run, set(due)):
            while due and due[0] < rank:
                yield self._take_missing(due, starts)
            if due and due[0] == rank:
                due.popleft()
                damage = self._damage(rank, starts)
                yield rank, frame if damage is None else damage
        while due:
            yield self._take_missing(due, starts)

    def _held_back(self, run: Run, wanted: set[int]) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the frames with the ranks ``wanted``, each when all that it is decoded from has come out.

        Whether a reference is damaged may be known only when it comes out itself, which is after the frames that are
        shown before it.
        """
        times = np.where(self._order.hidden, NO_TIME, self._order.pts)[run.start : run.stop]
        latest_before = np.concatenate(([NO_TIME], np.maximum.accumulate(times)[:-1]))
        held: deque[tuple[int, VideoFrame, int]] = deque()
        latest = NO_TIME
        given: dict[int, int] = defaultdict(int)
        for position, frame in self._decoder.frames_of(run):
            latest = max(latest, int(self._order.pts[position]))
            rank = self._rank(position, given[position])
            given[position] += 1
            if rank in wanted:
                held.append((rank, frame, int(latest_before[position - run.start])))
            while held and held[0][2] <= latest:
                yield held.popleft()[:2]
        yield from (entry[:2] for entry in held)

    def _rank(self, position: int, number: int) -> int:
        """Return the rank of a packet's frame, the ``number``-th that it gives; -1 if it is not shown."""
        ranks = self._ranks.get(position, ())
        if ranks and number >= len(ranks):
            raise UnreliableIndexError(f"{self._source.path.name}: packet {position} gives several frames")
        return ranks[number] if ranks else -1

    def _take_missing(self, due: deque[int], starts: Mapping[int, int]) -> tuple[int, str]:
        """Remove the first rank of ``due``, whose frame did not come, and return it with the reason."""
        damage = self._damage(due[0], starts)
        if damage is None:
            raise UnreliableIndexError(f"{self._source.path.name}: {self._place(due[0])} gives no picture")
        return due.popleft(), damage

    def _damage(self, rank: int, starts: Mapping[int, int]) -> str | None:
        """Return what is wrong with a frame, as far as the decoder has said.

        ``starts`` has, by the position of a frame's packet, the first packet that it depends on.
        """
        position = int(self.positions[rank])
        if self._first_entry and not starts[position] and self._is_before_entry(position):
            return "is decoded from frames that the file does not have"
        start = max(starts[position], self._first_packet)
        complaints = self._decoder.complaints
        damage = next((complaint for complaint in complaints if start <= complaint.position <= position), None)
        if damage is None:
            return None
        owner = "is" if damage.position == position else "is decoded from a frame that is"
        return f"{owner} damaged: {damage.reason}"

    def _is_before_entry(self, position: int) -> bool:
        """Return True if the frame at ``position`` is shown before the first entry."""
        return bool(self._order.pts[position] < self._order.pts[self._first_entry])

    def _place(self, index: int) -> str:
        return f"frame {index} at {self.timeline.seconds(index):.3f} s"


class IndexedListing(Listing):
    """A listing that believes the packets: each one that is not hidden is a frame, shown at its time."""

    def __init__(self, source: PacketSource) -> None:
        decoder = RunDecoder(source)
        positions = _shown(source.index, decoder)
        if source.truncation is not None and len(positions):
            pts = source.index.pts[positions]
            positions = positions[: count_certain_frames(pts, source.index.last_dts, source.frame_ticks)]
        if not len(positions):
            raise BadInput(f"{source.path.name}: its video stream holds no frame that can be shown")
        super().__init__(source, decoder, source.index, positions, _stated_timeline(source, positions))


class DecodedListing(Listing):
    """A listing of the frames that a full decode gives, in its order, whatever the packets say."""

    def __init__(self, source: PacketSource) -> None:
        decoder = RunDecoder(source)
        frames = [(position_of(frame), frame.pts) for frame in decoder.all_frames()]
        if not frames:
            reason = f": {decoder.complaints[0].reason}" if decoder.complaints else ""
            raise BadInput(f"{source.path.name}: its video stream holds no frame that can be decoded{reason}")
        positions = np.array([position for position, _ in frames], dtype=np.int64)
        timeline = timeline_of(source, [pts for _, pts in frames])
        if source.truncation is not None:  # between the last frames, others may be missing
            timeline = timeline.shortened(max(1, len(frames) - source.decoder.reorder_depth))
            positions = positions[: len(timeline)]
        super().__init__(source, decoder, order_of_frames(source.index, positions), positions, timeline)


def order_of_frames(index: PacketIndex, positions: Int64s) -> PacketIndex:
    """Return ``index`` with ranks of frames for presentation times; ``positions`` has the packet of each frame.

    Packets without a frame count as second fields: whatever they hold belongs to the frame before.
    """
    ranks = np.full(len(index), -1, dtype=np.int64)
    ranks[positions] = np.arange(len(positions))
    return replace(index, pts=ranks, hidden=ranks < 0, second=ranks < 0)


def _shown(index: PacketIndex, decoder: RunDecoder) -> Int64s:
    """Positions of the packets whose frames are shown, in the order in which they are shown."""
    shown = ~index.hidden
    doubtful = _doubtful(index)
    if len(doubtful):
        shown[doubtful] = False
        shown[decoder.probe(Run(0, int(doubtful[-1]) + 1, tuple(doubtful.tolist())))] = True
    positions = np.flatnonzero(shown)
    return positions[np.argsort(index.pts[positions], kind="stable")]


def _stated_timeline(source: PacketSource, positions: Int64s) -> Timeline:
    """The time line of the frames in the packets at ``positions``, as their times say."""
    index = source.index
    pts = index.pts[positions]
    ticks = pts - pts[0]
    end = int(ticks[-1]) + last_frame_ticks(ticks, _duration(index, int(positions[-1])), source.frame_ticks)
    return Timeline(ticks, pts, end, index.time_base)


def _duration(index: PacketIndex, position: int) -> int:
    """Return how long a frame is shown as its packets state, in ticks; 0 if they do not."""
    duration = int(index.durations[position])
    has_second = bool(index.second[position + 1 : position + 2].any())
    if not has_second or not duration:
        return duration
    return int(index.pts[position + 1] - index.pts[position] + index.durations[position + 1])


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
    keyframes = np.flatnonzero(index.entry if index.entry.any() else index.keyframe)
    first = int(keyframes[0]) if len(keyframes) else len(index)
    early = np.arange(len(index)) < first
    if first < len(index):
        early |= index.pts < index.pts[first]
    return np.flatnonzero(early & ~index.hidden).astype(np.int64)
