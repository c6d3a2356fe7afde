"""Transit candidates of stars, and their features: ``python flows/exoplanet_features.py --help``."""

if __name__ == "__main__":  # before the imports below: the local Prefect API starts while Prefect is imported
    from tasks.launcher.command import main

    raise SystemExit(main("flows.exoplanet_features"))

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from tasks.batch import batch_run
from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.manifest import check_priority
from tasks.transits.columns import COLUMNS
from tasks.transits.params import (
    MAX_PERIOD_DAYS,
    MIN_PERIOD_DAYS,
    Detrend,
    FluxColumn,
    TlsScope,
    TransitParams,
    params_problems,
)
from tasks.transits.pictures.gallery import Drawn, best_pictures
from tasks.transits.sources.items import fetch_items, with_files
from tasks.transits.sources.settings import mast_problems, settings_from
from tasks.transits.sources.stage import LightCurvesStage
from tasks.transits.stage import StarsStage, star_files
from tasks.transits.table import FeaturesStage, table_items
from tasks.transits.targets import Source, Target, read_targets, star_items


@dataclass(frozen=True)
class Inputs:
    """The stars, and what the user should know of the input."""

    targets: list[Target]
    notes: list[str]


def read_inputs(
    targets: Path | None = None,
    light_curves: Path | None = None,
    source: Source = "folder",
    run_bls: bool = True,
    run_tls: bool = True,
    min_period: float = 0.6,
    max_period: float | None = None,
    execution: Execution = Execution(),
) -> Inputs:
    """Read and check what the flow works on. Raises InvalidInput with everything that is wrong."""
    notes: list[str] = []
    found, problems = read_targets(targets, light_curves, source, {column.name for column in COLUMNS}, notes)
    problems += params_problems(run_bls, run_tls, min_period, max_period)
    problems += check_priority(execution, (target.fields for target in found))
    if source == "mast":
        problems += mast_problems(os.environ)
    if problems:
        raise InvalidInput(problems)
    return Inputs(found, notes)


@flow(name="exoplanet-features", flow_run_name="exoplanet-features {output_dir}", persist_result=False)
def exoplanet_features(
    output_dir: Path,
    targets: Path | None = None,
    source: Source = "folder",
    light_curves: Path | None = None,
    flux: FluxColumn = "pdcsap",
    detrend: Detrend = "biweight",
    window_days: Annotated[float, Field(gt=0, le=100)] = 1.0,
    run_bls: bool = True,
    run_tls: bool = True,
    tls_scope: TlsScope = "peaks",
    min_period: Annotated[float, Field(ge=MIN_PERIOD_DAYS, le=MAX_PERIOD_DAYS)] = 0.6,
    max_period: Annotated[float | None, Field(gt=0, le=MAX_PERIOD_DAYS)] = None,
    max_planets: Annotated[int, Field(ge=1, le=10)] = 3,
    min_sde: Annotated[float, Field(ge=0)] = 10.5,
    min_snr: Annotated[float, Field(ge=0)] = 7.1,
    plots: bool = True,
    execution: Execution = Execution(),
) -> State[Any]:
    """Search the light curves of stars for transits, and measure 27 features of each candidate.

    Args:
        output_dir: Folder for features.parquet, bls_tls_features.csv, stars/, plots/, summary.json and report.html
        targets: CSV, JSON, JSONL or Parquet with target_id; without it, every star of the folder
        source: Where light curves come from: a folder, or the archive MAST
        light_curves: Folder of light curves: FITS of Kepler, K2, TESS (SPOC, QLP), or CSV
        flux: Which flux of the missions' files: corrected for systematics (pdcsap), or as measured (sap)
        detrend: How slow variations are removed
        window_days: Window of the detrending, in days; widened where the longest period needs it
        run_bls: Search boxes (BLS)
        run_tls: Search transit shapes (TLS)
        tls_scope: Transit shapes on the peaks of the box search, or over all periods
        min_period: Shortest period, in days
        max_period: Longest period, in days; by default the light curve's length
        max_planets: Candidates a star, at most
        min_sde: Signal detection efficiency from which a peak is a candidate
        min_snr: Signal-to-noise in pink noise from which a peak is a candidate
        plots: Draw a picture of each star
        execution: How the run is carried out
    """
    parameters = dict(locals())
    inputs = read_inputs(targets, light_curves, source, run_bls, run_tls, min_period, max_period, execution)
    params = TransitParams(**{name: parameters[name] for name in TransitParams.model_fields})
    with batch_run("exoplanet-features", output_dir, execution, parameters) as run:
        run.note(inputs.notes)
        found = inputs.targets
        if source == "mast":
            fetched = run.stage(LightCurvesStage(settings_from(os.environ, execution.refresh)), fetch_items(found))
            if not fetched.complete:
                return run.finish()
            found = with_files(found, {record.id: record.detail for record in fetched.records()}, output_dir)
        stars = run.stage(StarsStage(params), star_items(found))
        if stars.complete:
            details = {record.id: record.detail for record in stars.records()}
            run.stage(FeaturesStage(), table_items(star_files(found, details)), prune=True)
            pictures = (detail["picture"] for detail in details.values() if "picture" in detail)
            names = {target.id: target.name for target in found}
            run.pictures += best_pictures((Drawn(**picture) for picture in pictures), output_dir, names=names)
        return run.finish()
