"""What there is of a video whose end is damaged or missing, and what is not."""

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
    """What is missing at the end of a video.

    missing_frames   frames that the file promises or begins and that cannot be shown; ``None`` where nothing tells
    reason           one clause
    truncated        the end of the file is missing; else it is there and damaged
    stated_seconds   duration of the whole video as the container states it; ``None`` if it does not
    """

    missing_frames: int | None
    reason: str
    truncated: bool = False
    stated_seconds: float | None = None


def damage_values(damage: Damage | None) -> dict[str, Value]:
    """Return the columns that report what is missing at the end of a video."""
    return {
        "missing": damage.reason if damage else None,
        "truncated": damage is not None and damage.truncated,
        "stated_seconds": damage.stated_seconds if damage else None,
    }


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


def missing_end(source: PacketSource, timeline: Timeline, damage: Damage | None) -> Damage | None:
    """Return ``damage`` with everything that the container promises after the end of ``timeline``."""
    truncation = source.truncation
    if truncation is None:
        return damage
    reason = damage.reason if damage else f"the end of the file is missing: {truncation.reason}"
    stated = truncation.stated_seconds
    return Damage(_missing_frames(source, timeline, stated), reason, truncated=True, stated_seconds=stated)


def _missing_frames(source: PacketSource, timeline: Timeline, stated_seconds: float | None) -> int | None:
    """Return the frames between the end of ``timeline`` and the stated end; None if the container states none."""
    if stated_seconds is None:
        return None
    missing_seconds = Fraction(stated_seconds) - timeline.end_ticks * timeline.time_base
    return max(0, round(missing_seconds * source.rate))
