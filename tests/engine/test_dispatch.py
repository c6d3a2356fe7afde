"""Test the size of shards and retries, with a clock that the tests control."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.running.dispatch import Dispatcher, Shard
from tasks.engine.store.outcomes import Failure, FailureKind, Outcome, Record, Usage


class Clock:
    """Clock that only the test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def plan_items(count: int, costs: Sequence[float] = (1.0,)) -> list[PlannedItem]:
    return [
        PlannedItem(Item(f"item-{number:04d}", cost=costs[number % len(costs)]), "key", number)
        for number in range(count)
    ]


def create_done(item: PlannedItem, seconds: float = 1.0) -> Outcome:
    usage = Usage(seconds=seconds)
    record = Record(item.item.id, "stage", 1, "key", (), {}, {}, usage, item.attempts + 1, "run")
    return Outcome.of_record(record)


def create_failed(item: PlannedItem, kind: FailureKind, transient: bool = False) -> Outcome:
    usage = Usage(seconds=1.0)
    failure = Failure(item.item.id, "stage", "key", kind, "", item.attempts + 1, usage, "run", transient)
    return Outcome.of_failure(failure)


def finish_all(shard: Shard, seconds: float = 1.0) -> list[Outcome]:
    return [create_done(item, seconds) for item in shard.items]


def create_dispatcher(
    items: Sequence[PlannedItem], slots: int = 2, clock: Clock | None = None, **options: object
) -> Dispatcher:
    execution = Execution.model_validate(options)
    return Dispatcher(items, slots, execution, clock or Clock(), random.Random(7))


def take_all(dispatcher: Dispatcher) -> list[Shard]:
    """Return every shard that may be in flight now."""
    return list(iter(dispatcher.pop_shard, None))


def list_ids(shards: Sequence[Shard]) -> list[str]:
    return [item.item.id for shard in shards for item in shard.items]


def test_two_shards_per_slot_are_in_flight() -> None:
    dispatcher = create_dispatcher(plan_items(100), slots=3)
    shards = take_all(dispatcher)
    assert len(shards) == 6
    dispatcher.take(shards[0], finish_all(shards[0]))
    assert len(take_all(dispatcher)) == 1


def test_first_shards_are_small() -> None:
    assert [len(shard.items) for shard in take_all(create_dispatcher(plan_items(1000)))] == [4, 4, 4, 4]
    assert [len(shard.items) for shard in take_all(create_dispatcher(plan_items(9)))] == [1, 1, 1, 1]


def test_shards_last_about_shard_seconds_and_shrink_at_the_end() -> None:
    dispatcher = create_dispatcher(plan_items(2000), shard_seconds=20)
    sizes, flight = [], take_all(dispatcher)
    while flight:
        shard = flight.pop(0)
        sizes.append(len(shard.items))
        dispatcher.take(shard, finish_all(shard, seconds=0.1))
        flight += take_all(dispatcher)
    assert sum(sizes) == 2000
    assert max(sizes) == pytest.approx(200, abs=1)
    grown = sizes[4:]
    assert grown == sorted(grown, reverse=True)
    assert grown[-1] <= 10, "at most one second at the end"


def test_heavy_item_is_a_separate_shard() -> None:
    dispatcher = create_dispatcher(
        plan_items(40, costs=[1.0]) + plan_items(1, costs=[500.0]), slots=1, shard_seconds=20
    )
    shards = []
    while shard := dispatcher.pop_shard():
        shards.append(shard)
        dispatcher.take(shard, [create_done(item, item.item.cost) for item in shard.items])
    assert [item.item.cost for item in shards[-1].items] == [500.0]


def test_shards_of_fixed_size_except_the_last() -> None:
    dispatcher = create_dispatcher(plan_items(10), slots=4, shard_size=3)
    assert [len(shard.items) for shard in take_all(dispatcher)] == [3, 3, 3, 1]


@pytest.mark.parametrize("costs", [[0.0], [0.0, 5.0], [1e-9], [1e12]])
def test_items_of_any_cost_are_divided_into_shards(costs: list[float]) -> None:
    dispatcher = create_dispatcher(plan_items(50, costs))
    seen, flight = [], take_all(dispatcher)
    while flight:
        shard = flight.pop(0)
        seen += list_ids([shard])
        dispatcher.take(shard, finish_all(shard, seconds=0.01))
        flight += take_all(dispatcher)
    assert sorted(seen) == sorted(item.item.id for item in plan_items(50))
    assert dispatcher.finished


def test_span_counts_manifest_places_from_one() -> None:
    items = plan_items(200)
    assert Shard(tuple(items[120:160])).span == "0121-0160"
    assert Shard((items[160], items[120])).span == "0121-0161"
    assert Shard((items[6],)).span == "0007"


@pytest.mark.parametrize(
    ("kind", "transient", "again"),
    [
        ("crash", False, True),
        ("timeout", False, True),
        ("out_of_memory", False, True),
        ("error", True, True),
        ("error", False, False),
        ("bad_input", False, False),
    ],
)
def test_transient_failures_are_retried(kind: FailureKind, transient: bool, again: bool) -> None:
    clock = Clock()
    dispatcher = create_dispatcher(plan_items(1), clock=clock, retries=1)
    (first,) = take_all(dispatcher)
    settled = dispatcher.take(first, [create_failed(first.items[0], kind, transient)])
    assert bool(settled) is not again
    assert dispatcher.finished is not again
    if again:
        clock.now += 100
        (second,) = take_all(dispatcher)
        assert second.items[0].attempts == 1
        (last,) = dispatcher.take(second, [create_failed(second.items[0], kind, transient)])
        assert last.failure_kind is not None
        assert last.attempts == 2
        assert dispatcher.finished


