"""Search light curves for transits and measure features: ``python flows/exoplanet_features.py --help``."""

from __future__ import annotations

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("flows.exoplanet_features"))

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Bytes, Execution
from tasks.launcher.batch_flow import Steps, batch_flow, pick
from tasks.transits.params import (
    MAX_PERIOD_DAYS,
    MIN_PERIOD_DAYS,
    Detrend,
    FluxColumn,
    Source,
    TlsScope,
    TransitParams,
    find_params_problems,
)

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from tasks.batch import BatchRun


@batch_flow("exoplanet-features", extra="stars")
def exoplanet_features(
    *,
    light_curves: Annotated[Path | None, Field(title="Folder of light curves")] = None,
    targets: Annotated[Path | None, Field(title="Table of targets (CSV, JSON, JSONL or Parquet)")] = None,
    source: Annotated[Source, Field(title="Source of light curves")] = "folder",
    output_dir: Annotated[Path, Field(title="Output folder")],
    id_column: Annotated[str | None, Field(title="Column with the star's name")] = None,
    min_period: Annotated[float, Field(ge=MIN_PERIOD_DAYS, le=MAX_PERIOD_DAYS, title="Minimum period (days)")] = 0.6,
    max_period: Annotated[float | None, Field(gt=0, le=MAX_PERIOD_DAYS, title="Maximum period (days)")] = None,
    max_planets: Annotated[int, Field(ge=1, le=10, title="Maximum candidates per star")] = 3,
    min_sde: Annotated[float, Field(ge=0, title="Minimum signal detection efficiency")] = 10.5,
    min_snr: Annotated[float, Field(ge=0, title="Minimum signal-to-noise ratio")] = 7.1,
    plots: Annotated[bool, Field(title="Plots")] = True,
    run_bls: Annotated[bool, Field(title="Search for boxes (BLS)")] = True,
    run_tls: Annotated[bool, Field(title="Search for transit shapes (TLS)")] = True,
    tls_scope: Annotated[TlsScope, Field(title="Periods of TLS")] = "peaks",
    flux: Annotated[FluxColumn, Field(title="Flux column")] = "pdcsap",
    detrend: Annotated[Detrend, Field(title="Detrending")] = "biweight",
    window_days: Annotated[float, Field(gt=0, le=100, title="Detrending window (days)")] = 1.0,
    keep_downloads: Annotated[bool, Field(title="Keep downloads")] = True,
    scratch: Annotated[Bytes | None, Field(title="Scratch space for downloads (such as 50GiB)")] = None,
    execution: Execution = Execution(),
) -> Steps:
    """Search the light curves of stars for transits and measure 27 features per candidate.

    Args:
        light_curves: Folder of light curves: FITS of Kepler, K2 or TESS (SPOC, QLP), or CSV
        targets: CSV, JSON, JSONL or Parquet with one row per star or candidate (default: every star of the folder)
        id_column: Column of --targets with the star's name (default: recognized, such as target_id, tid or kepid)
        source: Where light curves come from: a folder, or the archive MAST
        output_dir: Folder for features.parquet, bls_tls_features.csv, stars/, plots/, summary.json and report.html
        min_period: Minimum period in days
        max_period: Maximum period in days (default: the light curve's length)
        max_planets: Maximum candidates per star
        min_sde: Minimum signal detection efficiency of a candidate
        min_snr: Minimum signal-to-noise ratio of a candidate, in pink noise
        plots: Draw an image per star
        run_bls: Search for boxes (BLS)
        run_tls: Search for transit shapes (TLS)
        tls_scope: Search for transit shapes around the peaks of the box search, or over all periods
        flux: Flux column of FITS files: corrected for systematics (pdcsap), or as measured (sap)
        detrend: How slow variations are removed
        window_days: Detrending window in days; widened if the longest period needs it
        keep_downloads: Keep light_curves/ of the archive after the search; otherwise a star's files go when it is done
        scratch: Maximum disk space for downloads that wait for their search (default: half of the free space)
        execution: Execution options
    """
    from tasks.engine.contract.manifest import check_priority
    from tasks.transits.columns import COLUMNS
    from tasks.transits.targets import read_targets

    params = TransitParams(**pick(TransitParams.model_fields, locals()))
    notes: list[str] = []
    reserved = {column.name for column in COLUMNS}
    stars, problems = read_targets(targets, light_curves, source, reserved, notes, id_column)
    problems += find_params_problems(run_bls, run_tls, min_period, max_period)
    problems += check_priority(execution, (star.row_fields for star in stars))
    if source == "mast":
        from tasks.transits.sources.settings import find_mast_problems

        problems += find_mast_problems(os.environ)
    if problems:
        raise InvalidInput(problems)

    def steps(run: BatchRun) -> State[Any]:
        from flows.steps.exoplanet_features import search_stars

        run.note(notes)
        return search_stars(run, stars, source, params, keep_downloads, scratch)

    return steps
