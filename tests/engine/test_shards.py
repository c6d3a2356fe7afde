"""Test that a worker gives back the items of a shard that it has not started, and none that it has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.engine.contract.items import Item
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.running import shards
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.shards import Shard, return_items, serve_shard
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_pool import close_slots
from tests.engine.faults import FaultParams, FaultStage


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert (shards._shards, shards._returned) == ({}, {})


def make_order(number: int = 0) -> ShardOrder:
    items = tuple(PlannedItem(Item(item_id), "key") for item_id in "abc")
    return ShardOrder(RunContext("run", Path("out"), Limits(60, 1)), FaultStage(FaultParams()), items, number)


def make_shard(order: ShardOrder) -> Shard:
    return Shard(order, lambda _: None, lambda _: None)


def take_all(shard: Shard) -> list[str]:
    return [planned.item.id for planned in iter(shard.take, None)]


def test_items_that_have_not_started_are_given_back() -> None:
    order = make_order()
    shard = make_shard(order)
    with serve_shard(order, shard):
        assert shard.take() == order.items[0]
        assert return_items("run", 0, ("a", "c", "x")) == ("c",)
        assert return_items("run", 0, ("c",)) == ()
        assert take_all(shard) == ["b"]


def test_items_taken_back_before_their_shard_begins_do_not_start() -> None:
    assert return_items("run", 0, ("a", "b")) == ("a", "b")
    order = make_order()
    shard = make_shard(order)
    with serve_shard(order, shard):
        assert take_all(shard) == ["c"]


def test_items_that_come_again_in_another_shard_start() -> None:
    return_items("run", 0, ("a", "b", "c"))
    order = make_order(number=1)
    shard = make_shard(order)
    with serve_shard(order, shard):
        assert take_all(shard) == ["a", "b", "c"]
    close_slots("run")


def test_closing_the_slots_of_a_run_forgets_what_it_has_taken_back() -> None:
    return_items("run", 0, ("a",))
    return_items("other", 0, ("a",))
    close_slots("run")
    assert shards._returned == {("other", 0): {"a"}}
    close_slots("other")
