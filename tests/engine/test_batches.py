"""Test the size of the batches that a remote cluster gets."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Graph
from tasks.engine.running.batches import Batch, BatchMaker
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Outcome, Usage
from tests.engine.simulation import Clock, create_items, create_stage


class Cluster:
    """A simulated cluster that takes batches and settles their items."""

    def __init__(self, folder: Path, graph: Graph, slots: int = 2, **options: object) -> None:
        execution = Execution.model_validate(options)
        self.clock = Clock()
        self.scheduler = Scheduler(
            graph, Layout(folder), execution, clock=self.clock, random_source=random.Random(7)
        )  # fmt: skip
        self.scheduler.plan()
        self.maker = BatchMaker(self.scheduler, {"cpu": slots}, execution)

    def take(self, count: int) -> list[Batch]:
        """Return the next ``count`` batches, or as many as there are."""
        batches = (self.maker.take() for _ in range(count))
        return [batch for batch in batches if batch is not None]

    def finish(self, batch: Batch, seconds: float = 1.0) -> None:
        """Settle all items of a batch as done."""
        for planned in batch.items:
            usage = Usage(seconds=seconds)
            self.scheduler.settle(Outcome(planned.item.id, batch.node.name, "done", planned.attempts + 1, usage))


def build_graph(costs: Sequence[float]) -> Graph:
    graph = Graph()
    graph.node(create_stage("only"), [Item(f"item-{number:04d}", cost=cost) for number, cost in enumerate(costs)])
    return graph


def list_ids(batch: Batch) -> list[str]:
    return [planned.item.id for planned in batch.items]


@pytest.mark.parametrize(("count", "sizes"), [(1000, [4, 4, 4, 4]), (9, [1, 1, 1, 1])])
def test_first_batches_are_small(tmp_path: Path, count: int, sizes: list[int]) -> None:
    cluster = Cluster(tmp_path, build_graph([1.0] * count))
    assert [len(batch.items) for batch in cluster.take(4)] == sizes


def test_batches_last_about_two_seconds_and_shrink_at_the_end(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, build_graph([1.0] * 2000), shard_seconds=20)
    sizes, flight = [], cluster.take(4)
    while flight:
        batch = flight.pop(0)
        sizes.append(len(batch.items))
        cluster.finish(batch, seconds=0.1)
        flight += cluster.take(1)
    assert sum(sizes) == 2000
    assert max(sizes) == pytest.approx(20, abs=1)
    grown = sizes[4:]
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(grown)), "but for rounding"
    assert grown[-1] <= 10, "at most one second at the end"
    assert cluster.scheduler.is_finished


def test_heavy_item_is_a_separate_batch(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, build_graph([*[1.0] * 40, 500.0]), slots=1, shard_seconds=20, order="manifest")
    batches = []
    while taken := cluster.take(1):
        batches += taken
        for planned in taken[0].items:
            usage = Usage(seconds=planned.item.cost)
            cluster.scheduler.settle(Outcome(planned.item.id, "only", "done", 1, usage))
    assert list_ids(batches[-1]) == ["item-0040"]
    assert sum(len(batch.items) for batch in batches) == 41


def test_batches_of_fixed_size_except_the_last(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, build_graph([1.0] * 10), slots=4, shard_size=3)
    assert [len(batch.items) for batch in cluster.take(10)] == [3, 3, 3, 1]


@pytest.mark.parametrize("costs", [[0.0], [0.0, 5.0], [1e-9], [1e12]])
def test_items_of_any_cost_are_divided_into_batches(tmp_path: Path, costs: list[float]) -> None:
    cluster = Cluster(tmp_path, build_graph([costs[number % len(costs)] for number in range(50)]))
    seen, flight = [], cluster.take(4)
    while flight:
        batch = flight.pop(0)
        seen += list_ids(batch)
        cluster.finish(batch, seconds=0.01)
        flight += cluster.take(4 - len(flight))
    assert sorted(seen) == [f"item-{number:04d}" for number in range(50)]
    assert cluster.scheduler.is_finished


def test_rest_of_a_lost_batch_is_queued_again_without_an_attempt(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, build_graph([1.0] * 4), slots=1, shard_size=4)
    (batch,) = cluster.take(1)
    first, *lost = list_ids(batch)
    cluster.scheduler.settle(Outcome(first, "only", "done", 1))
    cluster.scheduler.put_back("only", list_ids(batch))
    (again,) = cluster.take(1)
    assert list_ids(again) == lost
    assert {planned.attempts for planned in again.items} == {0}


def make_batch(tmp_path: Path) -> Batch:
    (batch,) = Cluster(tmp_path, build_graph([1.0] * 3), slots=1, shard_size=3).take(1)
    batch.submitted_at = 100.0
    return batch


def test_batch_that_has_not_begun_waits_as_a_whole(tmp_path: Path) -> None:
    batch = make_batch(tmp_path)
    assert batch.unstarted_ids == set(list_ids(batch))
    assert (batch.is_silent(104.0, 5.0), batch.is_silent(106.0, 5.0)) == (False, True)
    assert not batch.is_slow(106.0, 2.0), "nothing runs"


def test_items_behind_the_current_one_have_not_started(tmp_path: Path) -> None:
    batch = make_batch(tmp_path)
    first, second, third = list_ids(batch)
    batch.note("worker", "", 110.0)
    assert batch.unstarted_ids == {second, third}, "the first may have started"
    batch.note("worker", second, 111.0)
    assert batch.unstarted_ids == {first, third}, "the first is not settled"
    batch.open_ids.discard(first)
    assert batch.unstarted_ids == {third}


def test_batch_is_slow_if_one_item_runs_long_and_silent_if_its_worker_does_not_report(tmp_path: Path) -> None:
    batch = make_batch(tmp_path)
    first, second, _ = list_ids(batch)
    batch.note("worker", first, 110.0)
    batch.note("worker", first, 112.5)
    assert batch.is_slow(112.5, 2.0)
    assert not batch.is_silent(112.5, 2.0)
    batch.note("worker", second, 113.0)
    assert not batch.is_slow(114.0, 2.0)
    assert batch.is_silent(116.0, 2.0)


def test_each_item_is_given_back_once(tmp_path: Path) -> None:
    batch = make_batch(tmp_path)
    first, second, third = list_ids(batch)
    assert batch.give_back([third, second, "unknown"]) == sorted([second, third])
    assert batch.give_back([third]) == []
    assert batch.open_ids == {first}


def test_item_that_runs_alone_is_a_separate_batch(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, build_graph([1.0] * 3), slots=1, shard_size=3, retries=1)
    (batch,) = cluster.take(1)
    for item_id in list_ids(batch):
        failed = Outcome(item_id, "only", "failed", 1, failure_kind="out_of_memory")
        assert not cluster.scheduler.settle(failed)
    (alone,) = cluster.take(5)
    assert len(alone.items) == 1
    assert alone.items[0].alone


def test_batch_has_items_of_one_stage(tmp_path: Path) -> None:
    """The items of a later stage come first, in a batch of their own."""
    graph = Graph()
    graph.node(create_stage("fetch", "io"), create_items("a"))
    first = graph.node(create_stage("first"), create_items("b", "c"))
    graph.node(create_stage("second"), after=first, split=lambda _: [])
    cluster = Cluster(tmp_path, graph, shard_size=10)
    assert [(batch.node.name, list_ids(batch)) for batch in cluster.take(10)] == [
        ("fetch", ["a"]),
        ("first", ["b", "c"]),
    ]


@pytest.mark.parametrize("shape", [0.0, 1.0])
def test_slots_stay_busy_to_the_end(tmp_path: Path, shape: float) -> None:
    """Each slot has one batch running and one waiting; 3,000 items on 20 slots reach 0.9 of the ideal time."""
    generator = random.Random(3)
    seconds = [generator.lognormvariate(0.0, shape) for _ in range(3000)]
    cluster = Cluster(tmp_path, build_graph(seconds), slots=20, shard_seconds=2)
    durations = {f"item-{number:04d}": value for number, value in enumerate(seconds)}
    free_at = [0.0] * 20
    waiting: list[tuple[float, Batch]] = []
    end = 0.0
    while True:
        for batch in cluster.take(40 - len(waiting)):
            slot = min(range(20), key=free_at.__getitem__)
            free_at[slot] = max(free_at[slot], end) + sum(durations[item_id] for item_id in list_ids(batch))
            waiting.append((free_at[slot], batch))
        if not waiting:
            break
        waiting.sort(key=lambda entry: entry[0])
        end, batch = waiting.pop(0)
        for item_id in list_ids(batch):
            cluster.scheduler.settle(Outcome(item_id, "only", "done", 1, Usage(seconds=durations[item_id])))
    assert cluster.scheduler.is_finished
    assert sum(seconds) / 20 / end >= 0.9
