"""What there is of a video whose end is damaged or missing, and what is not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from tasks.engine.errors import BadInput
from tasks.media.decoding import RunDecoder
from tasks.media.demuxing import PacketSource
from tasks.media.index import Int64s
from tasks.media.opening import is_cut_short
from tasks.media.runs import Run

# Matroska's statistics tag.
_HOURS_MINUTES_SECONDS = re.compile(r"(\d{1,6}):(\d\d):(\d\d(?:\.\d{1,12})?)")


@dataclass(frozen=True)
class Damage:
    """What is missing at the end of a video.

    missing_frames   frames that the file promises or begins and that cannot be shown; ``None`` where nothing tells
    reason           one clause
    """

    missing_frames: int | None
    reason: str


def cut_damaged_end(source: PacketSource, positions: Int64s) -> tuple[Int64s, Damage | None]:
    """``positions`` of the frames of a video without those at its end that are damaged themselves.

    A sound frame that is decoded from a damaged one stays: a flipped bit is no missing end. Only what comes after the
    last seek point but one is decoded, for the same reason. Raises BadInput where no frame is left.
    """
    index = source.index
    start = int(index.seek_points[-2]) if len(index.seek_points) > 1 else 0
    tested = tuple(sorted(int(position) for position in positions if position >= start))
    decoder = RunDecoder(source)
    shown = {position for position, _ in decoder.wanted_frames(Run(start, len(index), tested))}
    damaged = {complaint.position for complaint in decoder.complaints} | (set(tested) - shown)
    keep = len(positions)
    while keep and int(positions[keep - 1]) in damaged:
        keep -= 1
    if not keep:
        raise BadInput(f"{source.path.name}: not one of its frames can be decoded")
    if keep == len(positions):
        return positions, None
    reason = decoder.complaints[0].reason if decoder.complaints else "packets at its end give no picture"
    return positions[:keep], Damage(len(positions) - keep, reason)


def missing_end(source: PacketSource, last_pts: int, damage: Damage | None) -> Damage | None:
    """``damage``, or all that the container promises after the frame at ``last_pts``, the last one that is there."""
    missing = round((_promised_end(source) - last_pts) / source.frame_ticks) - 1
    if missing < 2:  # the last frame's length is seldom known to the tick
        return damage
    return Damage(missing, damage.reason if damage else "the end of the file is missing")


def _promised_end(source: PacketSource) -> int:
    """When the video ends as its container says, in ticks; 0 where it does not say or may be believed anyway."""
    stream, is_mov = source.stream, source.container.format.name.startswith("mov,")
    if is_mov and not is_cut_short(stream, source.path):
        return 0  # edit lists make the stated duration another one
    if stream.duration is not None:
        return (stream.start_time or 0) + stream.duration
    stated = _HOURS_MINUTES_SECONDS.fullmatch(stream.metadata.get("DURATION", ""))
    if stated is None:
        return 0
    hours, minutes, seconds = (Fraction(part) for part in stated.groups())
    return round((hours * 3600 + minutes * 60 + seconds) / source.index.time_base)
