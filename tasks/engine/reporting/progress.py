"""Show the progress of a run: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.text import Text

from tasks.engine.contract.items import Item
from tasks.engine.contract.text import showable
from tasks.engine.store.outcomes import Counts, Outcome

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
        upstream = f"{counts.upstream} upstream, " if counts.upstream else ""
        return (
            f"{self.stage}: {settled}/{counts.total} ({self.share:.0%}), {counts.done} done, {counts.cached} cached, "
            f"{counts.failed} failed, {upstream}{format_rate(self.items_per_second)}, "
            f"ETA {format_duration(self.eta_seconds)}"
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
    """Counts the settled items of a stage. Thread-safe."""

    def __init__(self, stage: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._stage = stage
        self._cost_left = 0.0
        self._cost_done = 0.0
        self._counts: Counter[str] = Counter()
        self._clock = clock
        self._started: float | None = None
        self._stopped: float | None = None
        self._lock = threading.Lock()

    def add(self, item: Item) -> None:
        """Count an item that is not settled."""
        with self._lock:
            self._counts["remaining"] += 1
            self._cost_left += item.cost

    def settle(self, item: Item, outcome: Outcome) -> None:
        """Count an added item as settled."""
        with self._lock:
            self._counts[outcome.counted_as] += 1
            self._counts["remaining"] -= 1
            self._cost_left -= item.cost
            if outcome.outcome == "done":
                self._cost_done += item.cost
            if outcome.counted_as in ("done", "failed") and self._started is None:
                self._started = self._clock() - outcome.usage.seconds
            self._stopped = self._clock()

    def standing(self) -> Standing:
        """Return the current progress. The rate and the ETA ignore cached items."""
        with self._lock:
            counts, now = Counts(**self._counts), self._clock()
            end = now if counts.remaining else self._stopped or now
            elapsed = max(end - (now if self._started is None else self._started), 1e-9)
            attempted = counts.done + counts.failed
            eta = max(0.0, self._cost_left) * elapsed / self._cost_done if self._cost_done else None
            return Standing(self._stage, counts, elapsed, attempted / elapsed if attempted else 0.0, eta)


class RunProgress:
    """The progress of all stages of a run, in the order of the graph.

    status  what the run waits for; empty if it does not wait
    """

    def __init__(self, stages: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.status = ""
        self._stages = {stage: StageProgress(stage, clock) for stage in stages}

    def add(self, stage: str, item: Item) -> None:
        """Count a new item."""
        self._stages[stage].add(item)

    def settle(self, stage: str, item: Item, outcome: Outcome) -> None:
        """Count an item as settled."""
        self._stages[stage].settle(item, outcome)

    def standings(self) -> list[Standing]:
        """Return the progress of every stage that has items."""
        standings = [stage.standing() for stage in self._stages.values()]
        return [standing for standing in standings if standing.counts.total]

    @property
    def share(self) -> float:
        """The share of settled items of all stages, 0 to 1."""
        counts = sum((standing.counts for standing in self.standings()), Counts())
        return (counts.total - counts.remaining) / counts.total if counts.total else 1.0


class ProgressDisplay:
    """Shows the progress of a run on a terminal or as lines; the loop of the run calls :meth:`tick`."""

    def __init__(self, console: Console, heartbeat_seconds: float = _HEARTBEAT_SECONDS) -> None:
        self.console = console
        self._heartbeat_seconds = heartbeat_seconds
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._next_line = 0.0
        self._progress: RunProgress | None = None
        self._lines: dict[str, str] = {}

    def say(self, line: str) -> None:
        """Print one line, above the bars if there are any."""
        self.console.print(showable(line), markup=False, emoji=False, highlight=False, soft_wrap=True)

    def start(self, progress: RunProgress) -> None:
        """Start showing a run."""
        self._progress = progress
        self._lines = {}
        if self.console.is_terminal:
            self._bar = _bar(self.console)
            self._tasks = {}
            self._bar.start()
        self._next_line = time.monotonic() + self._heartbeat_seconds

    def tick(self) -> None:
        """Update the display if it is due."""
        if self._progress is None:
            return
        if self._bar:
            self._update(self._bar, self._progress)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + self._heartbeat_seconds
            self._say_changes(self._progress)

    def end(self) -> None:
        """Stop showing the run; leave the final progress of every stage as a line."""
        if self._bar:
            self._bar.stop()
            self._bar = None
        if self._progress:
            for standing in self._progress.standings():
                self.say(standing.line())
        self._progress = None

    def _update(self, bar: Progress, progress: RunProgress) -> None:
        for standing in progress.standings():
            if standing.stage not in self._tasks:
                self._tasks[standing.stage] = bar.add_task("", total=1.0, standing=standing)
            bar.update(self._tasks[standing.stage], completed=standing.share, standing=standing)

    def _say_changes(self, progress: RunProgress) -> None:
        """Print a line for every stage whose counts have changed; if none has, for those that are not finished."""
        standings = progress.standings()
        changed = [standing for standing in standings if self._lines.get(standing.stage) != str(standing.counts)]
        for standing in changed or [standing for standing in standings if standing.counts.remaining]:
            self._lines[standing.stage] = str(standing.counts)
            self.say(standing.line())


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