def test_retry_wait_is_randomized_around_its_base() -> None:
    waits = []
    for seed in range(50):
        dispatcher = Dispatcher(plan_items(1), 1, Execution(retries=20), Clock(), random.Random(seed))
        shard = dispatcher.pop_shard()
        assert shard is not None
        dispatcher.take(shard, [create_failed(shard.items[0], "timeout")])
        waits.append(dispatcher.get_wait_seconds())
    assert all(wait is not None and 0.5 <= wait <= 1.5 for wait in waits)
    assert len(set(waits)) == 50


def test_retry_wait_doubles_up_to_a_minute() -> None:
    clock = Clock()
    dispatcher = create_dispatcher(plan_items(1), slots=1, clock=clock, retries=20)
    for earlier in range(12):
        shard = dispatcher.pop_shard()
        assert shard is not None
        dispatcher.take(shard, [create_failed(shard.items[0], "timeout")])
        wait = dispatcher.get_wait_seconds()
        assert wait is not None
        base = min(60.0, 2.0**earlier)
        assert 0.5 * base <= wait <= 1.5 * base
        assert dispatcher.pop_shard() is None, "not before the wait is over"
        clock.now += wait


def test_no_wait_for_a_retry_while_the_window_is_full() -> None:
    clock = Clock()
    dispatcher = create_dispatcher(plan_items(10), slots=1, clock=clock, retries=1, shard_size=1)
    first, _ = take_all(dispatcher)
    dispatcher.take(first, [create_failed(first.items[0], "crash")])
    assert dispatcher.get_wait_seconds() is not None
    assert len(take_all(dispatcher)) == 1
    clock.now += 100
    assert dispatcher.get_wait_seconds() is None, "the window is full: a loop that waited 0 s would burn a core"
    dispatcher.stop()
    assert dispatcher.get_wait_seconds() is None


def test_out_of_memory_item_is_retried_alone_at_the_end() -> None:
    clock = Clock()
    dispatcher = create_dispatcher(plan_items(3), slots=3, clock=clock, retries=1, shard_size=1)
    hungry, crashed, good = take_all(dispatcher)
    dispatcher.take(hungry, [create_failed(hungry.items[0], "out_of_memory")])
    dispatcher.take(crashed, [create_failed(crashed.items[0], "crash")])
    assert dispatcher.pop_shard() is None
    dispatcher.take(good, finish_all(good))
    assert dispatcher.pop_shard() is None, "the crashed item comes first"
    clock.now += 100
    (again,) = take_all(dispatcher)
    assert not again.alone
    dispatcher.take(again, finish_all(again))
    (alone,) = take_all(dispatcher)
    assert alone.alone
    assert list_ids([alone]) == list_ids([hungry])
    dispatcher.take(alone, finish_all(alone))
    assert dispatcher.finished


def test_unfinished_items_of_a_shard_are_queued_again_without_an_attempt() -> None:
    dispatcher = create_dispatcher(plan_items(4), slots=1, shard_size=4)
    shard = dispatcher.pop_shard()
    assert shard is not None
    first, second, *_ = shard.items
    settled = dispatcher.take(shard, [create_done(first), Outcome(second.item.id, "stage", "remaining")])
    assert [outcome.id for outcome in settled] == [first.item.id]
    again = dispatcher.pop_shard()
    assert again is not None
    assert sorted(list_ids([again])) == sorted(item.item.id for item in shard.items[1:])
    assert {item.attempts for item in again.items} == {0}


def test_stopped_dispatcher_hands_out_no_shard() -> None:
    dispatcher = create_dispatcher(plan_items(10), slots=1, shard_size=1, retries=5)
    first, second = take_all(dispatcher)
    dispatcher.stop()
    assert dispatcher.pop_shard() is None
    assert not dispatcher.finished, "two shards are still in flight"
    assert dispatcher.take(first, [create_failed(first.items[0], "crash")]), "the failure is final: no retry follows"
    dispatcher.take(second, [])
    assert dispatcher.finished


@pytest.mark.parametrize("seed", range(20))
def test_every_item_is_handed_out_until_settled(seed: int) -> None:
    """With random outcomes and lost shards, no item is lost, none is in two shards, and attempts are counted."""
    generator, clock = random.Random(seed), Clock()
    items = plan_items(generator.randrange(1, 300), [generator.choice([0.0, 0.1, 1.0, 50.0]) for _ in range(7)])
    retries = generator.randrange(4)
    size = generator.choice([None, None, 1, 7])
    dispatcher = create_dispatcher(items, generator.randrange(1, 6), clock, retries=retries, shard_size=size)
    tried, settled, flight = Counter[str](), Counter[str](), []
    while not dispatcher.finished:
        flight += take_all(dispatcher)
        assert len(set(list_ids(flight))) == len(list_ids(flight))
        assert sum(shard.alone for shard in flight) in (0, len(flight))
        if not flight:
            wait = dispatcher.get_wait_seconds()
            assert wait is not None
            clock.now += wait
            continue
        shard = flight.pop(generator.randrange(len(flight)))
        outcomes = [
            _choose_outcome(generator, item) for item in shard.items[: generator.randrange(len(shard.items) + 1)]
        ]
        tried.update(outcome.id for outcome in outcomes)
        settled.update(outcome.id for outcome in dispatcher.take(shard, outcomes))
    assert settled == Counter(item.item.id for item in items)
    assert max(tried.values()) <= retries + 1


def _choose_outcome(generator: random.Random, item: PlannedItem) -> Outcome:
    kinds: list[FailureKind] = ["bad_input", "timeout", "crash", "out_of_memory", "error"]
    if generator.random() < 0.6:
        return create_done(item, generator.random())
    return create_failed(item, generator.choice(kinds), generator.random() < 0.3)
