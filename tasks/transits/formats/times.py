"""Detects the time origin of a light curve whose file does not state it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from tasks.transits.light_curve import Floats

# The first day of science, and a day after the end of the mission (TESS: in the future), in the mission's own count.
_KEPLER_DAYS = (119.0, 3700.0)
_TESS_DAYS = (1310.0, 8000.0)
_JULIAN_DAYS = (2_400_000.0, 2_500_000.0)
_MODIFIED_DAYS = (40_000.0, 80_000.0)
_SHORT_DAYS = (8000.0, 12_000.0)
# Kepler's two cadences, in days; TESS has none within two percent of either.
_KEPLER_CADENCES = (0.0204336, 0.000681120)
_KEPLER_WORDS = re.compile(
    r"kepler|kplr|ktwo|bkjd|2454833|(?<![a-z])(kic|epic|k2)(?![a-z])|(?<![a-z])epic\d", re.IGNORECASE
)
_TESS_WORDS = re.compile(r"tess|btjd|2457000|(?<![a-z])tic(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Clock:
    """The interpretation of a file's times.

    time_system  a key of ``TIME_ZERO_DAYS``; ``BJD`` also if the origin is unknown
    mission      ``Kepler``, ``TESS`` or empty, by the count
    offset_days  to add to the times
    """

    time_system: str
    mission: str = ""
    offset_days: float = 0.0


def detect_clock(time: Floats, words: str, mission: str = "") -> Clock:
    """Return the clock of finite ``time`` (n,), by the size of the values.

    BKJD and BTJD overlap between 1310 and 3700 (Kepler's day 2000 is in 2014, TESS's in 2020). There ``mission``
    decides, then ``words`` (the file's name and header), then a cadence equal to Kepler's.
    """
    if not len(time):
        return Clock("BJD", mission)
    middle = float(np.median(time))
    if _is_within(middle, _JULIAN_DAYS):
        return Clock("BJD", mission)
    if _is_within(middle, _MODIFIED_DAYS):
        return Clock("BJD", mission, 2_400_000.5)
    if _is_within(middle, _SHORT_DAYS):
        return Clock("BJD", mission, 2_450_000.0)
    return _detect_mission_clock(time, middle, words, mission)


def _detect_mission_clock(time: Floats, middle: float, words: str, mission: str) -> Clock:
    kepler, tess = _is_within(middle, _KEPLER_DAYS), _is_within(middle, _TESS_DAYS)
    if kepler and tess:
        kepler = mission in {"Kepler", "K2"} or (mission != "TESS" and _is_kepler(time, words))
    if kepler:
        return Clock("BKJD", mission or "Kepler")
    return Clock("BTJD", mission or "TESS") if tess else Clock("BJD", mission)


def _is_kepler(time: Floats, words: str) -> bool:
    if bool(_KEPLER_WORDS.search(words)) != bool(_TESS_WORDS.search(words)):
        return bool(_KEPLER_WORDS.search(words))
    cadence = float(np.median(np.diff(np.sort(time)))) if len(time) > 1 else 0.0
    return any(abs(cadence / nominal - 1) < 0.005 for nominal in _KEPLER_CADENCES)


def _is_within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value < bounds[1]
