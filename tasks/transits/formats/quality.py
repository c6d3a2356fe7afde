"""Decides which cadences are too bad to use, by the quality flags of the missions.

The flags are those of the Kepler Archive Manual (KDMC-10008-006, table 2-3, valid for K2 too) and of the TESS Science
Data Products Description Document (EXP-TESS-ARC-ICD-0014, table 32). The bad ones are those of lightkurve's
``quality_bitmask="default"``: cadences that are certainly useless. Cosmic rays, which the pipelines correct, and
suspected stray light are kept.
"""

from __future__ import annotations

from enum import IntFlag

from tasks.transits.light_curve import Flags, Indices


class KeplerFlag(IntFlag):
    """Bits of SAP_QUALITY in files of Kepler and K2."""

    ATTITUDE_TWEAK = 1 << 0
    SAFE_MODE = 1 << 1
    COARSE_POINT = 1 << 2
    EARTH_POINT = 1 << 3
    DESATURATION = 1 << 5
    MANUAL_EXCLUDE = 1 << 8
    DETECTOR_ANOMALY = 1 << 14
    NO_DATA = 1 << 16
    THRUSTER_FIRING = 1 << 20


class TessFlag(IntFlag):
    """Bits of QUALITY in files of TESS."""

    ATTITUDE_TWEAK = 1 << 0
    SAFE_MODE = 1 << 1
    COARSE_POINT = 1 << 2
    EARTH_POINT = 1 << 3
    ARGABRIGHTENING = 1 << 4
    DESATURATION = 1 << 5
    MANUAL_EXCLUDE = 1 << 7
    IMPULSIVE_OUTLIER = 1 << 9
    BAD_CALIBRATION = 1 << 14


def _combine_flags(flags: type[IntFlag]) -> int:
    """Return the union of all bits in ``flags``."""
    mask = 0
    for flag in flags:
        mask |= flag
    return mask


# Dips at the times of these cadences are suspicious. Besides the flags above: Argabrightening of Kepler (bits 7 and 13
# of the manual), and scattered light of TESS (bits 12 and 13).
_KEPLER_DISTURBED = KeplerFlag.DESATURATION | KeplerFlag.THRUSTER_FIRING | 1 << 6 | 1 << 12
_TESS_DISTURBED = TessFlag.DESATURATION | TessFlag.ARGABRIGHTENING | 1 << 11 | 1 << 12
KEPLER_MASK = _combine_flags(KeplerFlag)
TESS_MASK = _combine_flags(TessFlag)
ANY_FLAG = -1
_DISTURBED = {"Kepler": int(_KEPLER_DISTURBED), "K2": int(_KEPLER_DISTURBED), "TESS": int(_TESS_DISTURBED)}
MASKS = {"Kepler": KEPLER_MASK, "K2": KEPLER_MASK, "TESS": TESS_MASK}


def find_good_cadences(quality: Indices, mission: str) -> Flags:
    """Return flags (n,) of the cadences without the mission's bad flags, or without any flag for an unknown mission."""
    good: Flags = (quality & MASKS.get(mission, ANY_FLAG)) == 0
    return good


def find_disturbed_cadences(quality: Indices, mission: str) -> Flags:
    """Return flags (n,) of cadences with a momentum dump, a thruster firing or scattered light."""
    disturbed: Flags = (quality & _DISTURBED.get(mission, 0)) != 0
    return disturbed
