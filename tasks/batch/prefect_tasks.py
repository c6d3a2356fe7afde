"""The Prefect tasks of a run: plan, run a lease, summarize."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext, TaskRunContext
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Completed

from tasks.batch.artifacts import FinishedRun, create_artifacts
from tasks.batch.worker import run_order
from tasks.engine.contract.stage import Lane
from tasks.engine.contract.text import one_line, showable
from tasks.engine.reporting.report import Picture
from tasks.engine.reporting.summary import RETRY, RunFigures, Summary, list_failures, summarize
from tasks.engine.run import write_results
from tasks.engine.running.context import ShardOrder
from tasks.engine.running.local_run import run_lease
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Counts, Outcome, Outcomes
from tasks.launcher.watch import API_ERRORS

T = TypeVar("T")


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
    keeps_failed: bool = False


@task(name="plan", task_run_name="plan {name}", cache_policy=NO_CACHE, persist_result=False)
def plan(name: str, sealed: Sealed[Scheduler]) -> Any:
    """Plan the items that are known at the beginning; the state is Cached if earlier runs did all of them."""
    sealed.content.plan()
    counts = sealed.content.count_outcomes()
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
            rerun = explain_rerun(summary, order.keeps_failed)
            create_artifacts(FinishedRun(summary, list_failures(order.outcomes), order.layout, rerun))
    except API_ERRORS as error:  # the files are written
        get_run_logger().warning("no artifacts of this run: %s", one_line(str(error)))
    return summary


def explain_rerun(summary: Summary, keeps_failed: bool) -> str:
    """Return a sentence on how to run only the items that are not done; empty if there are none.

    Prefect's UI can retry a run of a deployment, and no other.
    """
    kinds = ["failed"] if (summary.items["failed"] or summary.items["upstream"]) and not keeps_failed else []
    kinds += ["remaining"] if summary.items["remaining"] else []
    if not kinds:
        return ""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    means = RETRY if run is not None and run.deployment_id else "The same command"
    return f"{means} runs only the {' and '.join(kinds)} items."
