"""The frames of one segment with its context, decoded from the keyframe before, as they are stored.

Frames come one at a time, in the order in which they are shown, in the source's own pixel format, with what the
decoder says of them: field order, colour, sample aspect. No more of them are held than the decoder needs.
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
from tasks.media.runs import Run, decoding_starts, plan_runs
from tasks.media.segments.copies import FrameCopier
from tasks.media.segments.counting import frames_from
from tasks.media.segments.picture import plain_name
from tasks.media.segments.plan import Segment
from tasks.media.segments.source import Survey

# So many frames at most come out of a decoder before one that they are decoded from (16 references in H.264 and HEVC).
_MOST_REORDERED = 16


@dataclass(frozen=True)
class SegmentFrame:
    """One frame of a segment.

    index    its rank among the frames of the video, from 0
    frame    as the decoder gives it; may be written to after ``make_writable()``
    damage   what is wrong with it, in one clause; empty where nothing is. It may turn out later than with the frame:
             ``SegmentReader.damaged`` is complete.
    """

    index: int
    frame: VideoFrame
    damage: str = ""


class SegmentReader:
    """A surveyed video opened for reading segments. Use it in a ``with`` block.

    ``damaged`` has, when an iteration has ended, what is wrong with which of its frames, in one clause each.
    Raises BadInput where the file is not the one that was surveyed.
    """

    def __init__(self, path: Path, found: Survey) -> None:
        found.check_file(path)
        self._survey = found
        self.damaged: dict[int, str] = {}
        self._copier = FrameCopier()
        self._turner = FrameCopier(upright=True)
        self._reformatter = VideoReformatter()
        self._source = PacketSource(path, index=found.index)
        self._decoder = RunDecoder(self._source)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def frames(self, segment: Segment) -> Iterator[SegmentFrame]:
        """The frames of ``segment`` from ``read_start`` up to and without ``read_end``: each once, in order."""
        return self.range(segment.read_start, segment.read_end)

    def range(self, start_frame: int, end_frame: int) -> Iterator[SegmentFrame]:
        """The frames ``start_frame`` up to and without ``end_frame``: each once, in order.

        Raises BadInput at a damaged frame or, at the latest, at the end of its group of pictures, unless the survey
        tolerates damage: then it comes as the decoder conceals it, or where the decoder gives none, as the frame
        before (the first ones: after), and says what is wrong.
        Raises UnreliableIndexError where a sound packet gives no frame: survey the video by decoding then.
        """
        self.damaged = {}
        positions = self._survey.positions
        if positions is None:
            found = self._counted(start_frame, end_frame)
        else:
            found = self._indexed(positions[start_frame:end_frame], start_frame)
        return self._completed(found, start_frame, end_frame)

    def _indexed(self, positions: Int64s, first: int) -> Iterator[SegmentFrame]:
        """The frames of the packets at ``positions``, as far as there are any; the first has the index ``first``."""
        index = self._survey.index
        wanted = positions.tolist()
        rank = {position: first + number for number, position in enumerate(wanted)}
        starts = dict(zip(wanted, decoding_starts(index, wanted), strict=True))
        for run in plan_runs(index, wanted):
            for position, frame in self._held_back(run):
                damage = self._damage(starts[position], position)
                yield SegmentFrame(rank[position], self._plain(frame), self._judged(rank[position], damage))
            for position in run.wanted:  # what is shown after a frame may have come before it, and be damaged
                self._judged(rank[position], self._damage(starts[position], position))

    def _held_back(self, run: Run) -> Iterator[tuple[int, VideoFrame]]:
        """The frames that ``run`` wants, as late as that whether what they are decoded from is damaged is known.

        It may be known only when that comes out itself, after the frames that are shown before it.
        """
        held: deque[tuple[int, VideoFrame]] = deque()
        outstanding = deque(run.wanted)
        come: set[int] = set()
        most = _MOST_REORDERED if self._survey.tolerant else 0
        for found in self._decoder.wanted_frames(run):
            held.append(found)
            come.add(found[0])
            while outstanding and outstanding[0] in come:
                come.discard(outstanding.popleft())
            while held and (len(held) > most or not outstanding or held[0][0] < outstanding[0]):
                yield held.popleft()
        yield from held

    def _counted(self, start_frame: int, end_frame: int) -> Iterator[SegmentFrame]:
        """The same by counting frames."""
        for index, frame in frames_from(self._decoder, self._survey.restarts, start_frame):
            if index >= end_frame:
                return
            complaints = self._decoder.complaints
            damage = complaints[0].reason if complaints and index else ""
            complaints.clear()
            if index >= start_frame:
                yield SegmentFrame(index, self._plain(frame), self._judged(index, damage))

    def _plain(self, frame: VideoFrame) -> VideoFrame:
        """``frame`` in the format that the survey's picture names, rows from the top down: the same pixels."""
        frame.time_base = self._survey.index.time_base  # the last ones come without
        if any(plane.line_size < 0 for plane in frame.planes):  # bitmaps in AVI
            frame = self._turner.copy(frame)
        name = frame.format.name
        return frame if plain_name(name) == name else self._reformatter.reformat(frame, format=plain_name(name))

    def _damage(self, start: int, position: int) -> str:
        """What was said against the packets from ``start`` to ``position``, one of which is needed for the other."""
        found = (complaint for complaint in self._decoder.complaints if start <= complaint.position <= position)
        first = next(found, None)
        if first is None:
            return ""
        return first.reason if first.position == position else f"a frame before it is damaged: {first.reason}"

    def _judged(self, index: int, damage: str) -> str:
        """``damage``, noted where it is tolerated; else BadInput."""
        if damage and not self._survey.tolerant:
            seconds = self._survey.timeline.seconds(index)
            raise BadInput(f"{self._source.path.name}: frame {index} at {seconds:.3f} s is damaged: {damage}")
        if damage:
            self.damaged.setdefault(index, damage)
        return damage

    def _completed(self, found: Iterator[SegmentFrame], start: int, end: int) -> Iterator[SegmentFrame]:
        """``found`` with every frame from ``start`` to ``end``: what is missing repeats the frame before it."""
        due, before = start, None
        for current in found:
            if current.index < due:
                raise UnreliableIndexError(f"{self._source.path.name}: frame {current.index} comes too late")
            yield from self._repeats(before or current.frame, due, current.index)
            before = self._copier.copy(current.frame) if self._survey.tolerant else current.frame
            yield current
            due = current.index + 1
        if before is None:
            raise BadInput(f"{self._source.path.name}: none of the frames {start} to {end - 1} can be decoded")
        yield from self._repeats(before, due, end)

    def _repeats(self, frame: VideoFrame, start: int, end: int) -> Iterator[SegmentFrame]:
        """``frame`` in place of each missing one from ``start`` to ``end``."""
        for index in range(start, end):
            complaints = self._decoder.complaints
            if not complaints and self._survey.positions is not None:
                raise UnreliableIndexError(f"{self._source.path.name}: frame {index} has a packet and no picture")
            reason = complaints[-1].reason if complaints else "it cannot be decoded"
            yield SegmentFrame(index, self._copier.copy(frame), self._judged(index, f"missing: {reason}"))
