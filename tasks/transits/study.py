"""One star from its files to the rows of its candidates. Imports all that computes: only children import it."""

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
class Study:
    """A star with all that was found. ``result`` is None where nothing could be searched in it."""

    result: SearchResult | None
    rows: Sequence[Mapping[str, Any]]

    def values(self) -> dict[str, Value]:
        """Columns of ``items.parquet``."""
        found, best = self.result, self.rows[0]
        return {
            "points": len(found.curve.time) if found else 0,
            "baseline_days": round(found.curve.baseline_days, 6) if found else None,
            "noise_ppm": _noise_ppm(found.curve) if found else None,
            "trial_periods": len(found.first.period_days) if found and found.first else 0,
            "single_events": len(found.events) if found else 0,
            "smooth_variations": len(found.sines) if found else 0,
            "candidates": best["candidates"],
            "best_period_days": best["period_days"],
            "best_sde": best["sde"],
            "best_flags": best["false_positive_flags"],
        }


def study(target: Mapping[str, Any], paths: Sequence[Path], params: TransitParams) -> Study:
    """Read, prepare, search and measure one star. ``target``: the payload of its item. Raises BadInput."""
    observed: LightCurve | None = None
    try:
        star = Star(**target["star"])
        observed = read_light_curve(paths, star, params.flux, target["mission"], target["segments"])
        curve = prepare(observed, params)
    except Unsearchable as error:
        return Study(None, [build_masked_row(target, observed, None, error.reason)])
    found = search(curve, params)
    rows = [
        build_candidate_row(target, found.curve, one, measure(found.curve, one, found.candidates), found.candidates)
        for one in found.candidates
    ]
    return Study(found, rows or [build_masked_row(target, observed, found.curve, Reason.NO_CANDIDATE)])


def _noise_ppm(curve: PreparedLightCurve) -> float | None:
    """Root of the mean variance of a point."""
    value = 1e6 * math.sqrt(float((curve.noise**2).mean()))
    return value if math.isfinite(value) else None
