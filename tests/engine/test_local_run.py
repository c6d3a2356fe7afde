"""Leases of a run in this process."""

from __future__ import annotations

import queue
from pathlib import Path

import pytest

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Done, Graph
from tasks.engine.running import local_run
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.control import forget_signal
from tasks.engine.running.local_run import LocalRun, run_lease, serve_local_run
from tasks.engine.running.node_run import NodeRun
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.store.layout import Layout
from tests.engine.faults import FaultParams, FaultStage
from tests.engine.gathering import GatherStage


def create_run(output_dir: Path, graph: Graph, **options: object) -> LocalRun:
    scheduler = Scheduler(graph, Layout(output_dir), Execution.model_validate(options))
    scheduler.plan()

    def make_order(node: NodeRun) -> ShardOrder:
        context = RunContext("local", output_dir, Limits(60, 1 << 30), slots=1)
        return ShardOrder(context, node.node.stage, ())

    return LocalRun("local", scheduler, {"cpu": 1, "io": 1, "device": 1}, make_order, lease_seconds=60)


def test_run_ends_if_the_items_that_follow_cannot_be_made(tmp_path: Path) -> None:
    """The item was handed out; the run would wait for its outcome forever."""

    def refuse(_: Done) -> Item:
        raise RunError("the record has vanished")

    graph = Graph()
    first = graph.node(FaultStage(FaultParams()), [Item("a")])
    graph.node(GatherStage(), after=first, each=refuse)
    run = create_run(tmp_path, graph)
    try:
        with serve_local_run(run), pytest.raises(RunError, match="the record has vanished"):
            run_lease("local", "cpu")
        run.scheduler.stop()
        assert run.scheduler.is_finished
    finally:
        close_slots("local")
        forget_signal("local")


def test_next_stage_is_imported_once_while_another_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warmed: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(local_run, "warm_template", lambda stage: warmed.put(stage.name))
    graph = Graph()
    first = graph.node(FaultStage(FaultParams()), [Item("a"), Item("b")])
    graph.node(GatherStage(), after=first, each=lambda done: Item(done.id))
    run = create_run(tmp_path, graph)
    run.warm_coming_stages()
    assert warmed.empty(), "nothing runs yet"
    assert run.scheduler.take("cpu")
    run.warm_coming_stages()
    run.warm_coming_stages()
    assert warmed.get(timeout=60) == GatherStage.name
    assert warmed.empty()


def test_failure_that_is_tried_again_is_not_counted(tmp_path: Path) -> None:
    graph = Graph()
    graph.node(FaultStage(FaultParams()), [Item("a", {"do": "segfault"}), Item("b")])
    run = create_run(tmp_path, graph, retries=1, order="manifest")
    try:
        with serve_local_run(run):
            report = run_lease("local", "cpu")
        assert (report.counts.done, report.counts.failed, report.failures) == (1, 0, ())
    finally:
        close_slots("local")
        forget_signal("local")
