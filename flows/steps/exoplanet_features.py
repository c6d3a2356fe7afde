"""The graph of exoplanet-features: light curves from the archive, the search per star, then the table of features."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from prefect.client.schemas.objects import State

from tasks.batch import BatchRun
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Done, Graph
from tasks.engine.store.outcomes import Record
from tasks.transits.params import Source, TransitParams
from tasks.transits.plots.gallery import StarPlot, choose_best_plots
from tasks.transits.sources.items import add_products, make_fetch_items
from tasks.transits.sources.settings import read_settings
from tasks.transits.sources.stage import LightCurvesStage
from tasks.transits.stage import StarsStage, collect_star_files
from tasks.transits.table import FeaturesStage, make_table_items
from tasks.transits.targets import Target, make_star_items


def search_stars(
    run: BatchRun,
    targets: Sequence[Target],
    source: Source,
    params: TransitParams,
    keep_downloads: bool,
    scratch_bytes: int | None,
) -> State[Any]:
    """Search ``targets``, each once its light curves are fetched if they come from the archive, and write the table."""
    target_of = {target.id: target for target in targets}

    def search(fetched: Done) -> Item:
        target_of[fetched.id] = add_products(target_of[fetched.id], fetched.record.detail["products"])
        return make_star_items([target_of[fetched.id]])[0]

    def collect(searched: Iterable[Record]) -> list[Item]:
        details = {record.id: record.detail for record in searched}
        failed = (outcome for node in graph.nodes for outcome in run.get_outcomes(node).failed())
        failures = {outcome.id: f"{outcome.failure_kind}: {outcome.message}" for outcome in failed}
        types = next((target.types for target in targets), {})
        return make_table_items(collect_star_files(list(target_of.values()), details, failures), types)

    graph = Graph(scratch_bytes)
    if source == "mast":
        archive = LightCurvesStage(read_settings(os.environ, run.execution.refresh))
        fetched = graph.node(archive, make_fetch_items(targets), keeps=keep_downloads)
        stars = graph.node(StarsStage(params), after=fetched, each=search)
    else:
        stars = graph.node(StarsStage(params), make_star_items(targets))
    graph.table(FeaturesStage(), after=stars, collect=collect)
    run.execute(graph)
    if run.is_complete(stars):
        pictures = [record.detail["picture"] for record in run.get_records(stars) if "picture" in record.detail]
        names = {target.id: target.name for target in targets}
        run.pictures += choose_best_plots((StarPlot(**picture) for picture in pictures), run.output_dir, names=names)
    return run.finish()
