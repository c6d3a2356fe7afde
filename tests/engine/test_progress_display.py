"""Test the progress bar and the progress lines character by character."""

from __future__ import annotations

import io
import re
import time
from typing import Any, cast

import pytest
from rich.console import Console
from rich.progress import BarColumn, Progress
from rich.text import Span

from tasks.engine.contract.items import Item
from tasks.engine.reporting import progress as progress_module
from tasks.engine.reporting.progress import ProgressDisplay, RunProgress, Standing, format_rate
from tasks.engine.store.outcomes import Counts, Outcome, OutcomeName, Usage


class Clock:
    """Clock that only the test advances."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the clock by which the display waits between lines."""
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", type("Time", (), {"monotonic": staticmethod(clock)}))
    return clock


def create_progress(items: int, cached: int = 0, clock: Clock | None = None) -> RunProgress:
    progress = RunProgress(["frames"], clock or time.monotonic)
    for number in range(items):
        progress.add("frames", create_item(number))
    for place in range(cached):
        progress.add("frames", Item(f"cached-{place}"))
        progress.settle("frames", Item(f"cached-{place}"), Outcome(f"cached-{place}", "frames", "cached"))
    return progress


def create_item(number: int) -> Item:
    return Item(f"item-{number}", cost=2.0)


def settle(progress: RunProgress, number: int, outcome: OutcomeName, seconds: float = 0.0) -> None:
    settled = Outcome(f"item-{number}", "frames", outcome, usage=Usage(seconds=seconds))
    progress.settle("frames", create_item(number), settled)


def get_standing(progress: RunProgress) -> Standing:
    (standing,) = progress.standings()
    return standing


def test_progress_line_of_a_stage() -> None:
    standing = Standing("frames", Counts(3, 2, 1, 4), 12.0, 1.5, 130.0)
    assert standing.line() == "frames: 6/10 (60%), 3 done, 2 cached, 1 failed, 1.5 items/s, ETA 2:10"
    assert standing.share == 0.6


def test_standing_counts_settled_items(clock: Clock) -> None:
    progress = create_progress(5, 1, clock)
    clock.now += 4.0
    assert get_standing(progress) == Standing("frames", Counts(0, 1, 0, 5), 1e-9, 0.0, None)
    settle(progress, 0, "done", seconds=4.0)
    settle(progress, 1, "failed")
    assert get_standing(progress) == Standing("frames", Counts(1, 1, 1, 3), 4.0, 0.5, 12.0)


def test_standing_at_the_start_has_no_rate_error(clock: Clock) -> None:
    progress = create_progress(1, clock=clock)
    settle(progress, 0, "done")
    assert get_standing(progress) == Standing("frames", Counts(done=1), 1e-9, 1 / 1e-9, 0.0)


@pytest.mark.parametrize(
    ("rate", "text"), [(0.0, "0.0 items/s"), (0.99, "1.0 s/item"), (1.0, "1.0 items/s"), (1.44, "1.4 items/s")]
)
def test_rates_below_one_are_seconds_per_item(rate: float, text: str) -> None:
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.4, "0:59"), (60, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (36610, "10:10:10")]
)
def test_durations_show_hours_if_needed(seconds: float, text: str) -> None:
    assert progress_module.format_duration(seconds) == text


def test_progress_line_every_five_seconds_without_a_terminal(clock: Clock) -> None:
    stream = io.StringIO()
    display = ProgressDisplay(Console(file=stream, width=200))
    display.tick()
    display.start(create_progress(3, clock=clock))
    for moment in (104.9, 105.0, 105.1, 109.9, 110.0, 110.1):
        clock.now = moment
        display.tick()
        stream.write(f"{moment}\n")
    display.end()
    display.end()
    line = "frames: 0/3 (0%), 0 done, 0 cached, 0 failed, 0.0 items/s, ETA ?"
    assert stream.getvalue().splitlines() == ["104.9", line, "105.0", "105.1", "109.9", line, "110.0", "110.1", line]


def test_messages_are_printed_literally_on_a_terminal() -> None:
    stream = io.StringIO()
    display = ProgressDisplay(Console(file=stream, width=20, force_terminal=True, color_system="standard"))
    display.say("12 'words' at https://host/path [bold]or[/bold] :smile:, longer than the line\x07")
    assert stream.getvalue() == ("12 'words' at https://host/path [bold]or[/bold] :smile:, longer than the line\\x07\n")


def get_bar(display: ProgressDisplay) -> Progress:
    assert display._bar is not None
    return display._bar


def test_progress_bar_on_a_terminal(clock: Clock) -> None:
    stream = io.StringIO()
    display = ProgressDisplay(Console(file=stream, width=120, force_terminal=True, color_system=None))
    progress = create_progress(2, 2, clock)
    display.start(progress)
    display.tick()
    bar = get_bar(display)
    assert [task.fields["standing"] for task in bar.tasks] == [get_standing(progress)]
    assert (bar.tasks[0].completed, bar.tasks[0].total) == (0.5, 1.0)
    clock.now += 4.0
    settle(progress, 0, "done", seconds=4.0)
    display.tick()
    assert (bar.tasks[0].completed, bar.tasks[0].fields["standing"]) == (0.75, get_standing(progress))
    bar.refresh()
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).rsplit("\r", 1)[-1]
    assert re.fullmatch(r"[⠀-⣿] frames ━{22}[╸━]? +3/4 1 done 2 cached 0 failed 4.0 s/item ETA 0:04 *", last), last
    display.tick()
    assert "(75%)" not in stream.getvalue()
    display.end()
    assert display._bar is None
    assert stream.getvalue().endswith("frames: 3/4 (75%), 1 done, 2 cached, 0 failed, 4.0 s/item, ETA 0:04\n")


def test_progress_bar_settings() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    display = ProgressDisplay(console)
    display.start(create_progress(2))
    bar = get_bar(display)
    assert bar.console is console
    assert bar.live.refresh_per_second == 4
    assert bar.live.transient
    assert [column.bar_width for column in bar.columns if isinstance(column, BarColumn)] == [30]
    display.end()


@pytest.mark.parametrize(("failed", "style"), [(0, "dim"), (2, "red")])
def test_colors_of_the_outcomes(clock: Clock, failed: int, style: str) -> None:
    display = ProgressDisplay(Console(file=io.StringIO(), width=120, force_terminal=True))
    progress = create_progress(4, 1, clock)
    for place in range(failed):
        settle(progress, place, "failed", seconds=0.0)
    display.start(progress)
    clock.now += 1.0
    bar = get_bar(display)
    display.tick()
    text = cast("Any", bar.columns[-1]).render(bar.tasks[0])
    rates = "2.0 items/s ETA ?" if failed else "0.0 items/s ETA ?"
    assert text.plain == f"{1 + failed}/5 0 done 1 cached {failed} failed {rates}"
    assert text.spans == [Span(4, 11, "green"), Span(11, 20, "cyan"), Span(20, 29, style)]
    assert (text.no_wrap, text.overflow) == (True, "ellipsis")
    display.end()


def test_stage_without_a_given_clock_uses_real_time() -> None:
    started = time.monotonic()
    progress = create_progress(1)
    assert get_standing(progress).elapsed_seconds <= time.monotonic() - started + 1e-9
