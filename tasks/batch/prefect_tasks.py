"""The Prefect tasks of a run: plan a stage, run a shard, summarize."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Completed

from tasks.batch.worker import run_order
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage
from tasks.engine.contract.text import count_noun, markdown, one_line
from tasks.engine.planning.plan import plan_stage
from tasks.engine.reporting.report import Picture
from tasks.engine.reporting.summary import RunFigures, Summary, list_failures, summarize
from tasks.engine.run import write_results
from tasks.engine.running.context import ShardOrder
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Outcomes
from tasks.engine.store.records import RecordStore
from tasks.launcher.watch import API_ERRORS

T = TypeVar("T")
_MAX_FAILURES_SHOWN = 500


class Sealed(Generic[T]):
    """Hides a task's parameter from Prefect and Dask, which would search every item of it for futures."""

    def __init__(self, content: T) -> None:
        self.content = content


@dataclass(frozen=True)
class PlanOrder:
    """The inputs of a stage's plan."""

    stage: Stage
    items: Sequence[Item]
    store: RecordStore
    execution: Execution


@dataclass(frozen=True)
class SummaryOrder:
    """The inputs of a run's summary."""

    figures: RunFigures
    outcomes: Outcomes
    layout: Layout
    max_failed: float
    pictures: Sequence[Picture]


@task(name="plan", task_run_name="plan {name}", cache_policy=NO_CACHE, persist_result=False)
def plan(name: str, sealed: Sealed[PlanOrder]) -> Any:
    """Plan one stage; its state is Cached if earlier runs did every item."""
    order = sealed.content
    planned = plan_stage(order.stage, order.items, order.store, order.execution)
    message = f"{len(planned.settled)} of {planned.total} {name} items are settled, {len(planned.todo)} to do"
    if planned.total and not planned.todo and not planned.left:
        return Completed(name="Cached", message=message, data=planned)
    return Completed(message=message, data=planned)


@task(name="run shard", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False, retries=0)
def run_shard(name: str, sealed: Sealed[ShardOrder]) -> Outcomes:
    """Run one shard in a slot of this worker."""
    return run_order(sealed.content)


@task(name="summarize", task_run_name="summarize {name}", cache_policy=NO_CACHE, persist_result=False)
def summarize_run(name: str, sealed: Sealed[SummaryOrder]) -> Summary:
    """Write the run's files and its Prefect artifacts."""
    order = sealed.content
    summary = summarize(order.figures, order.outcomes, order.max_failed)
    write_results(order.layout, summary, order.outcomes, list(order.pictures))
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 1}):  # the default retries for a minute
            _create_artifacts(summary, list_failures(order.outcomes), order.layout)
    except API_ERRORS as error:  # the files are written
        get_run_logger().warning("no artifacts of this run: %s", one_line(str(error)))
    return summary


def artifact_key(flow: str, word: str) -> str:
    """Return Prefect's key for an artifact of a flow: lower-case letters, digits and ``-``."""
    return re.sub(r"[^a-z0-9]+", "-", f"{flow}-{word}".lower())


def _create_artifacts(summary: Summary, failures: list[dict[str, Any]], layout: Layout) -> None:
    if failures:
        create_table_artifact(
            [_format_cells(row) for row in failures[:_MAX_FAILURES_SHOWN]],
            key=artifact_key(summary.flow, "failures"),
            description=f"{len(failures)} failed items",
        )
    text = _format_summary(summary, layout)
    create_markdown_artifact(text, key=artifact_key(summary.flow, "summary"), description=markdown(summary.message))


def _format_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the failures with its texts as Markdown: Prefect renders the cells of a table as Markdown."""
    return {column: markdown(value) if isinstance(value, str) else value for column, value in row.items()}


def _format_summary(summary: Summary, layout: Layout) -> str:
    counts = "\n".join(f"| {name} | {number} |" for name, number in summary.items.items())
    return (
        f"**{markdown(summary.message)}**\n\n| items | |\n| --- | --- |\n{counts}\n\n"
        f"{summary.wall_seconds:.1f} s on {count_noun(summary.slots, 'slot')}, {summary.items_per_second:g} items/s, "
        f"{summary.speedup:g} times as fast as sequential execution.\n\nOutput: {markdown(str(layout.output_dir))}\n"
    )
