"""Show the progress of a run: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from tasks.engine.contract.text import showable
from tasks.engine.planning.plan import Plan
from tasks.engine.store.outcomes import Counts, OutcomeName

_HEARTBEAT_SECONDS = 5.0


@dataclass(frozen=True)
class Standing:
    """The progress of one stage. ``eta_seconds`` is None while the rate is unknown."""

    stage: str
    counts: Counts
    elapsed_seconds: float
    items_per_second: float
    eta_seconds: float | None

    @property
    def share(self) -> float:
        """The share of settled items, 0 to 1."""
        settled = self.counts.total - self.counts.remaining
        return settled / self.counts.total if self.counts.total else 1.0

    def line(self) -> str:
        """Return the progress as one line of text."""
        counts = self.counts
        settled = counts.total - counts.remaining
        return (
            f"{self.stage}: {settled}/{counts.total} ({self.share:.0%}), {counts.done} done, {counts.cached} cached, "
            f"{counts.failed} failed, {format_rate(self.items_per_second)}, ETA {format_duration(self.eta_seconds)}"
        )


def format_rate(items_per_second: float) -> str:
    """Format a rate: ``3.2 items/s``, or ``2.5 s/item`` if items are slow."""
    if 0 < items_per_second < 1:
        return f"{1 / items_per_second:.1f} s/item"
    return f"{items_per_second:.1f} items/s"


def format_duration(seconds: float | None) -> str:
    """Format a duration: ``1:02:03``, ``2:03``, or ``?`` if it is unknown."""
    if seconds is None:
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class StageProgress:
    """Counts the settled items of a stage. Thread-safe: outcomes arrive in threads of the cluster."""

    def __init__(self, stage: str, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        self._stage = stage
        self._costs = {planned.item.id: planned.item.cost for planned in plan.todo}
        self._cost_left = sum(self._costs.values())
        self._cost_done = 0.0
        settled = Counts.of(plan.settled)
        self._counts = settled + Counts(remaining=len(plan.todo) + len(plan.left))
        self._clock = clock
        self._started = clock()
        self._lock = threading.Lock()

    def settle(self, item_id: str, outcome: OutcomeName) -> None:
        """Count an item that is done or finally failed. Repeated calls for the same item are ignored."""
        if outcome == "remaining":
            return
        with self._lock:
            cost = self._costs.pop(item_id, None)
            if cost is None:
                return
            self._cost_left -= cost
            self._cost_done += cost
            self._counts += Counts(**{outcome: 1, "remaining": -1})

    def standing(self) -> Standing:
        """Return the current progress. The rate and the ETA ignore cached items."""
        with self._lock:
            elapsed = max(self._clock() - self._started, 1e-9)
            attempted = self._counts.done + self._counts.failed
            eta = self._cost_left * elapsed / self._cost_done if self._cost_done else None
            return Standing(self._stage, self._counts, elapsed, attempted / elapsed, eta)


class ProgressDisplay:
    """Shows a stage's progress on a terminal or as lines; the loop that runs the stage calls :meth:`tick`."""

    def __init__(self, console: Console, heartbeat_seconds: float = _HEARTBEAT_SECONDS) -> None:
        self.console = console
        self._heartbeat_seconds = heartbeat_seconds
        self._bar: Progress | None = None
        self._next_line = 0.0
        self._progress: StageProgress | None = None

    def say(self, line: str) -> None:
        """Print one line, above the bar if there is one."""
        self.console.print(showable(line), markup=False, emoji=False, highlight=False, soft_wrap=True)

    def start(self, progress: StageProgress) -> None:
        """Start showing a stage."""
        self._progress = progress
        if self.console.is_terminal:
            self._bar = _bar(self.console)
            self._bar.add_task("", total=1.0, standing=progress.standing())
            self._bar.start()
        self._next_line = time.monotonic() + self._heartbeat_seconds

    def tick(self) -> None:
        """Update the display if it is due."""
        if self._progress is None:
            return
        if self._bar:
            standing = self._progress.standing()
            self._bar.update(self._bar.task_ids[0], completed=standing.share, standing=standing)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + self._heartbeat_seconds
            self.say(self._progress.standing().line())

    def end(self) -> None:
        """Stop showing the stage; leave its final progress as a line."""
        if self._bar:
            self._bar.stop()
            self._bar = None
        if self._progress:
            self.say(self._progress.standing().line())
        self._progress = None


def _bar(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.fields[standing].stage}"),
        BarColumn(bar_width=30),
        _StandingColumn(),
        console=console,
        refresh_per_second=4,
        transient=True,
    )


class _StandingColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        standing: Standing = task.fields["standing"]
        counts = standing.counts
        text = Text(f"{counts.total - counts.remaining}/{counts.total} ", no_wrap=True, overflow="ellipsis")
        text.append(f"{counts.done} done ", "green")
        text.append(f"{counts.cached} cached ", "cyan")
        text.append(f"{counts.failed} failed ", "red" if counts.failed else "dim")
        text.append(f"{format_rate(standing.items_per_second)} ETA {format_duration(standing.eta_seconds)}")
        return text
