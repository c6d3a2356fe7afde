"""Frames by counting: for videos whose packets do not tell which frame is shown when.

All of the video is decoded once to know its frames. To read from its middle later, decoding starts at a keyframe whose
rank among the frames is known then; that is done only where tries have shown that it gives the same frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame

from tasks.engine.contract.errors import BadInput
from tasks.media.decoding import RunDecoder, position_of
from tasks.media.demuxing import PacketSource
from tasks.media.index import Int64s
from tasks.media.listing import order_of_frames, timeline_of
from tasks.media.segments.planes import frame_digest
from tasks.media.segments.tail import Damage
from tasks.media.timeline import Timeline

# Restarts are tried at so many keyframes, and so many frames of each compared.
_TRIED_KEYFRAMES = 3
_TRIED_FRAMES = 16


@dataclass(frozen=True)
class Counted:
    """The frames of a video, as decoding all of it gives them.

    restarts   int64, n x 2, rising: the rank of a keyframe among the frames, and the position of its packet
    damage     what is missing at the end; ``None`` where nothing is
    """

    timeline: Timeline
    restarts: Int64s
    damage: Damage | None


def count_frames(source: PacketSource, tolerant: bool) -> Counted:
    """Decode all of a video; where ``tolerant``, leave out the damaged frames at its end.

    Raises BadInput where the video is damaged and that is not tolerated, or holds nothing that can be shown.
    """
    decoder = RunDecoder(source)
    pts: list[int | None] = []
    positions: list[int] = []
    sound, reason = 0, ""
    for frame in decoder.all_frames():
        complaint = _complaint(decoder, frame, bool(pts))
        if complaint and not tolerant:
            raise BadInput(f"{source.path.name}: is damaged, and its timestamps do not say where: {complaint}")
        positions.append(position_of(frame))
        pts.append(frame.pts)
        sound, reason = (sound, complaint) if complaint else (len(pts), reason)
    if decoder.complaints and not tolerant:
        raise BadInput(f"{source.path.name}: is damaged at its end: {decoder.complaints[0].reason}")
    if not sound:
        raise BadInput(f"{source.path.name}: its video stream holds no frame that can be decoded")
    damage = Damage(len(pts) - sound, reason) if sound < len(pts) else None
    return Counted(timeline_of(source, pts[:sound]), _restarts(source, positions), damage)


def frames_from(decoder: RunDecoder, restarts: Int64s, start_frame: int) -> Iterator[tuple[int, VideoFrame]]:
    """The frames of a video with their ranks, from some frame at or before ``start_frame`` on."""
    usable = restarts[restarts[:, 0] <= start_frame]
    if not len(usable):
        yield from enumerate(decoder.all_frames())
        return
    rank, position = (int(number) for number in usable[-1])
    started = False
    for frame in decoder.frames_from(position):
        # What comes before the keyframe is shown before it, and needs what was not decoded.
        started = started or position_of(frame) == position
        if started:
            yield rank, frame
            rank += 1
        else:
            decoder.complaints.clear()


def _restarts(source: PacketSource, positions: list[int]) -> Int64s:
    """Return where decoding may start, for frames that decoding gave from the packets at ``positions``.

    None if that is doubtful: if a few tries give other frames, or packets give several.
    """
    if len(set(positions)) < len(positions):
        return np.empty((0, 2), np.int64)
    order = order_of_frames(source.index, np.array(positions, np.int64))
    points = order.seek_points[order.pts[order.seek_points] >= 0]
    if not len(points):
        return np.empty((0, 2), np.int64)
    restarts = np.column_stack([order.pts[points], points])
    tried = restarts[np.linspace(0, len(restarts) - 1, _TRIED_KEYFRAMES).astype(int)] if len(restarts) else restarts
    expected = _digests(source, np.empty((0, 2), np.int64), tried)
    return restarts if expected == _digests(source, restarts, tried) else np.empty((0, 2), np.int64)


def _digests(source: PacketSource, restarts: Int64s, tried: Int64s) -> list[list[str]]:
    """Digests of the frames from each of ``tried`` on, decoded with the help of ``restarts``."""
    if not len(restarts):
        return _digests_in_one_go(source, tried[:, 0].tolist())
    return [_digests_in_one_go(source, [rank], restarts)[0] for rank in tried[:, 0].tolist()]


def _digests_in_one_go(source: PacketSource, ranks: list[int], restarts: Int64s | None = None) -> list[list[str]]:
    """Digests of the frames from each of ``ranks`` on, from one pass through the video up to the last of them."""
    found: list[list[str]] = [[] for _ in ranks]
    known = np.empty((0, 2), np.int64) if restarts is None else restarts
    for rank, frame in frames_from(RunDecoder(source), known, ranks[0]):
        if rank >= ranks[-1] + _TRIED_FRAMES:
            break
        for number, first in enumerate(ranks):
            if first <= rank < first + _TRIED_FRAMES:
                found[number].append(frame_digest(frame))
    return found


def _complaint(decoder: RunDecoder, frame: VideoFrame, started: bool) -> str:
    """What the decoder has just said; before the first frame it says what cut streams begin with."""
    reason = decoder.complaints[0].reason if decoder.complaints else ""
    decoder.complaints.clear()
    return reason if started or frame.is_corrupt else ""
