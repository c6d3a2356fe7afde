"""Test the order of items by a column of mixed types, and the attempts of an item."""

from __future__ import annotations

import math

import pytest

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.planning import plan
from tasks.engine.planning.plan import PlannedItem, order_items


@pytest.mark.parametrize(
    ("ranks", "order"),
    [
        (["A", None], "ab"),
        ([None, ""], "ba"),
        ([math.nan, None], "ab"),
        ([None, math.nan], "ab"),
        (["10", "9", 8], "cba"),
        ([0, -0.5, False], "acb"),
    ],
)
def test_priority_orders_mixed_types(ranks: list[object], order: str) -> None:
    items = [Item("abc"[place], fields={"rank": rank}) for place, rank in enumerate(ranks)]
    assert "".join(items[place].id for place in order_items(items, Execution(priority="rank"))) == order


def test_retry_changes_only_the_attempt() -> None:
    planned = PlannedItem(Item("a"), "key", 3, 1, ("state",))
    assert plan.retry_failed(planned) == PlannedItem(Item("a"), "key", 3, 2, ("state",))
