"""Decoding chosen frames of a listing, and attributing damage to each of them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame

from tasks.media.decoding import RunDecoder, UnreliableIndexError
from tasks.media.demuxing import PacketSource
from tasks.media.index import NO_TIME
from tasks.media.listing import Listing
from tasks.media.runs import Run, find_decoding_starts, plan_runs

# Decoders that give no frame, or mark it as corrupt, if a reference frame is missing.
_WITHHOLDING = frozenset({"h264", "hevc", "vvc", "mpeg1video", "mpeg2video", "vp8", "vp9", "av1"})
# Decoders that guess the content of missing reference frames without reporting it.
_GUESSING = frozenset({
    "mpeg4", "h263", "h263p", "flv1", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "svq1", "theora", "vp3",
    "vp6", "vp6f", "zmbv",
})  # fmt: skip


@dataclass(frozen=True)
class DecodedFrame:
    """A frame by its rank among the presented frames.

    keyframe_distance  packets between it and the entry that it is decoded from, without second fields
    frame              None if the frame is damaged
    damage             the reason, in one clause; empty if the frame is intact
    """

    index: int
    keyframe_distance: int
    frame: VideoFrame | None
    damage: str = ""


class FrameDecoder:
    """Decodes chosen frames of one video, forward and without decoding anything twice."""

    def __init__(self, source: PacketSource, decoder: RunDecoder, listing: Listing) -> None:
        self._source = source
        self._decoder = decoder
        self._order = order = listing.order
        self._positions = listing.positions
        self._timeline = listing.timeline
        self._ranks: dict[int, list[int]] = {}
        for rank, position in enumerate(listing.positions.tolist()):
            self._ranks.setdefault(position, []).append(rank)
        # The first packets of a cut stream give no frame; that is no damage.
        codec, is_cut = source.decoder.codec.canonical_name, not order.entry[0]
        self._first_packet = int(listing.positions.min()) if is_cut and codec in _WITHHOLDING else 0
        self._first_entry = int(np.argmax(order.entry)) if is_cut and codec in _GUESSING else 0

    def decode(self, indices: Sequence[int]) -> Iterator[DecodedFrame]:
        """Yield the frames with these ascending indices, each with its damage.

        Raises UnreliableIndexError if a frame does not exist although no packet is damaged.
        """
        requested = set(indices)
        for run in plan_runs(self._order, np.unique(self._positions[list(indices)]).tolist()):
            pending = deque(
                sorted(rank for position in run.wanted for rank in self._ranks[position] if rank in requested)
            )
            starts = dict(zip(run.wanted, find_decoding_starts(self._order, run.wanted), strict=True))
            distances = {position: self._measure_distance(start, position) for position, start in starts.items()}
            for rank, outcome in self._decode_or_restart(run, pending, starts):
                frame, damage = (None, outcome) if isinstance(outcome, str) else (outcome, "")
                yield DecodedFrame(rank, distances[int(self._positions[rank])], frame, damage)

    def _measure_distance(self, start: int, position: int) -> int:
        return position - start - int(self._order.second[start:position].sum())

    def _decode_or_restart(
        self, run: Run, pending: deque[int], starts: Mapping[int, int]
    ) -> Iterator[tuple[int, VideoFrame | str]]:
        """Yield the ``pending`` frames of a run; if its start is no entry after all, decode from the beginning."""
        try:
            yield from self._decode_run(run, pending, starts)
        except UnreliableIndexError:
            if not run.start:
                raise
            yield from self._decode_run(Run(0, run.stop, run.wanted), pending, dict.fromkeys(run.wanted, 0))

    def _decode_run(
        self, run: Run, pending: deque[int], starts: Mapping[int, int]
    ) -> Iterator[tuple[int, VideoFrame | str]]:
        """Yield the ``pending`` frames in presentation order, each removed before. ``starts``: see ``_find_damage``."""
        for rank, frame in self._hold_back(run, set(pending)):
            while pending and pending[0] < rank:
                yield self._take_missing(pending, starts)
            if pending and pending[0] == rank:
                pending.popleft()
                damage = self._find_damage(rank, starts)
                yield rank, frame if damage is None else damage
        while pending:
            yield self._take_missing(pending, starts)

    def _hold_back(self, run: Run, requested: set[int]) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the frames with the ranks ``requested``, each after all its reference frames were decoded.

        The decoder may report damage of a reference frame only when it outputs it, which is after the frames that are
        shown before it.
        """
        times = np.where(self._order.hidden, NO_TIME, self._order.pts)[run.start : run.stop]
        latest_before = np.concatenate(([NO_TIME], np.maximum.accumulate(times)[:-1]))
        held: deque[tuple[int, VideoFrame, int]] = deque()
        latest = NO_TIME
        counts: dict[int, int] = defaultdict(int)
        for position, frame in self._decoder.decode_run(run):
            latest = max(latest, int(self._order.pts[position]))
            rank = self._get_rank(position, counts[position])
            counts[position] += 1
            if rank in requested:
                held.append((rank, frame, int(latest_before[position - run.start])))
            while held and held[0][2] <= latest:
                yield held.popleft()[:2]
        yield from (entry[:2] for entry in held)

    def _get_rank(self, position: int, number: int) -> int:
        """Return the rank of a packet's frame number ``number``; -1 if it is not shown."""
        ranks = self._ranks.get(position, ())
        if ranks and number >= len(ranks):
            raise UnreliableIndexError(f"{self._source.path.name}: packet {position} gives several frames")
        return ranks[number] if ranks else -1

    def _take_missing(self, pending: deque[int], starts: Mapping[int, int]) -> tuple[int, str]:
        """Remove the first ``pending`` rank, whose frame the decoder did not give, and return it with the reason."""
        rank = pending[0]
        damage = self._find_damage(rank, starts)
        if damage is None:
            place = f"frame {rank} at {self._timeline.seconds(rank):.3f} s"
            raise UnreliableIndexError(f"{self._source.path.name}: {place} cannot be decoded")
        return pending.popleft(), damage

    def _find_damage(self, rank: int, starts: Mapping[int, int]) -> str | None:
        """Return the damage of a frame as far as the decoder has reported it; None if there is none.

        ``starts`` maps the position of a frame's packet to the first packet that the frame depends on.
        """
        position = int(self._positions[rank])
        if self._first_entry and not starts[position] and self._is_before_entry(position):
            return "is decoded from frames that the file does not have"
        start = max(starts[position], self._first_packet)
        complaints = self._decoder.complaints
        damage = next((complaint for complaint in complaints if start <= complaint.position <= position), None)
        if damage is None:
            return None
        subject = "is" if damage.position == position else "is decoded from a frame that is"
        return f"{subject} damaged: {damage.reason}"

    def _is_before_entry(self, position: int) -> bool:
        """Return True if the frame at ``position`` is shown before the first entry."""
        return bool(self._order.pts[position] < self._order.pts[self._first_entry])
