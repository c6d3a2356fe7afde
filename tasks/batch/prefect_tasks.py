"""The Prefect tasks of a run: plan, run a lease, summarize."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, StateType
from prefect.context import TaskRunContext
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Completed

from tasks.batch.worker import run_order
from tasks.engine.contract.stage import Lane
from tasks.engine.contract.text import count_noun, markdown, one_line, showable
from tasks.engine.reporting.report import Picture
from tasks.engine.reporting.summary import RunFigures, Summary, list_failures, summarize
from tasks.engine.run import write_results
from tasks.engine.running.context import ShardOrder
from tasks.engine.running.local_run import run_lease
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Counts, Outcome, Outcomes
from tasks.launcher.watch import API_ERRORS

T = TypeVar("T")
_MAX_FAILURES_SHOWN = 500


class Sealed(Generic[T]):
    """Hides a task's parameter from Prefect and Dask, which would search every item of it for futures."""

    def __init__(self, content: T) -> None:
        self.content = content


@dataclass(frozen=True)
class SummaryOrder:
    """The inputs of a run's summary."""

    figures: RunFigures
    outcomes: Outcomes
    layout: Layout
    max_failed: float
    pictures: Sequence[Picture]


@task(name="plan", task_run_name="plan {name}", cache_policy=NO_CACHE, persist_result=False)
def plan(name: str, sealed: Sealed[Scheduler]) -> Any:
    """Plan the items that are known at the beginning; the state is Cached if earlier runs did all of them."""
    sealed.content.plan()
    counts = Counts.of(sealed.content.collect_outcomes())
    message = f"{counts.total - counts.remaining} of {counts.total} items are settled, {counts.remaining} to do"
    if counts.total and not counts.remaining:
        return Completed(name="Cached", message=message)
    return Completed(message=message)


@task(name="lease", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False, retries=0)
def run_local_lease(name: str, run_id: str, lane: Lane) -> Any:
    """Run items in a slot of this process, as the scheduler hands them out."""
    report = run_lease(run_id, lane)
    return _describe_lease(report.stage, report.counts, report.failures, report)


@task(name="lease", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False, retries=0)
def run_remote_lease(name: str, sealed: Sealed[ShardOrder]) -> Any:
    """Run the items of one shard in a slot of this worker."""
    outcomes = run_order(sealed.content)
    failures = tuple(outcomes.failed())
    return _describe_lease(sealed.content.stage.name, Counts.of(outcomes), failures, outcomes)


def _describe_lease(stage: str, counts: Counts, failures: Sequence[Outcome], data: Any) -> State[Any]:
    """Name the lease by its stage and counts, log its failures, and return its state.

    A lease with failed items is amber in the UI, which is the color of the type ``CRASHED``; no other type is amber.
    """
    context = TaskRunContext.get()
    failed = f", {counts.failed} failed" if counts.failed else ""
    text = f"{counts.done} done{failed}"
    if context is not None:
        context.task_run.name = f"{stage}: {text}" if stage else "no item left"
    logger = get_run_logger()
    for outcome in failures:
        log = f"; its output: {outcome.log}" if outcome.log else ""
        logger.warning("%s failed: %s: %s%s", showable(outcome.title), outcome.failure_kind, outcome.message, log)
    if failures:
        return State(type=StateType.CRASHED, name=text, message=text, data=data)
    return Completed(message=text, data=data)


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
