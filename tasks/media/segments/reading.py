"""Read the frames of a segment and its context, decoding from the previous keyframe.

Frames are yielded one at a time in presentation order, in the source's pixel format, with the decoder's metadata: field
order, color, sample aspect. Only the frames that the decoder needs are kept in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from tasks.engine.contract.errors import BadInput
from tasks.media.decoding import RunDecoder, UnreliableIndexError
from tasks.media.demuxing import PacketSource
from tasks.media.index import Int64s
from tasks.media.runs import Run, find_decoding_starts, plan_runs
from tasks.media.segments.copies import FrameCopier
from tasks.media.segments.counting import decode_from_restart
from tasks.media.segments.picture import drop_range
from tasks.media.segments.plan import Segment
from tasks.media.segments.source import Survey

# Maximum number of frames that a decoder outputs before one that they depend on (16 references in H.264 and HEVC).
_MAX_REORDERED = 16


@dataclass(frozen=True)
class SegmentFrame:
    """One frame of a segment.

    index    rank among the frames of the video, from 0
    frame    the decoded frame; it may be written to after ``make_writable()``
    damage   the damage in one clause; empty if there is none. Some damage is detected after the frame is yielded:
             ``SegmentReader.damaged`` is complete.
    """

    index: int
    frame: VideoFrame
    damage: str = ""


class SegmentReader:
    """A surveyed video opened for reading segments. Use it in a ``with`` block.

    After an iteration, ``damaged`` has the damaged frames, each with one clause.
    Raises BadInput if the file is not the surveyed one.
    """

    def __init__(self, path: Path, survey: Survey) -> None:
        survey.check_file(path)
        self._survey = survey
        self.damaged: dict[int, str] = {}
        self._copier = FrameCopier()
        self._turner = FrameCopier(upright=True)
        self._reformatter = VideoReformatter()
        self._source = PacketSource(path, index=survey.index)
        self._decoder = RunDecoder(self._source)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def frames(self, segment: Segment) -> Iterator[SegmentFrame]:
        """Yield the frames of ``segment`` from ``read_start`` to ``read_end``, exclusive: each once, in order."""
        return self.range(segment.read_start, segment.read_end)

    def range(self, start_frame: int, end_frame: int) -> Iterator[SegmentFrame]:
        """Yield the frames from ``start_frame`` to ``end_frame``, exclusive: each once, in order.

        Raises BadInput at a damaged frame, or at the latest at the end of its GOP. If the survey is tolerant, the frame
        is yielded as the decoder conceals it, or as a copy of the previous (initially: next) frame, with its damage.
        Raises UnreliableIndexError if an intact packet gives no frame; then survey the video by decoding.
        """
        self.damaged = {}
        positions = self._survey.positions
        if positions is None:
            frames = self._read_by_counting(start_frame, end_frame)
        else:
            frames = self._read_by_index(positions[start_frame:end_frame], start_frame)
        return self._fill_gaps(frames, start_frame, end_frame)

    def _read_by_index(self, positions: Int64s, first: int) -> Iterator[SegmentFrame]:
        """Yield the available frames of the packets at ``positions``; the first has the index ``first``."""
        index = self._survey.index
        requested = positions.tolist()
        rank = {position: first + number for number, position in enumerate(requested)}
        starts = dict(zip(requested, find_decoding_starts(index, requested), strict=True))
        for run in plan_runs(index, requested):
            for position, frame in self._delay_frames(run):
                damage = self._find_damage(starts[position], position)
                yield SegmentFrame(rank[position], self._normalize(frame), self._record_damage(rank[position], damage))
            for position in run.wanted:  # a damaged packet may precede frames that are shown before it
                self._record_damage(rank[position], self._find_damage(starts[position], position))

    def _delay_frames(self, run: Run) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the requested frames of ``run``, delayed until the state of their references is certain.

        A reference may be output, with its damage, after frames that depend on it.
        """
        held: deque[tuple[int, VideoFrame]] = deque()
        outstanding = deque(run.wanted)
        decoded_positions: set[int] = set()
        max_delay = _MAX_REORDERED if self._survey.tolerant else 0
        for decoded in self._decoder.decode_wanted(run):
            held.append(decoded)
            decoded_positions.add(decoded[0])
            while outstanding and outstanding[0] in decoded_positions:
                decoded_positions.discard(outstanding.popleft())
            while held and (len(held) > max_delay or not outstanding or held[0][0] < outstanding[0]):
                yield held.popleft()
        yield from held

    def _read_by_counting(self, start_frame: int, end_frame: int) -> Iterator[SegmentFrame]:
        """Yield the frames by counting."""
        for index, frame in decode_from_restart(self._decoder, self._survey.restarts, start_frame):
            if index >= end_frame:
                return
            complaints = self._decoder.complaints
            damage = complaints[0].reason if complaints and index else ""
            complaints.clear()
            if index >= start_frame:
                yield SegmentFrame(index, self._normalize(frame), self._record_damage(index, damage))

    def _normalize(self, frame: VideoFrame) -> VideoFrame:
        """Return ``frame`` with the same pixels in the format of the survey, rows from the top down."""
        frame.time_base = self._survey.index.time_base  # the last frames lack it
        if any(plane.line_size < 0 for plane in frame.planes):  # bitmaps in AVI
            frame = self._turner.copy(frame)
        name = frame.format.name
        return frame if drop_range(name) == name else self._reformatter.reformat(frame, format=drop_range(name))

    def _find_damage(self, start: int, position: int) -> str:
        """Return the first complaint about the packets from ``start`` to ``position``, which depends on them."""
        complaints = self._decoder.complaints
        first = next((item for item in complaints if start <= item.position <= position), None)
        if first is None:
            return ""
        return first.reason if first.position == position else f"a frame before it is damaged: {first.reason}"

    def _record_damage(self, index: int, damage: str) -> str:
        """Record and return ``damage`` if it is tolerated; otherwise raise BadInput."""
        if damage and not self._survey.tolerant:
            seconds = self._survey.timeline.seconds(index)
            raise BadInput(f"{self._source.path.name}: frame {index} at {seconds:.3f} s is damaged: {damage}")
        if damage:
            self.damaged.setdefault(index, damage)
        return damage

    def _fill_gaps(self, frames: Iterator[SegmentFrame], start: int, end: int) -> Iterator[SegmentFrame]:
        """Yield every frame from ``start`` to ``end``; missing ones repeat the previous frame."""
        due, before = start, None
        for current in frames:
            if current.index < due:
                raise UnreliableIndexError(f"{self._source.path.name}: frame {current.index} is out of order")
            yield from self._repeat(before or current.frame, due, current.index)
            before = self._copier.copy(current.frame) if self._survey.tolerant else current.frame
            yield current
            due = current.index + 1
        if before is None:
            raise BadInput(f"{self._source.path.name}: no frame from {start} to {end - 1} can be decoded")
        yield from self._repeat(before, due, end)

    def _repeat(self, frame: VideoFrame, start: int, end: int) -> Iterator[SegmentFrame]:
        """Yield a copy of ``frame`` for each missing one from ``start`` to ``end``."""
        for index in range(start, end):
            complaints = self._decoder.complaints
            if not complaints and self._survey.positions is not None:
                raise UnreliableIndexError(
                    f"{self._source.path.name}: frame {index} has a packet, but cannot be decoded"
                )
            reason = complaints[-1].reason if complaints else "it cannot be decoded"
            yield SegmentFrame(index, self._copier.copy(frame), self._record_damage(index, f"missing: {reason}"))
