"""Planning runs: the packets that must be decoded for chosen frames. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.media.index import PacketIndex


@dataclass(frozen=True)
class Run:
    """Packets ``start`` up to and without ``stop``, to be decoded in sequence by a flushed decoder.

    ``wanted`` are the positions of the packets whose frames are requested, ascending.
    """

    start: int
    stop: int
    wanted: tuple[int, ...]


def find_decoding_starts(index: PacketIndex, positions: Sequence[int]) -> list[int]:
    """Return the position at which decoding must start for the packet at each of ``positions``.

    This is the last seek point at or before the packet that is also shown at or before it: a leading frame of an open
    GOP comes after its keyframe and needs the GOP before. Without such a seek point it is the first packet.
    """
    points = index.seek_points
    starts = []
    for position in positions:
        # The presentation times of seek points rise, so both conditions select a prefix.
        usable = min(
            np.searchsorted(points, position, side="right"),
            np.searchsorted(index.pts[points], index.pts[position], side="right"),
        )
        starts.append(int(points[usable - 1]) if usable else 0)
    return starts


def plan_runs(index: PacketIndex, positions: Sequence[int]) -> list[Run]:
    """Return the runs that decode the packets at ``positions``, ascending and without overlap."""
    pairs = sorted(zip(find_decoding_starts(index, positions), positions, strict=True))
    runs: list[Run] = []
    for start, position in pairs:
        stop = position + 1
        while stop < len(index) and index.second[stop]:
            stop += 1
        if runs and start < runs[-1].stop:
            last = runs.pop()
            wanted = tuple(sorted({*last.wanted, position}))
            runs.append(Run(last.start, max(last.stop, stop), wanted))
        else:
            runs.append(Run(start, stop, (position,)))
    return runs
