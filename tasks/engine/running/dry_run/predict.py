"""Predict the run of a graph: what would run and why, and the time, memory and disk space that it needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tasks.engine.contract.execution import Execution
from tasks.engine.planning.graph import Graph
from tasks.engine.planning.rates import add_rates, describe_stage, find_rates_file, read_rates
from tasks.engine.planning.sizing import RunSize, read_host, size_run
from tasks.engine.running.dry_run.forecast import Forecast, make_forecast
from tasks.engine.running.dry_run.lines import describe_all
from tasks.engine.running.dry_run.probes import Prober, StageProbes
from tasks.engine.running.dry_run.stage_plan import PlanReader
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.store.files import free_bytes
from tasks.engine.store.layout import Layout


def predict_run(
    graph: Graph,
    layout: Layout,
    execution: Execution,
    in_folder: Callable[[Path], AbstractContextManager[None]],
) -> Iterator[str]:
    """Yield lines about every stage and about the run. Writes nothing to the output folder.

    ``in_folder`` makes the functions of the graph use another output folder.
    """
    predicted = forecast_run(graph, layout, execution, in_folder)
    if predicted.probes:
        yield predicted.size.reason
    yield from describe_all(predicted.forecast, predicted.probes, predicted.notes, predicted.free_bytes)


@dataclass(frozen=True)
class Predicted:
    """The forecast of a run, and what it was made from. ``probes`` is empty if nothing is to be done."""

    forecast: Forecast
    probes: Mapping[str, StageProbes]
    notes: Sequence[str]
    size: RunSize
    free_bytes: int


def forecast_run(
    graph: Graph,
    layout: Layout,
    execution: Execution,
    in_folder: Callable[[Path], AbstractContextManager[None]],
) -> Predicted:
    """Plan a run, try a few items of it in a scratch folder, and estimate the rest."""
    scheduler = Scheduler(graph, layout, execution)
    scheduler.plan()
    plans = PlanReader(scheduler, execution).read()
    todo = sum(plan.todo for plan in plans.values())
    size = size_run([node.stage for node in graph.nodes], None if graph.multiplies else todo, execution, read_host())
    prober = Prober(scheduler, layout, size, in_folder)
    probes = prober.run() if todo else {}
    free = free_bytes(layout.output_dir)
    recorded = read_rates(find_rates_file(os.environ))
    forecast = make_forecast(plans, probes, recorded, size, graph.scratch_bytes, free)
    return Predicted(forecast, probes, prober.notes, size, free)


def record_rates(scheduler: Scheduler) -> None:
    """Keep what this run measured, for the predictions of later runs."""
    measured = [describe_stage(run.node.stage, run.samples, run.growth) for run in scheduler.nodes]
    add_rates(find_rates_file(os.environ), [each for each in measured if each])
