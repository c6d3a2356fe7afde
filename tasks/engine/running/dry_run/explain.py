"""Explain what a run would do with one item, and why."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.execution import Execution
from tasks.engine.planning.graph import Graph
from tasks.engine.running.dry_run.stage_plan import PlanReader
from tasks.engine.running.node_run import Entry, NodeRun
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Outcome


def explain_item(graph: Graph, layout: Layout, execution: Execution, wanted: str) -> list[str]:
    """Return lines about the item with the id or the name ``wanted`` in every stage.

    Raises InvalidInput if there is none.
    """
    scheduler = Scheduler(graph, layout, execution)
    scheduler.plan()
    reader = PlanReader(scheduler, execution)
    pending = {
        (entry.node.name, entry.planned.item.id): entry for run in scheduler.nodes for entry in run.list_pending()
    }
    lines = [
        line
        for run in scheduler.nodes
        for outcome in run.outcomes
        if wanted in (outcome.id, outcome.name)
        for line in _explain(run, outcome, pending.get((run.name, outcome.id)), reader)
    ]
    if lines:
        return [*lines, *_explain_later(scheduler, wanted)]
    allowed = "the ID or the name of an item that exists already; those of later stages are made from finished ones"
    raise InvalidInput([Problem("--explain", repr(wanted), allowed, "see headrace items list, or use --dry-run")])


def _explain(run: NodeRun, outcome: Outcome, entry: Entry | None, reader: PlanReader) -> Iterator[str]:
    title = f"{run.name}: {outcome.title}"
    if entry is None:
        yield f"{title}: {_describe_settled(outcome)}"
        return
    reason = reader.explain(entry)
    yield f"{title}: would run: {reason.text}"
    yield from (f"{title}:   {detail}" for detail in reason.details)
    if entry.whole:
        parts = entry.whole.waiting
        yield f"{title}: parts that must run before: {parts} of {len(entry.whole.part_ids)}"


def _describe_settled(outcome: Outcome) -> str:
    if outcome.outcome == "cached":
        return f"is done (run {outcome.run_id}), and nothing that it depends on has changed"
    if outcome.outcome == "failed":
        return f"would not run: failed before, and kept: {outcome.failure_kind}: {outcome.message}"
    return "would not run: left for a later run by --max-items"


def _explain_later(scheduler: Scheduler, wanted: str) -> Iterator[str]:
    """Yield the stages whose items are not known yet, because they are made from items that must run first."""
    for run in scheduler.nodes:
        after = run.node.after
        ids = {entry.planned.item.id for entry in scheduler.run_of(after).list_pending()} if after else set()
        names = {entry.planned.item.title for entry in scheduler.run_of(after).list_pending()} if after else set()
        if after and wanted in ids | names:
            yield f"{run.name}: known once {after.name} is done"
