"""What a picture says in words and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tasks.transits.candidate import Candidate, Periodogram
from tasks.transits.columns import REASONS, SEPARATOR, Reason
from tasks.transits.light_curve import PreparedLightCurve, Segment
from tasks.transits.pictures.scales import format_number

_MOST_NAMES = 4  # of segments in a line
_MOST_WAYS = 2


def about_curve(curve: PreparedLightCurve) -> str:
    """What was observed, and what is known of the star, in one line."""
    star = curve.star
    known = [
        f"{star.radius:.2f} R☉" if star.radius else "",
        f"{star.mass:.2f} M☉" if star.mass else "",
        f"{star.temperature_kelvin:.0f} K" if star.temperature_kelvin else "",
    ]
    said = [
        *_observed(curve.segments),
        f"{len(curve.time):,} points in {curve.baseline_days:.1f} days",
        f"scatter {format_number(1e6 * float(np.median(curve.noise)))} ppm",
        ", ".join(filter(None, known)),
    ]
    return "  ·  ".join(filter(None, said))


def counted(count: int, what: str) -> str:
    """``1 point``, ``2 points``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def flags_of(row: Mapping[str, Any]) -> list[str]:
    """The flags of a row of the table, in words."""
    return [flag.replace("_", " ") for flag in str(row.get("false_positive_flags") or "").split(SEPARATOR) if flag]


def value_of(row: Mapping[str, Any], column: str) -> float | None:
    """A number of a row of the table; None where it is masked."""
    value = row.get(column)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable and value is not None else None


def why_none(rows: Sequence[Mapping[str, Any]], periodogram: Periodogram | None, min_sde: float) -> str:
    """Why a star has no candidate."""
    if periodogram is not None and len(periodogram.power):
        best = int(periodogram.power.argmax())
        peak = f"SDE {periodogram.power[best]:.1f} at {periodogram.period_days[best]:.5g} days"
        weak = periodogram.power[best] < min_sde
        what = f"below {min_sde:g}" if weak else "but no significant transits that repeat were found"
        return f"No candidate. The highest peak has {peak}, {what}."
    reasons = [pair.partition("=")[2] for row in rows for pair in str(row.get("mask_reasons") or "").split(SEPARATOR)]
    known = next((REASONS[Reason(reason)] for reason in reasons if reason in set(Reason)), "nothing was searched")
    return f"No candidate: {known}."


def facts(candidate: Candidate, row: Mapping[str, Any], time_system: str) -> Iterator[tuple[str, str]]:
    """The numbers of a candidate: what each is, and its value with its uncertainty where that is known."""
    yield "Period", f"{_measured(candidate.period_days, candidate.period_uncertainty_days)} d"
    yield time_system, f"{candidate.transit_time_days:.4f}"
    yield "Duration", f"{24 * candidate.duration_days:.2f} h"
    depth = value_of(row, "depth_ppm") or 1e6 * candidate.depth
    error = value_of(row, "depth_uncertainty_ppm") or 1e6 * candidate.depth_uncertainty
    yield "Depth", f"{format_number(depth)} ± {format_number(error)} ppm"
    yield "Radius ratio", _plain(row, "radius_ratio", 4)
    yield "SNR (pink)", f"{candidate.snr:.1f} ({_plain(row, 'pink_noise_snr', 1)})"
    yield "SDE (TLS)", f"{candidate.sde:.1f} ({candidate.tls.sde:.1f})" if candidate.tls else f"{candidate.sde:.1f} (–)"
    yield "Transits seen", f"{_plain(row, 'transits_observed', 0)} of {_plain(row, 'transits_expected', 0)}"
    yield "TLS period", f"{candidate.tls.period_days:.5f} d" if candidate.tls else "–"
    yield "TLS depth", f"{format_number(1e6 * candidate.tls.depth)} ppm" if candidate.tls else "–"


def _observed(segments: Sequence[Segment]) -> Iterator[str]:
    """``TESS S1, S2 (SPOC, 120 s)`` for each way of observing; cadences that differ by little are one."""
    ways: dict[tuple[str, str, str], list[Segment]] = {}
    for segment in segments:
        ways.setdefault((segment.mission, segment.author, f"{segment.cadence_seconds:.1e}"), []).append(segment)
    for alike in list(ways.values())[:_MOST_WAYS]:
        names = [segment.name for segment in alike]
        some = ", ".join(names) if len(names) <= _MOST_NAMES else f"{names[0]} … {names[-1]}, {len(names)} segments"
        yield f"{alike[0].mission} {some} ({alike[0].author}, {alike[0].cadence_seconds:.0f} s)".strip()
    if len(ways) > _MOST_WAYS:
        yield "and more"


def _measured(value: float, error: float | None) -> str:
    """With two digits of the error in brackets, which count at the value's last ones: ``3.28866(33)``."""
    if not error or not math.isfinite(error) or error <= 0:
        return f"{value:.5f}"
    decimals = min(8, max(0, 1 - math.floor(math.log10(error))))
    return f"{value:.{decimals}f}({max(1, round(error * 10**decimals))})"


def _plain(row: Mapping[str, Any], column: str, decimals: int) -> str:
    value = value_of(row, column)
    return "–" if value is None else f"{value:.{decimals}f}"
