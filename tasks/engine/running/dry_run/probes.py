"""Run a few items of a graph in a scratch folder, with the items that follow from them."""

from __future__ import annotations

import math
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import LANES
from tasks.engine.planning.graph import Done, Graph, Node, Whole
from tasks.engine.planning.plan import PlannedItem, SettledItem
from tasks.engine.planning.rates import MIN_COST, Growth, Samples
from tasks.engine.planning.sizing import RunSize
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.control import forget_signal
from tasks.engine.running.lease import prepare_folders, run_items
from tasks.engine.running.node_run import NodeRun
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.running.scratch import probe_scratch
from tasks.engine.running.slot import Limits, Slot
from tasks.engine.store.files import free_bytes
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Outcome, Record
from tasks.stores.published import fetch_published

_ROOTS = 3
_PROBE_SECONDS = 60.0  # a longer probe is stopped and reported
_ALL_SECONDS = 180.0  # after which no probe starts
_MAX_PROBES = 6  # per stage
_MAX_PARTS = 4  # of a whole that is put together; of larger ones, a few parts are probed
_PROBED_PARTS = 2
_SHARE_OF_FREE = 0.25  # of the scratch disk
_MAX_COPY_BYTES = 256 * 2**20  # of results that probed items read


@dataclass
class StageProbes:
    """The probes of one stage: finished items, failures, and the items that followed from probed ones.

    whole_bytes  disk space that probed wholes said they need, and their ``whole_cost``
    """

    samples: Samples
    growth: Growth
    failures: list[str] = field(default_factory=list)
    whole_bytes: float = 0.0
    whole_cost: float = 0.0


