"""Formats the texts of a plot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tasks.transits.candidate import Candidate, Periodogram
from tasks.transits.columns import REASONS, SEPARATOR, Reason
from tasks.transits.light_curve import PreparedLightCurve, Segment
from tasks.transits.plots.scales import format_number

_MAX_NAMES = 4  # of segments in a line
_MAX_WAYS = 2


def describe_curve(curve: PreparedLightCurve) -> str:
    """Describe the observation and the star in one line."""
    star = curve.star
    parameters = [
        f"{star.radius:.2f} R☉" if star.radius else "",
        f"{star.mass:.2f} M☉" if star.mass else "",
        f"{star.temperature_kelvin:.0f} K" if star.temperature_kelvin else "",
    ]
    parts = [
        *_list_observations(curve.segments),
        f"{len(curve.time):,} points in {curve.baseline_days:.1f} days",
        f"scatter {format_number(1e6 * float(np.median(curve.noise)))} ppm",
        ", ".join(filter(None, parameters)),
    ]
    return "  ·  ".join(filter(None, parts))


def format_count(count: int, what: str) -> str:
    """Return ``1 point``, ``2 points``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def list_flags(row: Mapping[str, Any]) -> list[str]:
    """Return the flags of a row of the table, as words."""
    return [flag.replace("_", " ") for flag in str(row.get("false_positive_flags") or "").split(SEPARATOR) if flag]


def get_value(row: Mapping[str, Any], column: str) -> float | None:
    """Return a number of a row of the table; None if it is masked."""
    value = row.get(column)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable and value is not None else None


def explain_no_candidate(rows: Sequence[Mapping[str, Any]], periodogram: Periodogram | None, min_sde: float) -> str:
    """Return the reason why a star has no candidate."""
    if periodogram is not None and len(periodogram.power):
        best = int(periodogram.power.argmax())
        peak = f"SDE {periodogram.power[best]:.1f} at {periodogram.period_days[best]:.5g} days"
        weak = periodogram.power[best] < min_sde
        cause = f"below {min_sde:g}" if weak else "but no significant periodic transits were found"
        return f"No candidate. The highest peak has {peak}, {cause}."
    reasons = [pair.partition("=")[2] for row in rows for pair in str(row.get("mask_reasons") or "").split(SEPARATOR)]
    cause = next((REASONS[Reason(reason)] for reason in reasons if reason in set(Reason)), "no search was run")
    return f"No candidate: {cause}."


def list_facts(candidate: Candidate, row: Mapping[str, Any], time_system: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the formatted value of each number of a candidate, with uncertainties if known."""
    yield "Period", f"{_format_measured(candidate.period_days, candidate.period_uncertainty_days)} d"
    yield time_system, f"{candidate.transit_time_days:.4f}"
    yield "Duration", f"{24 * candidate.duration_days:.2f} h"
    depth = get_value(row, "depth_ppm") or 1e6 * candidate.depth
    error = get_value(row, "depth_uncertainty_ppm") or 1e6 * candidate.depth_uncertainty
    yield "Depth", f"{format_number(depth)} ± {format_number(error)} ppm"
    yield "Radius ratio", _format_value(row, "radius_ratio", 4)
    yield "SNR (pink)", f"{candidate.snr:.1f} ({_format_value(row, 'pink_noise_snr', 1)})"
    yield "SDE (TLS)", f"{candidate.sde:.1f} ({candidate.tls.sde:.1f})" if candidate.tls else f"{candidate.sde:.1f} (–)"
    yield (
        "Transits observed",
        f"{_format_value(row, 'transits_observed', 0)} of {_format_value(row, 'transits_expected', 0)}",
    )
    yield "TLS period", f"{candidate.tls.period_days:.5f} d" if candidate.tls else "–"
    yield "TLS depth", f"{format_number(1e6 * candidate.tls.depth)} ppm" if candidate.tls else "–"


def _list_observations(segments: Sequence[Segment]) -> Iterator[str]:
    """Yield ``TESS S1, S2 (SPOC, 120 s)`` for each mission, pipeline and cadence; similar cadences are merged."""
    ways: dict[tuple[str, str, str], list[Segment]] = {}
    for segment in segments:
        ways.setdefault((segment.mission, segment.author, f"{segment.cadence_seconds:.1e}"), []).append(segment)
    for alike in list(ways.values())[:_MAX_WAYS]:
        names = [segment.name for segment in alike]
        some = ", ".join(names) if len(names) <= _MAX_NAMES else f"{names[0]} … {names[-1]}, {len(names)} segments"
        yield f"{alike[0].mission} {some} ({alike[0].author}, {alike[0].cadence_seconds:.0f} s)".strip()
    if len(ways) > _MAX_WAYS:
        yield "and more"


def _format_measured(value: float, error: float | None) -> str:
    """Format a value with two digits of its error in brackets, in units of its last digits: ``3.28866(33)``."""
    if not error or not math.isfinite(error) or error <= 0:
        return f"{value:.5f}"
    decimals = min(8, max(0, 1 - math.floor(math.log10(error))))
    return f"{value:.{decimals}f}({max(1, round(error * 10**decimals))})"


def _format_value(row: Mapping[str, Any], column: str, decimals: int) -> str:
    value = get_value(row, column)
    return "–" if value is None else f"{value:.{decimals}f}"
