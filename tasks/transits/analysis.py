"""Analyzes one star, from its files to the rows of its candidates. Only child processes import this heavy module."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.engine.contract.stage import Value
from tasks.transits.columns import Reason
from tasks.transits.features import measure
from tasks.transits.light_curve import LightCurve, PreparedLightCurve, Star
from tasks.transits.params import TransitParams
from tasks.transits.preparation import prepare
from tasks.transits.reading import read_light_curve
from tasks.transits.rows import build_candidate_row, build_masked_row
from tasks.transits.searching import SearchResult, search
from tasks.transits.unsearchable import Unsearchable


@dataclass(frozen=True)
class StarAnalysis:
    """The results of one star. ``result`` is None if the star could not be searched."""

    result: SearchResult | None
    rows: Sequence[Mapping[str, Any]]

    def get_values(self) -> dict[str, Value]:
        """Return the columns of ``items.parquet``."""
        result, best = self.result, self.rows[0]
        return {
            "points": len(result.curve.time) if result else 0,
            "baseline_days": round(result.curve.baseline_days, 6) if result else None,
            "noise_ppm": _compute_noise_ppm(result.curve) if result else None,
            "trial_periods": len(result.first.period_days) if result and result.first else 0,
            "single_events": len(result.events) if result else 0,
            "smooth_variations": len(result.sines) if result else 0,
            "candidates": best["candidates"],
            "best_period_days": best["period_days"],
            "best_sde": best["sde"],
            "best_flags": best["false_positive_flags"],
        }


def analyze_star(target: Mapping[str, Any], paths: Sequence[Path], params: TransitParams) -> StarAnalysis:
    """Read, prepare, search and measure one star. ``target``: the payload of its item. Raises BadInput."""
    observed: LightCurve | None = None
    try:
        star = Star(**target["star"])
        observed = read_light_curve(paths, star, params.flux, target["mission"], target["segments"])
        curve = prepare(observed, params)
    except Unsearchable as error:
        return StarAnalysis(None, [build_masked_row(target, observed, None, error.reason)])
    result = search(curve, params)
    rows = [
        build_candidate_row(
            target, result.curve, candidate, measure(result.curve, candidate, result.candidates), result.candidates
        )
        for candidate in result.candidates
    ]
    return StarAnalysis(result, rows or [build_masked_row(target, observed, result.curve, Reason.NO_CANDIDATE)])


def _compute_noise_ppm(curve: PreparedLightCurve) -> float | None:
    """Return the root of the mean variance of a point; None if it is not finite."""
    value = 1e6 * math.sqrt(float((curve.noise**2).mean()))
    return value if math.isfinite(value) else None