class _Single:
    """Hands out one item to a slot."""

    def __init__(self, planned: PlannedItem) -> None:
        self.outcome: Outcome | None = None
        self._planned: PlannedItem | None = planned

    def take(self) -> PlannedItem | None:
        planned, self._planned = self._planned, None
        return planned

    def settle(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Prober:
    """Drives a scheduler over the same graph, with a few root items, into a scratch folder.

    planned    the scheduler of the run that is predicted: its finished items are copied instead of run again
    in_folder  makes the functions of the graph use another output folder
    """

    def __init__(
        self,
        planned: Scheduler,
        layout: Layout,
        size: RunSize,
        in_folder: Callable[[Path], AbstractContextManager[None]],
    ) -> None:
        self._planned = planned
        self._layout = layout
        self._size = size
        self._in_folder = in_folder
        self._execution = planned.execution
        self._run_of = {run.name: run for run in planned.nodes}
        self._part_of: dict[tuple[str, str], tuple[str, int]] = {}
        self._tried: Counter[str] = Counter()
        self._wholes: dict[str, list[tuple[float, float]]] = {}
        self._samples: dict[str, Samples] = {}
        self._slots: dict[str, Slot] = {}
        self._copied_bytes = 0
        self._run_id = f"probe-{uuid.uuid4().hex[:6]}"
        self.notes: list[str] = []

    def run(self) -> dict[str, StageProbes]:
        """Return the probes of every stage, by its name."""
        chosen = _choose_roots(self._planned)
        failures: dict[str, list[str]] = {}
        with ExitStack() as stack:
            scratch = Layout(stack.enter_context(probe_scratch()) / "output")
            stack.callback(forget_signal, self._run_id)
            stack.callback(self._close)
            stack.enter_context(self._in_folder(scratch.output_dir))
            execution = self._execution.model_copy(
                update={"order": "lightest", "refresh": False, "keep_failed": False, "retries": 0, "max_items": None}
            )
            self._scratch = scratch
            self._scheduler = Scheduler(self._copy_graph(self._planned.graph, chosen), scratch, execution)
            self._scheduler.plan()
            self._drive(failures)
            return {run.name: self._collect(run, failures.get(run.name, [])) for run in self._scheduler.nodes}

    def _collect(self, run: NodeRun, failures: list[str]) -> StageProbes:
        sizes = self._wholes.get(run.name, [])
        probes = StageProbes(self._samples.get(run.name, Samples()), run.growth, failures)
        probes.whole_cost, probes.whole_bytes = sum(cost for cost, _ in sizes), sum(size for _, size in sizes)
        return probes

    # The graph

    def _copy_graph(self, graph: Graph, chosen: dict[str, set[str]]) -> Graph:
        """Return ``graph`` with the chosen root items. Its wholes reserve no disk space: few parts are made."""
        copy, copies = Graph(graph.scratch_bytes), dict[Node, Node]()
        for node in graph.nodes:
            items = [
                self._watch(node, each) for each in node.items if _get_item(each).id in chosen.get(node.name, set())
            ]
            copies[node] = replace(
                node,
                items=items,
                after=copies[node.after] if node.after else None,
                parts=copies[node.parts] if node.parts else None,
                each=self._watch_each(node) if node.each else None,
            )
            copy.nodes.append(copies[node])
        return copy

    def _watch_each(self, node: Node) -> Callable[[Done], Item | Whole]:
        each = node.each
        assert each is not None
        return lambda done: self._watch(node, each(done))

    def _watch(self, node: Node, given: Item | Whole) -> Item | Whole:
        """Note the parts of a whole when they are made."""
        if isinstance(given, Item) or node.parts is None:
            return given
        parts_name, whole_id, make_parts = node.parts.name, given.item.id, given.make_parts
        self._wholes.setdefault(node.name, []).append((given.item.cost, given.parts_bytes))

        def make_and_note() -> Sequence[Item]:
            parts = list(make_parts())
            for part in parts:
                self._part_of[parts_name, part.id] = whole_id, len(parts)
            return parts

        return replace(given, make_parts=make_and_note, parts_bytes=0)

    # The probes

    def _drive(self, failures: dict[str, list[str]]) -> None:
        """Take items until none is left, or until time or disk space are used up."""
        deadline = time.monotonic() + _ALL_SECONDS
        max_bytes = free_bytes(self._scratch.output_dir) * _SHARE_OF_FREE
        while time.monotonic() < deadline and (taken := self._take()):
            if sum(samples.size_bytes for samples in self._samples.values()) > max_bytes:
                self.notes.append("no more items are probed: their outputs fill the scratch disk")
                return
            run, planned = taken
            outcome = self._find_settled(run, planned)
            if outcome is None:
                if self._is_enough(run.name, planned.item.id):
                    continue  # it stays in flight: nothing follows from it
                outcome = self._probe(run, planned)
                if outcome.outcome == "done":
                    cost = max(planned.item.cost, MIN_COST)
                    self._samples.setdefault(run.name, Samples()).add(cost, outcome.usage, outcome.output_bytes)
                if outcome.outcome == "failed":
                    failures.setdefault(run.name, []).append(f"probed {planned.item.title}: {outcome.message}")
            try:
                self._scheduler.settle(outcome)
            except OSError as error:  # a function of the graph that reads the output folder of the run
                self.notes.append(f"nothing that follows from {planned.item.title} is probed: {error}")

    def _take(self) -> tuple[NodeRun, PlannedItem] | None:
        return next((taken for lane in LANES if (taken := self._scheduler.take(lane))), None)

    def _is_enough(self, stage: str, item_id: str) -> bool:
        """Return True if the stage was probed often enough, and no small whole waits for this item."""
        whole, parts = self._part_of.get((stage, item_id), ("", 0))
        if not whole:
            self._tried[stage] += 1
            return self._tried[stage] > _MAX_PROBES
        key = f"{stage}/{whole}"
        self._tried[key] += 1
        return parts > _MAX_PARTS and self._tried[key] > _PROBED_PARTS

    def _find_settled(self, run: NodeRun, planned: PlannedItem) -> Outcome | None:
        """Return the outcome of an item that an earlier run has settled, after copying its outputs; None if it runs."""
        result = self._run_of[run.name].planner.plan(planned.item)
        if not isinstance(result, SettledItem):
            return None
        if result.record is None:
            return result.outcome
        return self._copy(run, result.record)

    def _copy(self, run: NodeRun, record: Record) -> Outcome:
        self._copied_bytes += sum(output.size_bytes for output in record.outputs)
        if self._copied_bytes > _MAX_COPY_BYTES:
            self.notes.append(f"nothing that follows from {record.id} is probed: its outputs are large")
            return Outcome(record.id, run.name, "failed", failure_kind="upstream", message="not copied")
        for output in record.outputs:
            target = self._scratch.output_dir / output.path
            target.parent.mkdir(parents=True, exist_ok=True)
            fetch_published(self._layout.output_dir, output.path)
            shutil.copy2(self._layout.output_dir / output.path, target, follow_symlinks=False)
        run.store.prepare()
        run.store.write(record)
        return Outcome.of_record(record, "done")

    def _probe(self, run: NodeRun, planned: PlannedItem) -> Outcome:
        stage, execution = run.node.stage, self._execution
        limits = Limits(
            min(_PROBE_SECONDS, execution.timeout or stage.timeout_seconds), self._size.limit(stage, execution)
        )
        context = RunContext(self._run_id, self._scratch.output_dir, limits, slots=1, identity=execution.identity)
        order, source = ShardOrder(context, stage, ()), _Single(planned)
        prepare_folders(context, stage.name)
        slot = self._open_slot(run)
        try:
            run_items(order, slot, source)
        except RunError as error:  # the scratch folder cannot be written
            return Outcome(planned.item.id, run.name, "failed", failure_kind="error", message=str(error))
        assert source.outcome is not None
        return source.outcome

    def _open_slot(self, run: NodeRun) -> Slot:
        if run.name not in self._slots:
            log = self._scratch.output_dir.parent / f"{run.name}.log"
            log.touch()
            self._slots[run.name] = Slot(run.node.stage, "probe", log)
        self._slots[run.name].open()
        return self._slots[run.name]

    def _close(self) -> None:
        for slot in self._slots.values():
            slot.close()


def _get_item(given: Item | Whole) -> Item:
    return given.item if isinstance(given, Whole) else given


def _choose_roots(planned: Scheduler) -> dict[str, set[str]]:
    """Return the ids of a few root items that lead to work, by stage; evenly spread over the costs."""
    places = {entry.origin.place for run in planned.nodes for entry in run.list_pending()}
    roots: list[tuple[float, str, str]] = []
    offset, chosen = 0, dict[str, set[str]]()
    for node in planned.graph.nodes:
        items = [_get_item(given) for given in node.items]
        own = [
            (items[place - offset].cost, items[place - offset].id)
            for place in places
            if 0 <= place - offset < len(items)
        ]
        roots = [(cost, node.name, item_id) for cost, item_id in sorted(own)]
        for _, name, item_id in _spread(roots):
            chosen.setdefault(name, set()).add(item_id)
        offset += len(items)
    return chosen


def _spread(roots: list[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Choose a few, evenly spread: the extremes are not representative."""
    count = min(_ROOTS, len(roots))
    return [roots[math.floor((n + 0.5) * len(roots) / count)] for n in range(count)]
