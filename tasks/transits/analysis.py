"""Analyzes one star, from its files to the rows of its candidates. Only child processes import this heavy module."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks.engine.contract.stage import Value
from tasks.transits.candidate import Candidate
from tasks.transits.columns import Origin, Reason
from tasks.transits.features import measure
from tasks.transits.features.values import mask_periodic_features
from tasks.transits.given import Ephemeris
from tasks.transits.given_signals import list_candidates, list_others, measure_given
from tasks.transits.light_curve import LightCurve, PreparedLightCurve, Star
from tasks.transits.matching import find_match
from tasks.transits.params import TransitParams
from tasks.transits.preparation import prepare
from tasks.transits.reading import read_light_curve
from tasks.transits.rows import build_candidate_row, build_masked_row, mark_as_given
from tasks.transits.searching import SearchResult, search
from tasks.transits.searching.ephemerides import GivenSignal
from tasks.transits.searching.single_transits import measure_single_transits
from tasks.transits.unsearchable import Unsearchable


@dataclass(frozen=True)
class StarAnalysis:
    """The results of one star. ``result`` is None if the star could not be searched."""

    result: SearchResult | None
    rows: Sequence[Mapping[str, Any]]

    @property
    def search_rows(self) -> list[Mapping[str, Any]]:
        """The rows of the blind search: its candidates, or one row without any."""
        return [row for row in self.rows if row["origin"] == Origin.SEARCH]

    def get_values(self) -> dict[str, Value]:
        """Return the columns of ``items.parquet``."""
        result, best = self.result, self.search_rows[0]
        return {
            "points": len(result.curve.time) if result else 0,
            "baseline_days": round(result.curve.baseline_days, 6) if result else None,
            "noise_ppm": _compute_noise_ppm(result.curve) if result else None,
            "trial_periods": len(result.first.period_days) if result and result.first else 0,
            "single_events": len(result.events) if result else 0,
            "nonpositive_points": result.curve.nonpositive if result else 0,
            "short_dip_points": result.curve.short_dips if result else 0,
            "smooth_variations": len(result.sines) if result else 0,
            "candidates": best["candidates"],
            "best_period_days": best["period_days"],
            "best_sde": best["sde"],
            "best_flags": best["false_positive_flags"],
        }


def analyze_star(target: Mapping[str, Any], paths: Sequence[Path], params: TransitParams) -> StarAnalysis:
    """Read, prepare, search and measure one star. ``target``: the payload of its item. Raises BadInput."""
    ephemerides = [Ephemeris(**given) for given in target.get("candidates", ())]
    observed: LightCurve | None = None
    try:
        star = Star(**target["star"])
        observed = read_light_curve(paths, star, params.flux, target["mission"], target["segments"])
        curve = prepare(observed, params)
    except Unsearchable as error:
        masked = build_masked_row(target, observed, None, error.reason)
        given = [mark_as_given(masked, number, each, None, 0) for number, each in enumerate(ephemerides, 1)]
        return StarAnalysis(None, [masked, *given])
    result = search(curve, params)
    given_curve, signals = measure_given(observed, result, ephemerides, params)
    rows = [_build_search_row(target, result, candidate, signals) for candidate in result.candidates]
    rows = rows or [build_masked_row(target, observed, result.curve, Reason.NO_CANDIDATE)]
    given_rows = [
        _build_given_row(target, given_curve, result, signals, number, each)
        for number, each in enumerate(ephemerides, 1)
    ]
    return StarAnalysis(result, [*rows, *given_rows, *_build_single_rows(target, result, params.min_snr)])


def _build_single_rows(target: Mapping[str, Any], result: SearchResult, min_snr: float) -> list[dict[str, Any]]:
    """Build the rows of dips that do not repeat, numbered from the strongest."""
    curve = result.curve
    rows: list[dict[str, Any]] = []
    for transit in measure_single_transits(curve, result.events, min_snr):
        features = measure(curve, transit, result.candidates)
        snr = features.get_number("pink_noise_snr")
        if snr is not None and snr < min_snr:
            continue
        candidate = replace(transit, number=len(rows) + 1)
        row = build_candidate_row(target, curve, candidate, mask_periodic_features(features), ())
        rows.append({**row, "candidates": len(result.candidates), "origin": str(Origin.SINGLE_TRANSIT)})
    return rows


def _build_search_row(
    target: Mapping[str, Any], result: SearchResult, candidate: Candidate, signals: Sequence[GivenSignal | Reason]
) -> dict[str, Any]:
    """Build the row of a signal that the search found, with the given candidate that it matches."""
    features = measure(result.curve, candidate, result.candidates)
    match = find_match(result.curve, candidate, list_candidates(signals))
    return build_candidate_row(target, result.curve, candidate, features, result.candidates, match)


def _build_given_row(
    target: Mapping[str, Any],
    curve: PreparedLightCurve,
    result: SearchResult,
    signals: Sequence[GivenSignal | Reason],
    number: int,
    given: Ephemeris,
) -> dict[str, Any]:
    """Build the row of a given candidate, with the signal of the search that it matches."""
    signal, count = signals[number - 1], len(result.candidates)
    if isinstance(signal, Reason):
        return mark_as_given(build_masked_row(target, None, curve, signal), number, given, None, count)
    candidates = list_candidates(signals)
    features = measure(curve, signal.candidate, [*candidates, *list_others(curve, result, candidates)])
    match = find_match(curve, signal.candidate, result.candidates)
    row = build_candidate_row(target, curve, signal.candidate, features, candidates, match)
    return mark_as_given(row, number, given, signal.use, count)


def _compute_noise_ppm(curve: PreparedLightCurve) -> float | None:
    """Return the root of the mean variance of a point; None if it is not finite."""
    value = 1e6 * math.sqrt(float((curve.noise**2).mean()))
    return value if math.isfinite(value) else None
