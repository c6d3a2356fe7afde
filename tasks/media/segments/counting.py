"""Frames identified by counting, for videos whose packets have no reliable presentation times.

The whole video is decoded once to list its frames. Later reads start at a keyframe whose rank among the frames is
recorded, if trials have shown that this gives the same frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame

from tasks.engine.contract.errors import BadInput
from tasks.media.decoding import RunDecoder, get_position
from tasks.media.demuxing import PacketSource
from tasks.media.index import Int64s
from tasks.media.listing import make_decoded_timeline, replace_times_by_ranks
from tasks.media.segments.planes import hash_frame
from tasks.media.segments.tail import Damage
from tasks.media.timeline import Timeline

# Number of keyframes for the trials, and of frames compared per keyframe.
_TRIED_KEYFRAMES = 3
_TRIED_FRAMES = 16


@dataclass(frozen=True)
class CountedFrames:
    """The frames of a video, listed by decoding all of it.

    restarts   int64, n x 2, increasing: the rank of a keyframe among the frames, and the position of its packet
    damage     the damage at the end; None if there is none
    """

    timeline: Timeline
    restarts: Int64s
    damage: Damage | None


def count_frames(source: PacketSource, tolerant: bool) -> CountedFrames:
    """Decode the whole video; with ``tolerant``, drop damaged frames at its end.

    Raises BadInput if the video is damaged and not ``tolerant``, or if no frame can be decoded.
    """
    decoder = RunDecoder(source)
    pts: list[int | None] = []
    positions: list[int] = []
    intact, reason = 0, ""
    for frame in decoder.decode_all():
        complaint = _take_complaint(decoder, frame, bool(pts))
        if complaint and not tolerant:
            raise BadInput(f"{source.path.name}: is damaged, and its timestamps do not say where: {complaint}")
        positions.append(get_position(frame))
        pts.append(frame.pts)
        intact, reason = (intact, complaint) if complaint else (len(pts), reason)
    if decoder.complaints and not tolerant:
        raise BadInput(f"{source.path.name}: is damaged at its end: {decoder.complaints[0].reason}")
    if not intact:
        raise BadInput(f"{source.path.name}: its video stream holds no frame that can be decoded")
    damage = Damage(len(pts) - intact, reason) if intact < len(pts) else None
    return CountedFrames(make_decoded_timeline(source, pts[:intact]), _find_restarts(source, positions), damage)


def decode_from_restart(decoder: RunDecoder, restarts: Int64s, start_frame: int) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the frames of a video with their ranks, from a frame at or before ``start_frame`` on."""
    usable = restarts[restarts[:, 0] <= start_frame]
    if not len(usable):
        yield from enumerate(decoder.decode_all())
        return
    rank, position = (int(number) for number in usable[-1])
    started = False
    for frame in decoder.decode_from(position):
        # Frames that precede the keyframe depend on frames that were not decoded.
        started = started or get_position(frame) == position
        if started:
            yield rank, frame
            rank += 1
        else:
            decoder.complaints.clear()


def _find_restarts(source: PacketSource, positions: list[int]) -> Int64s:
    """Return the points at which decoding may start; ``positions`` are those of the packets of all frames.

    The result is empty if trials give different frames, or if packets have several frames.
    """
    if len(set(positions)) < len(positions):
        return np.empty((0, 2), np.int64)
    order = replace_times_by_ranks(source.index, np.array(positions, np.int64))
    points = order.seek_points[order.pts[order.seek_points] >= 0]
    if not len(points):
        return np.empty((0, 2), np.int64)
    restarts = np.column_stack([order.pts[points], points])
    tried = restarts[np.linspace(0, len(restarts) - 1, _TRIED_KEYFRAMES).astype(int)] if len(restarts) else restarts
    expected = _hash_trials(source, np.empty((0, 2), np.int64), tried)
    return restarts if expected == _hash_trials(source, restarts, tried) else np.empty((0, 2), np.int64)


def _hash_trials(source: PacketSource, restarts: Int64s, tried: Int64s) -> list[list[str]]:
    """Return the digests of the frames from each of ``tried`` on, using ``restarts``."""
    if not len(restarts):
        return _hash_frames(source, tried[:, 0].tolist())
    return [_hash_frames(source, [rank], restarts)[0] for rank in tried[:, 0].tolist()]


def _hash_frames(source: PacketSource, ranks: list[int], restarts: Int64s | None = None) -> list[list[str]]:
    """Return the digests of the frames from each of ``ranks`` on, in one pass through the video."""
    digests: list[list[str]] = [[] for _ in ranks]
    usable = np.empty((0, 2), np.int64) if restarts is None else restarts
    for rank, frame in decode_from_restart(RunDecoder(source), usable, ranks[0]):
        if rank >= ranks[-1] + _TRIED_FRAMES:
            break
        for number, first in enumerate(ranks):
            if first <= rank < first + _TRIED_FRAMES:
                digests[number].append(hash_frame(frame))
    return digests


def _take_complaint(decoder: RunDecoder, frame: VideoFrame, started: bool) -> str:
    """Return the decoder's last complaint; those before the first frame are ignored, as cut streams cause them."""
    reason = decoder.complaints[0].reason if decoder.complaints else ""
    decoder.complaints.clear()
    return reason if started or frame.is_corrupt else ""
