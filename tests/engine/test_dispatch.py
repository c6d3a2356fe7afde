"""Cutting shards and trying again, on a clock that the tests turn."""

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
    """Stands still unless told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def planned(count: int, costs: Sequence[float] = (1.0,)) -> list[PlannedItem]:
    return [
        PlannedItem(Item(f"item-{number:04d}", cost=costs[number % len(costs)]), "key", number)
        for number in range(count)
    ]


def done(item: PlannedItem, seconds: float = 1.0) -> Outcome:
    usage = Usage(seconds=seconds)
    record = Record(item.item.id, "stage", 1, "key", (), {}, {}, usage, item.attempts + 1, "run")
    return Outcome.of_record(record)


def failed(item: PlannedItem, kind: FailureKind, transient: bool = False) -> Outcome:
    usage = Usage(seconds=1.0)
    failure = Failure(item.item.id, "stage", "key", kind, "", item.attempts + 1, usage, "run", transient)
    return Outcome.of_failure(failure)


def all_done(shard: Shard, seconds: float = 1.0) -> list[Outcome]:
    return [done(item, seconds) for item in shard.items]


def dispatcher(
    items: Sequence[PlannedItem], slots: int = 2, clock: Clock | None = None, **options: object
) -> Dispatcher:
    execution = Execution.model_validate(options)
    return Dispatcher(items, slots, execution, clock or Clock(), random.Random(7))


def take_all(found: Dispatcher) -> list[Shard]:
    """Every shard that may be in flight now."""
    return list(iter(found.pop_shard, None))


def ids(shards: Sequence[Shard]) -> list[str]:
    return [item.item.id for shard in shards for item in shard.items]


def test_the_window_holds_two_shards_a_slot() -> None:
    found = dispatcher(planned(100), slots=3)
    shards = take_all(found)
    assert len(shards) == 6
    found.take(shards[0], all_done(shards[0]))
    assert len(take_all(found)) == 1


def test_the_first_shards_are_small_whatever_the_items_take() -> None:
    assert [len(shard.items) for shard in take_all(dispatcher(planned(1000)))] == [4, 4, 4, 4]
    assert [len(shard.items) for shard in take_all(dispatcher(planned(9)))] == [1, 1, 1, 1]


def test_shards_take_about_their_seconds_and_shrink_towards_the_end() -> None:
    found = dispatcher(planned(2000), shard_seconds=20)
    sizes, flight = [], take_all(found)
    while flight:
        shard = flight.pop(0)
        sizes.append(len(shard.items))
        found.take(shard, all_done(shard, seconds=0.1))
        flight += take_all(found)
    assert sum(sizes) == 2000
    assert max(sizes) == pytest.approx(200, abs=1)
    grown = sizes[4:]
    assert grown == sorted(grown, reverse=True)
    assert grown[-1] <= 10, "a second at most at the end"


def test_a_heavy_item_is_a_shard_of_its_own() -> None:
    found = dispatcher(planned(40, costs=[1.0]) + planned(1, costs=[500.0]), slots=1, shard_seconds=20)
    shards = []
    while shard := found.pop_shard():
        shards.append(shard)
        found.take(shard, [done(item, item.item.cost) for item in shard.items])
    assert [item.item.cost for item in shards[-1].items] == [500.0]


def test_a_fixed_size_is_kept_but_for_the_rest() -> None:
    found = dispatcher(planned(10), slots=4, shard_size=3)
    assert [len(shard.items) for shard in take_all(found)] == [3, 3, 3, 1]


@pytest.mark.parametrize("costs", [[0.0], [0.0, 5.0], [1e-9], [1e12]])
def test_costs_of_any_size_are_cut(costs: list[float]) -> None:
    found = dispatcher(planned(50, costs))
    seen, flight = [], take_all(found)
    while flight:
        shard = flight.pop(0)
        seen += ids([shard])
        found.take(shard, all_done(shard, seconds=0.01))
        flight += take_all(found)
    assert sorted(seen) == sorted(item.item.id for item in planned(50))
    assert found.finished


def test_a_span_names_places_in_the_manifest_from_one() -> None:
    items = planned(200)
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
def test_what_may_pass_is_tried_again(kind: FailureKind, transient: bool, again: bool) -> None:
    clock = Clock()
    found = dispatcher(planned(1), clock=clock, retries=1)
    (first,) = take_all(found)
    settled = found.take(first, [failed(first.items[0], kind, transient)])
    assert bool(settled) is not again
    assert found.finished is not again
    if again:
        clock.now += 100
        (second,) = take_all(found)
        assert second.items[0].attempts == 1
        (last,) = found.take(second, [failed(second.items[0], kind, transient)])
        assert last.failure_kind is not None
        assert last.attempts == 2
        assert found.finished


def test_the_wait_for_a_retry_is_between_half_and_one_and_a_half_of_its_base() -> None:
    waits = []
    for seed in range(50):
        found = Dispatcher(planned(1), 1, Execution(retries=20), Clock(), random.Random(seed))
        shard = found.pop_shard()
        assert shard is not None
        found.take(shard, [failed(shard.items[0], "timeout")])
        waits.append(found.get_wait_seconds())
    assert all(wait is not None and 0.5 <= wait <= 1.5 for wait in waits)
    assert len(set(waits)) == 50


def test_waits_double_up_to_a_minute() -> None:
    clock = Clock()
    found = dispatcher(planned(1), slots=1, clock=clock, retries=20)
    for earlier in range(12):
        shard = found.pop_shard()
        assert shard is not None
        found.take(shard, [failed(shard.items[0], "timeout")])
        wait = found.get_wait_seconds()
        assert wait is not None
        base = min(60.0, 2.0**earlier)
        assert 0.5 * base <= wait <= 1.5 * base
        assert found.pop_shard() is None, "not before its time"
        clock.now += wait


def test_nobody_waits_for_a_retry_that_has_no_place() -> None:
    clock = Clock()
    found = dispatcher(planned(10), slots=1, clock=clock, retries=1, shard_size=1)
    first, _ = take_all(found)
    found.take(first, [failed(first.items[0], "crash")])
    assert found.get_wait_seconds() is not None
    assert len(take_all(found)) == 1
    clock.now += 100
    assert found.get_wait_seconds() is None, "the window is full: a loop that waited 0 s would burn a core"
    found.stop()
    assert found.get_wait_seconds() is None


def test_an_item_that_ran_out_of_memory_is_tried_alone_when_all_else_is_over() -> None:
    clock = Clock()
    found = dispatcher(planned(3), slots=3, clock=clock, retries=1, shard_size=1)
    hungry, crashed, good = take_all(found)
    found.take(hungry, [failed(hungry.items[0], "out_of_memory")])
    found.take(crashed, [failed(crashed.items[0], "crash")])
    assert found.pop_shard() is None
    found.take(good, all_done(good))
    assert found.pop_shard() is None, "the crashed item comes first"
    clock.now += 100
    (again,) = take_all(found)
    assert not again.alone
    found.take(again, all_done(again))
    (alone,) = take_all(found)
    assert alone.alone
    assert ids([alone]) == ids([hungry])
    found.take(alone, all_done(alone))
    assert found.finished


def test_what_a_shard_did_not_reach_is_put_back_without_blame() -> None:
    found = dispatcher(planned(4), slots=1, shard_size=4)
    shard = found.pop_shard()
    assert shard is not None
    first, second, *_ = shard.items
    settled = found.take(shard, [done(first), Outcome(second.item.id, "stage", "remaining")])
    assert [outcome.id for outcome in settled] == [first.item.id]
    again = found.pop_shard()
    assert again is not None
    assert sorted(ids([again])) == sorted(item.item.id for item in shard.items[1:])
    assert {item.attempts for item in again.items} == {0}


def test_nothing_is_handed_out_once_stopped() -> None:
    found = dispatcher(planned(10), slots=1, shard_size=1, retries=5)
    first, second = take_all(found)
    found.stop()
    assert found.pop_shard() is None
    assert not found.finished, "two shards are still in flight"
    assert found.take(first, [failed(first.items[0], "crash")]), "a failure is final, for no try will follow"
    found.take(second, [])
    assert found.finished


@pytest.mark.parametrize("seed", range(20))
def test_every_item_is_handed_out_until_it_is_settled_and_no_oftener(seed: int) -> None:
    """Random items, outcomes and lost shards: nobody is forgotten, nobody is in two places, tries are counted."""
    chance, clock = random.Random(seed), Clock()
    items = planned(chance.randrange(1, 300), [chance.choice([0.0, 0.1, 1.0, 50.0]) for _ in range(7)])
    retries = chance.randrange(4)
    size = chance.choice([None, None, 1, 7])
    found = dispatcher(items, chance.randrange(1, 6), clock, retries=retries, shard_size=size)
    tried, settled, flight = Counter[str](), Counter[str](), []
    while not found.finished:
        flight += take_all(found)
        assert len(set(ids(flight))) == len(ids(flight))
        assert sum(shard.alone for shard in flight) in (0, len(flight))
        if not flight:
            wait = found.get_wait_seconds()
            assert wait is not None
            clock.now += wait
            continue
        shard = flight.pop(chance.randrange(len(flight)))
        outcomes = [_some_outcome(chance, item) for item in shard.items[: chance.randrange(len(shard.items) + 1)]]
        tried.update(outcome.id for outcome in outcomes)
        settled.update(outcome.id for outcome in found.take(shard, outcomes))
    assert settled == Counter(item.item.id for item in items)
    assert max(tried.values()) <= retries + 1


def _some_outcome(chance: random.Random, item: PlannedItem) -> Outcome:
    kinds: list[FailureKind] = ["bad_input", "timeout", "crash", "out_of_memory", "error"]
    if chance.random() < 0.6:
        return done(item, chance.random())
    return failed(item, chance.choice(kinds), chance.random() < 0.3)
