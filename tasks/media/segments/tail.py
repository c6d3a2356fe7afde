"""Damaged or missing ends of videos."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.stage import Value
from tasks.media.decoding import RunDecoder
from tasks.media.demuxing import PacketSource
from tasks.media.index import Int64s
from tasks.media.runs import Run
from tasks.media.timeline import Timeline


@dataclass(frozen=True)
class Damage:
    """The damage at the end of a video.

    missing_frames   frames that the file announces or starts, but that cannot be decoded; None if unknown
    reason           one clause
    truncated        the end of the file is missing; otherwise it is damaged
    stated_seconds   duration of the whole video as the container states it; ``None`` if it does not
    """

    missing_frames: int | None
    reason: str
    truncated: bool = False
    stated_seconds: float | None = None


def list_damage_columns(damage: Damage | None) -> dict[str, Value]:
    """Return the columns that report the damage at the end of a video."""
    return {
        "missing": damage.reason if damage else None,
        "truncated": damage is not None and damage.truncated,
        "stated_seconds": damage.stated_seconds if damage else None,
    }


def cut_damaged_end(source: PacketSource, positions: Int64s) -> tuple[Int64s, Damage | None]:
    """Return the ``positions`` of frames without the damaged ones at the end of the video.

    An intact frame that depends on a damaged one is kept, because a flipped bit is not a missing end. Only the part
    after the last but one seek point is decoded, for the same reason. Raises BadInput if no frame is left.
    """
    index = source.index
    start = int(index.seek_points[-2]) if len(index.seek_points) > 1 else 0
    tested = tuple(sorted(int(position) for position in positions if position >= start))
    decoder = RunDecoder(source)
    shown = {position for position, _ in decoder.decode_wanted(Run(start, len(index), tested))}
    damaged = {complaint.position for complaint in decoder.complaints} | (set(tested) - shown)
    keep = len(positions)
    while keep and int(positions[keep - 1]) in damaged:
        keep -= 1
    if not keep:
        raise BadInput(f"{source.path.name}: no frame can be decoded")
    if keep == len(positions):
        return positions, None
    reason = decoder.complaints[0].reason if decoder.complaints else "packets at its end give no frame"
    return positions[:keep], Damage(len(positions) - keep, reason)


def add_missing_end(source: PacketSource, timeline: Timeline, damage: Damage | None) -> Damage | None:
    """Return ``damage`` including the frames that the container announces after the end of ``timeline``."""
    truncation = source.truncation
    if truncation is None:
        return damage
    reason = damage.reason if damage else f"the end of the file is missing: {truncation.reason}"
    stated = truncation.stated_seconds
    return Damage(_count_missing_frames(source, timeline, stated), reason, truncated=True, stated_seconds=stated)


def _count_missing_frames(source: PacketSource, timeline: Timeline, stated_seconds: float | None) -> int | None:
    """Return the frames between the end of ``timeline`` and the stated end; None if the container states none."""
    if stated_seconds is None:
        return None
    missing_seconds = Fraction(stated_seconds) - timeline.end_ticks * timeline.time_base
    return max(0, round(missing_seconds * source.rate))
