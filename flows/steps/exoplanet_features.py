"""Stages of exoplanet-features: light curves from the archive, the search per star, then the table of features."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from prefect.client.schemas.objects import State

from tasks.batch import BatchRun
from tasks.transits.params import Source, TransitParams
from tasks.transits.plots.gallery import StarPlot, choose_best_plots
from tasks.transits.sources.items import add_files, make_fetch_items
from tasks.transits.sources.settings import read_settings
from tasks.transits.sources.stage import LightCurvesStage
from tasks.transits.stage import StarsStage, collect_star_files
from tasks.transits.table import FeaturesStage, make_table_items
from tasks.transits.targets import Target, make_star_items


def search_stars(run: BatchRun, targets: Sequence[Target], source: Source, params: TransitParams) -> State[Any]:
    """Search ``targets``, after fetching their light curves if they come from the archive, and write the table."""
    if source == "mast":
        settings = read_settings(os.environ, run.execution.refresh)
        fetched = run.stage(LightCurvesStage(settings), make_fetch_items(targets))
        if not fetched.complete:
            return run.finish()
        targets = add_files(targets, {record.id: record.detail for record in fetched.records()}, run.output_dir)
    stars = run.stage(StarsStage(params), make_star_items(targets))
    if stars.complete:
        details = {record.id: record.detail for record in stars.records()}
        run.stage(FeaturesStage(), make_table_items(collect_star_files(targets, details)), prune=True)
        pictures = (detail["picture"] for detail in details.values() if "picture" in detail)
        names = {target.id: target.name for target in targets}
        run.pictures += choose_best_plots((StarPlot(**picture) for picture in pictures), run.output_dir, names=names)
    return run.finish()
