"""The list of a video's frames: their packets and their times, from the packet index or from decoding everything."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tasks.engine.contract.errors import BadInput
from tasks.media.decoding import RunDecoder, get_position
from tasks.media.demuxing import PacketSource
from tasks.media.index import Int64s, PacketIndex
from tasks.media.runs import Run
from tasks.media.timeline import Timeline, estimate_last_duration, make_continuous_ticks
from tasks.media.truncation import count_certain_frames


@dataclass(frozen=True)
class Listing:
    """The frames of one video in presentation order, and the packet of each.

    order      the packet index; its presentation times (or ranks instead of them) give the presentation order
    positions  the position of each frame's packet in ``order``
    timeline   the times of the frames
    by_index   True if the frames come from the packet index, False if from decoding the whole video
    """

    order: PacketIndex
    positions: Int64s
    timeline: Timeline
    by_index: bool


def list_by_index(source: PacketSource, decoder: RunDecoder) -> Listing:
    """Return the frames that the packets announce: each packet that is not hidden is a frame, shown at its time."""
    positions = _find_shown_packets(source.index, decoder)
    if source.truncation is not None and len(positions):
        pts = source.index.pts[positions]
        positions = positions[: count_certain_frames(pts, source.index.last_dts, source.frame_ticks)]
    if not len(positions):
        raise BadInput(f"{source.path.name}: its video stream holds no frame that can be shown")
    return Listing(source.index, positions, _make_stated_timeline(source, positions), by_index=True)


def list_by_decoding(source: PacketSource, decoder: RunDecoder) -> Listing:
    """Return the frames that a full decode gives, in its order, regardless of the packets' times."""
    frames = [(get_position(frame), frame.pts) for frame in decoder.decode_all()]
    if not frames:
        reason = f": {decoder.complaints[0].reason}" if decoder.complaints else ""
        raise BadInput(f"{source.path.name}: its video stream holds no frame that can be decoded{reason}")
    positions = np.array([position for position, _ in frames], dtype=np.int64)
    timeline = make_decoded_timeline(source, [pts for _, pts in frames])
    if source.truncation is not None:  # between the last frames, others may be missing
        timeline = timeline.truncate(max(1, len(frames) - source.decoder.reorder_depth))
        positions = positions[: len(timeline)]
    return Listing(replace_times_by_ranks(source.index, positions), positions, timeline, by_index=False)


def replace_times_by_ranks(index: PacketIndex, positions: Int64s) -> PacketIndex:
    """Return ``index`` with ranks of frames for presentation times; ``positions`` has the packet of each frame.

    Packets without a frame count as second fields: their data belongs to the frame before.
    """
    ranks = np.full(len(index), -1, dtype=np.int64)
    ranks[positions] = np.arange(len(positions))
    return replace(index, pts=ranks, hidden=ranks < 0, second=ranks < 0)


def make_decoded_timeline(source: PacketSource, pts: list[int | None]) -> Timeline:
    """Return the timeline of decoded frames with these times, given in presentation order."""
    times = [time for time in pts if time is not None]
    if len(times) < len(pts):  # no times: the frames are shown at the stream's rate
        ranks = np.arange(len(pts), dtype=np.int64)
        return Timeline(ranks, ranks, len(pts), 1 / source.rate)
    ticks = make_continuous_ticks(times, jump=round(1 / source.index.time_base), step=source.frame_ticks)
    end = int(ticks[-1]) + estimate_last_duration(ticks, None, source.frame_ticks)
    return Timeline(ticks, np.array(times, dtype=np.int64), end, source.index.time_base)


def _find_shown_packets(index: PacketIndex, decoder: RunDecoder) -> Int64s:
    """Return the positions of the packets whose frames are shown, in presentation order."""
    is_shown = ~index.hidden
    uncertain = _find_uncertain_packets(index)
    if len(uncertain):
        is_shown[uncertain] = False
        is_shown[decoder.probe(Run(0, int(uncertain[-1]) + 1, tuple(uncertain.tolist())))] = True
    positions = np.flatnonzero(is_shown)
    return positions[np.argsort(index.pts[positions], kind="stable")]


def _find_uncertain_packets(index: PacketIndex) -> Int64s:
    """Return the positions of packets before the first keyframe, or shown before it.

    A cut stream may begin with such packets. They give a frame only if it does not depend on missing ones.
    """
    keyframes = np.flatnonzero(index.entry if index.entry.any() else index.keyframe)
    first = int(keyframes[0]) if len(keyframes) else len(index)
    is_early = np.arange(len(index)) < first
    if first < len(index):
        is_early |= index.pts < index.pts[first]
    return np.flatnonzero(is_early & ~index.hidden).astype(np.int64)


def _make_stated_timeline(source: PacketSource, positions: Int64s) -> Timeline:
    """Return the timeline of the frames in the packets at ``positions`` from the packets' times."""
    index = source.index
    pts = index.pts[positions]
    ticks = pts - pts[0]
    end = int(ticks[-1]) + estimate_last_duration(ticks, _get_duration(index, int(positions[-1])), source.frame_ticks)
    return Timeline(ticks, pts, end, index.time_base)


def _get_duration(index: PacketIndex, position: int) -> int:
    """Return the duration of a frame as its packets state it, in ticks; 0 if they do not."""
    duration = int(index.durations[position])
    has_second = bool(index.second[position + 1 : position + 2].any())
    if not has_second or not duration:
        return duration
    return int(index.pts[position + 1] - index.pts[position] + index.durations[position + 1])
