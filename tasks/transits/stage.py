"""The stage of exoplanet_features: the files of one star in, its candidates with their features out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from tasks.engine.errors import BadInput
from tasks.engine.items import Item
from tasks.engine.stage import Stage, StageResult, Value, Workspace
from tasks.transits.columns import Reason
from tasks.transits.features import measure
from tasks.transits.kernels import compile_once
from tasks.transits.light_curve import LightCurve, PreparedLightCurve, Star
from tasks.transits.params import TransitParams
from tasks.transits.pictures.gallery import drawn
from tasks.transits.preparation import prepare
from tasks.transits.reading import read_light_curve
from tasks.transits.rows import candidate_row, masked_row
from tasks.transits.searching import SearchResult, search
from tasks.transits.table import StarFile, star_document
from tasks.transits.targets import Target
from tasks.transits.unsearchable import Unsearchable

ROWS_FOLDER = "stars"
PICTURES_FOLDER = "plots"


@dataclass(frozen=True)
class _Studied:
    """A star with all that was found. ``curve`` is None where it could not be searched."""

    observed: LightCurve | None
    curve: PreparedLightCurve | None
    result: SearchResult
    rows: Sequence[Mapping[str, Any]]


class StarsStage(Stage):
    """Searches one star and measures what it finds.

    The item's inputs are the star's files; its payload is ``{"id", "name", "mission", "segments", "star"}``. Published
    are ``stars/<id>.json``, the star's rows of the table, and ``plots/<id>.png`` where pictures are wanted.
    """

    name: ClassVar[str] = "stars"
    version: ClassVar[int] = 1
    # Measured: 330 MiB for a TESS sector, 420 for four years of Kepler; half of it is numba and what it compiled.
    memory_bytes: ClassVar[int] = 640 * 2**20
    timeout_seconds: ClassVar[float] = 1800.0
    packages: ClassVar[tuple[str, ...]] = ("astropy", "wotan", "transitleastsquares", "numba", "scipy")
    params: TransitParams

    def __init__(self, params: TransitParams) -> None:
        super().__init__(params)
        self._picture: Callable[..., bytes]

    def open(self) -> None:
        """Compile what is compiled, once a machine, and import what draws."""
        compile_once()
        if self.params.plots:
            from tasks.transits.pictures.star import star_picture

            self._picture = star_picture

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Search the star. Raises BadInput where it has no files, or files that hold no light curve of it."""
        if not item.inputs:
            raise BadInput(f"no light curve of {item.payload['name']}: its target has no files")
        paths = [Path(work.input(path)) for path in item.inputs]
        studied = self._study(item.payload, paths)
        document = star_document(studied.rows)
        work.output(f"{ROWS_FOLDER}/{item.id}.json").write_bytes(document)
        detail: dict[str, Any] = {"rows_sha256": hashlib.sha256(document).hexdigest()}
        if self.params.plots and studied.curve is not None:
            detail |= {"picture": self._draw(item, studied, work)}
        return StageResult(values=_values(studied), detail=detail)

    def _study(self, target: Mapping[str, Any], paths: Sequence[Path]) -> _Studied:
        nothing = SearchResult((), None, ())
        observed: LightCurve | None = None
        try:
            star = Star(**target["star"])
            observed = read_light_curve(paths, star, self.params.flux, target["mission"], target["segments"])
            curve = prepare(observed, self.params)
        except Unsearchable as error:
            return _Studied(observed, None, nothing, [masked_row(target, observed, None, error.reason)])
        found = search(curve, self.params)
        rows = [
            candidate_row(target, curve, candidate, measure(curve, candidate, found.candidates), found.candidates)
            for candidate in found.candidates
        ]
        return _Studied(observed, curve, found, rows or [masked_row(target, observed, curve, Reason.NO_CANDIDATE)])

    def _draw(self, item: Item, studied: _Studied, work: Workspace) -> dict[str, Any]:
        assert studied.curve is not None
        path = f"{PICTURES_FOLDER}/{item.id}.png"
        picture = self._picture(
            studied.curve,
            studied.result.candidates,
            studied.rows,
            item.payload["name"],
            periodogram=studied.result.first,
            min_sde=self.params.min_sde,
        )
        work.output(path).write_bytes(picture)
        return asdict(drawn(item.id, path, hashlib.sha256(picture).hexdigest(), studied.rows))


def _values(studied: _Studied) -> dict[str, Value]:
    """Columns of ``items.parquet``."""
    curve, best = studied.curve, studied.rows[0]
    return {
        "points": 0 if curve is None else len(curve.time),
        "baseline_days": None if curve is None else round(curve.baseline_days, 6),
        "noise_ppm": None if curve is None else _noise_ppm(curve),
        "trial_periods": 0 if studied.result.first is None else len(studied.result.first.period_days),
        "single_events": len(studied.result.events),
        "candidates": len(studied.result.candidates),
        "best_period_days": best["period_days"],
        "best_sde": best["sde"],
        "best_flags": best["false_positive_flags"],
    }


def _noise_ppm(curve: PreparedLightCurve) -> float | None:
    """Root of the mean variance of a point."""
    value = 1e6 * math.sqrt(float((curve.noise**2).mean()))
    return value if math.isfinite(value) else None


def star_files(targets: Sequence[Target], details: Mapping[str, Mapping[str, Any]]) -> list[StarFile]:
    """What the stars that are done have published, in the targets' order. ``details``: of their records, by id."""
    return [
        StarFile(
            target.id,
            f"{ROWS_FOLDER}/{target.id}.json",
            details[target.id]["rows_sha256"],
            target.label,
            target.fields,
        )
        for target in targets
        if target.id in details
    ]
