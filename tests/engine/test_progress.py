"""Test the progress of a run with a clock that the tests control, on a terminal and in log lines."""

import contextlib
import io
import os
import pty
import re
from typing import Any

import pytest
from rich.console import Console

from tasks.engine.contract.items import Item
from tasks.engine.reporting.progress import ProgressDisplay, RunProgress, Standing, format_duration, format_rate
from tasks.engine.store.outcomes import Counts, Outcome, OutcomeName, Usage


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def create_progress(
    clock: Clock | None = None, cached: int = 0, todo: int = 0, cost: float = 1.0, name: str = "stage"
) -> RunProgress:
    """Return the progress of a run with one stage that has items, and one that has none."""
    progress = RunProgress([name, "empty"], clock or Clock())
    for number in range(cached):
        item = Item(f"cached-{number}", cost=cost)
        progress.add(name, item)
        progress.settle(name, item, Outcome(item.id, name, "cached"))
    for number in range(todo):
        progress.add(name, Item(f"item-{number}", cost=cost))
    return progress


def settle(
    progress: RunProgress, number: int, outcome: OutcomeName, seconds: float = 0.0, cost: float = 1.0, **fields: Any
) -> None:
    (stage, *_) = progress._stages
    item = Item(f"item-{number}", cost=cost)
    progress.settle(stage, item, Outcome(item.id, stage, outcome, usage=Usage(seconds=seconds), **fields))


def get_standing(progress: RunProgress) -> Standing:
    (standing,) = progress.standings()
    return standing


def test_rate_and_eta_ignore_cached_items() -> None:
    clock = Clock()
    progress = create_progress(clock, cached=900, todo=100)
    assert get_standing(progress).eta_seconds is None
    clock.now = 10.0
    settle(progress, 0, "done", seconds=10.0)
    for number in range(1, 20):
        settle(progress, number, "done")
    standing = get_standing(progress)
    assert standing.counts == Counts(done=20, cached=900, remaining=80)
    assert standing.share == pytest.approx(0.92)
    assert standing.items_per_second == pytest.approx(2.0)
    assert standing.eta_seconds == pytest.approx(40.0)


def test_clock_of_a_stage_starts_with_its_first_item_and_ends_with_its_last() -> None:
    """Stages of a graph start and end at different times."""
    clock = Clock()
    progress = create_progress(clock, todo=2)
    clock.now = 100.0
    assert get_standing(progress).elapsed_seconds < 1e-6
    settle(progress, 0, "done", seconds=4.0)
    clock.now = 104.0
    settle(progress, 1, "done", seconds=4.0)
    clock.now = 1000.0
    standing = get_standing(progress)
    assert standing.elapsed_seconds == pytest.approx(8.0)
    assert standing.items_per_second == pytest.approx(0.25)


def test_eta_depends_on_cost_not_on_number() -> None:
    clock = Clock()
    progress = create_progress(clock, todo=10)
    progress.add("stage", Item("item-90", cost=90.0))
    clock.now = 9.0
    settle(progress, 90, "done", seconds=9.0, cost=90.0)
    assert get_standing(progress).eta_seconds == pytest.approx(1.0)


def test_items_whose_source_failed_are_counted_separately() -> None:
    progress = create_progress(todo=3)
    settle(progress, 0, "failed", failure_kind="upstream")
    settle(progress, 1, "failed", failure_kind="error")
    standing = get_standing(progress)
    assert standing.counts == Counts(failed=1, upstream=1, remaining=1)
    assert ", 1 failed, 1 upstream, " in standing.line()


def test_share_counts_the_items_of_all_stages() -> None:
    progress = RunProgress(["first", "second", "third"], Clock())
    assert progress.share == 1.0
    assert progress.standings() == []
    for stage in ("second", "first", "first", "first"):
        progress.add(stage, Item("a"))
    progress.settle("second", Item("a"), Outcome("a", "second", "done"))
    assert progress.share == 0.25
    assert [standing.stage for standing in progress.standings()] == ["first", "second"], "in the order of the graph"


def test_rates_and_durations_as_text() -> None:
    assert [format_rate(rate) for rate in (3.24, 0.4, 0.0)] == ["3.2 items/s", "2.5 s/item", "0.0 items/s"]
    assert [format_duration(seconds) for seconds in (None, 0, 59.6, 3723)] == ["?", "0:00", "1:00", "1:02:03"]


def test_progress_lines_without_a_terminal() -> None:
    stream = io.StringIO()
    display = ProgressDisplay(Console(file=stream, width=200), heartbeat_seconds=0.0)
    progress = create_progress(cached=1, todo=3, name="frames")
    display.start(progress)
    settle(progress, 0, "done")
    display.tick()
    display.say("words with [brackets] and :smile:")
    settle(progress, 1, "failed")
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
    display.start(create_progress(todo=3, name="frames"))
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
        progress = create_progress(cached=5, todo=5, name="frames")
        display.start(progress)
        settle(progress, 0, "done")
        settle(progress, 1, "failed")
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


def test_only_stages_whose_counts_have_changed_get_a_line() -> None:
    stream = io.StringIO()
    display = ProgressDisplay(Console(file=stream, width=200), heartbeat_seconds=0.0)
    progress = RunProgress(["first", "second", "third"])
    for stage in ("first", "second"):
        for name in "ab":
            progress.add(stage, Item(name))
    display.start(progress)
    display.tick()
    progress.settle("second", Item("a"), Outcome("a", "second", "done"))
    display.tick()
    for name in "ab":
        progress.settle("first", Item(name), Outcome(name, "first", "done"))
    display.tick()
    display.tick()
    stages = [line.split("/")[0] for line in stream.getvalue().splitlines()]
    assert stages == ["first: 0", "second: 0", "second: 1", "first: 2", "second: 1"], "the last: it is not finished"


def test_bar_shows_a_stage_when_it_has_items() -> None:
    display = ProgressDisplay(Console(file=io.StringIO(), width=120, force_terminal=True))
    progress = RunProgress(["first", "second"])
    progress.add("first", Item("a"))
    display.start(progress)
    display.tick()
    assert display._bar is not None
    assert [task.fields["standing"].stage for task in display._bar.tasks] == ["first"]
    progress.add("second", Item("a"))
    display.tick()
    assert [task.fields["standing"].stage for task in display._bar.tasks] == ["first", "second"]
    display.end()
