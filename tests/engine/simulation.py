"""Drive the scheduler of a graph without processes: tests take items, and settle them as slots would."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Lane, Needs
from tasks.engine.planning.graph import Done, Graph
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.running.node_run import NodeRun
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Failure, FailureKind, Outcome, Output, Record, Usage
from tests.engine.faults import FaultParams, FaultStage

MIB = 2**20


class Clock:
    """Clock that only the test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the simulated time in seconds."""
        return self.now


def create_stage(
    stage_name: str, in_lane: Lane = "cpu", max_slots: int | None = None, text: str = "text"
) -> FaultStage:
    """Return a stage with its own name; ``text`` is part of its key and of its results."""

    class NamedStage(FaultStage):
        name = stage_name
        lane = in_lane

        def needs(self) -> Needs:
            return Needs(self.memory_bytes, max_slots)

    return NamedStage(FaultParams(text=text))


def create_items(*ids: str, cost: float = 1.0) -> list[Item]:
    """Return items with equal costs."""
    return [Item(item_id, cost=cost) for item_id in ids]


def follow(done: Done) -> Item:
    """Return the item that follows one to one, with the digests of the outputs that it reads."""
    return Item(done.id, {"from": done.digests}, cost=done.item.cost)


class Simulation:
    """One run of a graph in a folder; several runs may follow each other in the same folder.

    started  ``stage/id`` of every attempt, in order
    settled  outcome of every item, by ``stage/id``
    """

    def __init__(
        self,
        folder: Path,
        graph: Graph,
        *,
        clock: Clock | None = None,
        seed: int = 7,
        memory_bytes: int | None = None,
        **options: object,
    ) -> None:
        self.layout = Layout(folder)
        self.clock = clock or Clock()
        self.started: list[str] = []
        self.settled: dict[str, Outcome] = {}
        self.running: dict[str, tuple[NodeRun, PlannedItem]] = {}
        self.scheduler = Scheduler(
            graph,
            self.layout,
            Execution.model_validate(options),
            memory_bytes=memory_bytes,
            clock=self.clock,
            random_source=random.Random(seed),
        )
        for node in self.scheduler.nodes:
            node.store.prepare()
        self.scheduler.on_settle = self._note
        self.scheduler.plan()

    def _note(self, stage: str, item: Item, outcome: Outcome) -> None:
        key = f"{stage}/{item.id}"
        assert key not in self.settled, f"{key} was settled twice"
        self.settled[key] = outcome

    def take(self, lane: Lane = "cpu", only: str | None = None, prefer: str | None = None) -> str | None:
        """Hand out the next item; return its ``stage/id``."""
        taken = self.scheduler.take(lane, only, prefer)
        if taken is None:
            return None
        key = f"{taken[0].name}/{taken[1].item.id}"
        assert key not in self.running, f"{key} was handed out twice"
        self.started.append(key)
        self.running[key] = taken
        return key

    def take_all(self, lane: Lane = "cpu") -> list[str]:
        """Hand out every item that may run now."""
        return list(iter(lambda: self.take(lane), None))

    def finish(self, key: str, seconds: float = 1.0) -> Outcome:
        """Publish the outputs and the record of a running item, and settle it."""
        outcome = self.write(key, seconds)
        self.settle(key, outcome)
        return outcome

    def write(self, key: str, seconds: float = 1.0) -> Outcome:
        """Publish the outputs and the record of a running item, as a slot does; a kill may follow."""
        node, planned = self.running[key]
        content = json.dumps([node.name, node.node.stage.params.model_dump(), planned.item.payload], sort_keys=True)
        path = self.layout.output_dir / node.name / f"{planned.item.id}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        digest = hashlib.sha256(content.encode()).hexdigest()
        outputs = (Output(f"{node.name}/{planned.item.id}.txt", len(content), digest),)
        usage, attempts = Usage(seconds=seconds), planned.attempts + 1
        record = Record(planned.item.id, node.name, 1, planned.key, outputs, {}, {}, usage, attempts, "run")
        node.store.set_aside(record)
        node.store.write(record)
        node.store.settle(record)
        return Outcome.of_record(record)

    def fail(self, key: str, kind: FailureKind = "bad_input", transient: bool = False) -> bool:
        """Record the failure of a running item, and settle it; return True if it is final."""
        node, planned = self.running[key]
        usage, attempts = Usage(seconds=1.0), planned.attempts + 1
        failure = Failure(planned.item.id, node.name, planned.key, kind, "broken", attempts, usage, "run", transient)
        node.store.write_failure(failure)
        return self.settle(key, Outcome.of_failure(failure))

    def settle(self, key: str, outcome: Outcome) -> bool:
        """Settle a running item."""
        del self.running[key]
        return self.scheduler.settle(outcome)

    def run(self, slots: int = 1, failing: Mapping[str, FailureKind] | None = None) -> list[str]:
        """Run all items, first started first finished; return ``stage/id`` of those started, in order."""
        first, broken = len(self.started), failing or {}
        while not self.scheduler.is_finished:
            self._fill(slots)
            if not self.running:
                if obstacle := self.scheduler.obstacle:
                    raise obstacle
                wait = self.scheduler.wait_seconds()
                assert wait is not None, "nothing runs, and nothing is due"
                self.clock.now += wait
                continue
            key = next(iter(self.running))
            if key in broken:
                self.fail(key, broken[key])
            else:
                self.finish(key)
            self.scheduler.clean_up()
        return self.started[first:]

    def _fill(self, slots: int) -> None:
        lanes: Sequence[Lane] = ("io", "device", "cpu")
        for lane in lanes:
            while len(self.running) < slots and self.take(lane):
                pass

    def end(self) -> None:
        """End the run as the loop does: remove what is used up and what no item has any more."""
        self.scheduler.clean_up()
        self.scheduler.tidy()

    def count(self, outcome: str) -> int:
        """Return the number of items with an outcome, counted as the summary counts them."""
        return sum(each.counted_as == outcome for each in self.settled.values())

    def list_files(self, stage: str) -> list[str]:
        """Return the names of a stage's outputs, without suffix."""
        return sorted(path.stem for path in (self.layout.output_dir / stage).glob("*.txt"))
