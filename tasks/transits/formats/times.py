"""What the times of a light curve count from, where the file does not say."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from tasks.transits.light_curve import Floats

# The first day of science, and a day that the mission did not see (Kepler) or has not (TESS), in its own count.
_KEPLER_DAYS = (119.0, 3700.0)
_TESS_DAYS = (1310.0, 8000.0)
_JULIAN_DAYS = (2_400_000.0, 2_500_000.0)
_MODIFIED_DAYS = (40_000.0, 80_000.0)
_SHORT_DAYS = (8000.0, 12_000.0)
# Kepler's two cadences, in days; TESS has none within two per cent of either.
_KEPLER_CADENCES = (0.0204336, 0.000681120)
_KEPLER_WORDS = re.compile(
    r"kepler|kplr|ktwo|bkjd|2454833|(?<![a-z])(kic|epic|k2)(?![a-z])|(?<![a-z])epic\d", re.IGNORECASE
)
_TESS_WORDS = re.compile(r"tess|btjd|2457000|(?<![a-z])tic(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Clock:
    """How to read the times of a file.

    time_system  a key of ``TIME_ZERO_DAYS``; ``BJD`` also for times that count from nothing known
    mission      ``Kepler``, ``TESS`` or empty, by the count
    offset_days  what to add to the times first
    """

    time_system: str
    mission: str = ""
    offset_days: float = 0.0


def clock_of(time: Floats, words: str, mission: str = "") -> Clock:
    """The clock of finite ``time`` (n,), by the values' size.

    BKJD and BTJD overlap between 1310 and 3700 (Kepler's day 2000 is in 2014, TESS's in 2020). There ``mission``
    decides, then ``words`` (the file's name and header), then whether the cadence is Kepler's.
    """
    if not len(time):
        return Clock("BJD", mission)
    middle = float(np.median(time))
    if _within(middle, _JULIAN_DAYS):
        return Clock("BJD", mission)
    if _within(middle, _MODIFIED_DAYS):
        return Clock("BJD", mission, 2_400_000.5)
    if _within(middle, _SHORT_DAYS):
        return Clock("BJD", mission, 2_450_000.0)
    return _mission_clock(time, middle, words, mission)


def _mission_clock(time: Floats, middle: float, words: str, mission: str) -> Clock:
    kepler, tess = _within(middle, _KEPLER_DAYS), _within(middle, _TESS_DAYS)
    if kepler and tess:
        kepler = mission in {"Kepler", "K2"} or (mission != "TESS" and _looks_like_kepler(time, words))
    if kepler:
        return Clock("BKJD", mission or "Kepler")
    return Clock("BTJD", mission or "TESS") if tess else Clock("BJD", mission)


def _looks_like_kepler(time: Floats, words: str) -> bool:
    if bool(_KEPLER_WORDS.search(words)) != bool(_TESS_WORDS.search(words)):
        return bool(_KEPLER_WORDS.search(words))
    cadence = float(np.median(np.diff(np.sort(time)))) if len(time) > 1 else 0.0
    return any(abs(cadence / known - 1) < 0.005 for known in _KEPLER_CADENCES)


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value < bounds[1]
