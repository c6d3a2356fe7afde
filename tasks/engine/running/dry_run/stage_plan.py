"""Read the plan of a run: per stage, how many items are done, how many must run, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tasks.engine.contract.execution import Execution
from tasks.engine.planning.reasons import NEW, Explainer, Reason
from tasks.engine.running.node_run import Entry, NodeRun
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.store.outcomes import Counts

_MAX_EXAMPLES = 3
PART = Reason("its whole runs again")


@dataclass
class StagePlan:
    """The plan of one stage.

    counts       items that earlier runs have settled
    todo         items that must run, with the sum and the maximum of their ``cost``
    whole_bytes  disk space of wholes that say how much they need
    part_bytes   disk space of their missing parts, which exist at the same time
    reasons      number of items by reason, and a few titles as ``examples``
    """

    run: NodeRun
    counts: Counts
    todo: int = 0
    cost: float = 0.0
    max_cost: float = 0.0
    whole_bytes: float = 0.0
    part_bytes: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """The number of all items that exist."""
        return self.counts.total

    def add(self, entry: Entry, reason: Reason) -> None:
        """Add an item that must run."""
        self.todo += 1
        self.cost += entry.cost
        self.max_cost = max(self.max_cost, entry.cost)
        self.reasons[reason.text] += 1
        examples = self.examples.setdefault(reason.text, [])
        if len(examples) < _MAX_EXAMPLES:
            examples.append(entry.planned.item.title)


class PlanReader:
    """Reads the plan of a scheduler that has planned and handed out nothing."""

    def __init__(self, scheduler: Scheduler, execution: Execution) -> None:
        self._scheduler = scheduler
        self._explainers = {node.name: Explainer(node.node.stage, node.store, execution) for node in scheduler.nodes}

    def read(self) -> dict[str, StagePlan]:
        """Return the plan of every stage, by its name."""
        plans = {run.name: StagePlan(run, Counts.of(run.outcomes)) for run in self._scheduler.nodes}
        for run in self._scheduler.nodes:
            for entry in run.list_pending():
                plans[entry.node.name].add(entry, self.explain(entry))
                if entry.whole:
                    plans[entry.node.name].whole_bytes += entry.whole.parts_bytes
                    plans[entry.node.name].part_bytes += entry.whole.missing_bytes
        return plans

    def explain(self, entry: Entry) -> Reason:
        """Return why an item must run."""
        reason = self._explainers[entry.node.name].explain(entry.planned)
        if reason == NEW and entry.part_of and entry.part_of.entry is not entry:
            whole = entry.part_of.entry
            if self._explainers[whole.node.name].explain(whole.planned) != NEW:
                return PART
        return reason
