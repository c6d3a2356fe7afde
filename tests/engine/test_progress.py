"""Test the progress of a stage with a clock that the tests control, on a terminal and in log lines."""

import contextlib
import io
import os
import pty
import re

import pytest
from rich.console import Console

from tasks.engine.contract.items import Item
from tasks.engine.planning.plan import Plan, PlannedItem
from tasks.engine.reporting.progress import ProgressDisplay, StageProgress, format_duration, format_rate
from tasks.engine.store.outcomes import Counts, Outcome, Outcomes


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def create_plan(cached: int = 0, todo: int = 0, left: int = 0, cost: float = 1.0) -> Plan:
    items = [PlannedItem(Item(f"item-{number}", cost=cost), "key", number) for number in range(todo + left)]
    settled = Outcomes(Outcome(f"cached-{number}", "stage", "cached") for number in range(cached))
    return Plan(settled, tuple(items[:todo]), tuple(items[todo:]))


def test_rate_and_eta_ignore_cached_items() -> None:
    clock = Clock()
    progress = StageProgress("stage", create_plan(cached=900, todo=100), clock)
    clock.now = 10.0
    assert progress.standing().eta_seconds is None
    for number in range(20):
        progress.settle(f"item-{number}", "done")
    standing = progress.standing()
    assert standing.counts == Counts(done=20, cached=900, remaining=80)
    assert standing.share == pytest.approx(0.92)
    assert standing.items_per_second == pytest.approx(2.0)
    assert standing.eta_seconds == pytest.approx(40.0)


def test_eta_depends_on_cost_not_on_number() -> None:
    clock = Clock()
    items = [PlannedItem(Item("heavy", cost=90.0), "key", 0), *create_plan(todo=10).todo]
    progress = StageProgress("stage", Plan(Outcomes(), tuple(items)), clock)
    clock.now = 9.0
    progress.settle("heavy", "done")
    assert progress.standing().eta_seconds == pytest.approx(1.0)


def test_each_item_counts_once() -> None:
    progress = StageProgress("stage", create_plan(todo=3, left=2), Clock())
    for outcome in ("done", "done", "failed"):
        progress.settle("item-0", outcome)  # type: ignore[arg-type]
    progress.settle("item-1", "failed")
    progress.settle("unknown", "done")
    assert progress.standing().counts == Counts(done=1, failed=1, remaining=3)


def test_unfinished_item_counts_as_remaining() -> None:
    progress = StageProgress("stage", create_plan(todo=1), Clock())
    progress.settle("item-0", "remaining")
    progress.settle("item-0", "done")
    assert progress.standing().counts == Counts(done=1)


def test_stage_without_items_is_complete() -> None:
    standing = StageProgress("stage", create_plan(), Clock()).standing()
    assert standing.share == 1.0
    assert "0/0 (100%)" in standing.line()


def test_rates_and_durations_as_text() -> None:
    assert [format_rate(rate) for rate in (3.24, 0.4, 0.0)] == ["3.2 items/s", "2.5 s/item", "0.0 items/s"]
    assert [format_duration(seconds) for seconds in (None, 0, 59.6, 3723)] == ["?", "0:00", "1:00", "1:02:03"]


def test_progress_lines_without_a_terminal() -> None:
    stream = io.StringIO()
    display = ProgressDisplay(Console(file=stream, width=200), heartbeat_seconds=0.0)
    progress = StageProgress("frames", create_plan(cached=1, todo=3))
    display.start(progress)
    progress.settle("item-0", "done")
    display.tick()
    display.say("words with [brackets] and :smile:")
    progress.settle("item-1", "failed")
    display.end()
    display.tick()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("frames: 2/4 (50%), 1 done, 1 cached, 0 failed, ")
    assert lines[1] == "words with [brackets] and :smile:"
    assert lines[2].startswith("frames: 3/4 (75%), 1 done, 1 cached, 1 failed, ")
    assert "\x1b" not in stream.getvalue()


def test_no_progress_line_before_the_heartbeat() -> None:
    stream = io.StringIO()
    display = ProgressDisplay(Console(file=stream), heartbeat_seconds=3600.0)
    display.start(StageProgress("frames", create_plan(todo=3)))
    for _ in range(100):
        display.tick()
    assert stream.getvalue() == ""


def read_terminal(terminal: int) -> str:
    """Return everything written to the closed end of a pseudo-terminal."""
    shown = b""
    with os.fdopen(terminal, "rb", buffering=0) as stream, contextlib.suppress(OSError):  # EIO at the end
        while chunk := stream.read(4096):
            shown += chunk
    return shown.decode()


def test_progress_bar_on_a_terminal_that_closes() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        console = Console(file=terminal, width=120, force_terminal=True)
        display = ProgressDisplay(console)
        progress = StageProgress("frames", create_plan(cached=5, todo=5))
        display.start(progress)
        progress.settle("item-0", "done")
        progress.settle("item-1", "failed")
        display.tick()
        display.say("a word above the bar")
        assert display._bar is not None
        display._bar.refresh()
        display.end()
    shown = read_terminal(ours)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"frames.*7/10 1 done 5 cached 1 failed .*ETA", plain), plain
    assert "a word above the bar" in plain
    assert plain.rstrip().splitlines()[-1].startswith("frames: 7/10 (70%), 1 done, 5 cached, 1 failed")
    assert "\x1b[?25h" in shown, "the cursor is shown again"
