"""A run's beginning and end in its output folder: leftovers are swept, results are written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tasks.engine.files import remove_temporary, write_atomically
from tasks.engine.layout import Layout
from tasks.engine.lock import Lock, locked
from tasks.engine.outcomes import Outcome, Outcomes
from tasks.engine.report import Bar, Failure, Picture, render_report
from tasks.engine.scratch import local_scratch, sweep_local_scratch
from tasks.engine.summary import Summary, as_dict, failure_rows, write_summary
from tasks.engine.write_errors import cannot_write, check_is_no_folder

_RESULTS = ("summary.json", "items.parquet", "failures.json", "report.html")


@contextmanager
def open_output_dir(layout: Layout, run_id: str, say: Callable[[str], None] = lambda _: None) -> Iterator[Lock]:
    """Make the output folder, hold its lock, and make the run's private folder, which is gone afterwards.

    What dead runs left in theirs is swept. ``say`` is told, in one line, what takes a while. Raises RunError if nothing
    can be written, or another run is at work.
    """
    private = layout.private / run_id
    with ExitStack() as stack:
        try:
            layout.private.mkdir(parents=True, exist_ok=True)
            for name in _RESULTS:
                check_is_no_folder(layout.output_dir / name)
            lock = stack.enter_context(locked(layout.lock, run_id, say))
            _sweep(layout)
            stack.callback(shutil.rmtree, local_scratch(layout.output_dir, run_id), ignore_errors=True)
            private.mkdir()
        except OSError as error:
            raise cannot_write(layout.output_dir, error) from error
        stack.callback(shutil.rmtree, private, ignore_errors=True)
        yield lock


def _sweep(layout: Layout) -> None:
    """Remove what dead runs left: the lock says that nobody else is at work.

    A run that was paused and does not know yet that it has lost its lock can publish nothing more: all that it can
    publish is in its private folder.
    """
    for folder in layout.private.iterdir():
        shutil.rmtree(folder, ignore_errors=True)
    for path in layout.house.glob(".lock.*"):  # of runs that died while they took the lock, those of other versions too
        path.unlink(missing_ok=True)
    for folder in (layout.output_dir, *layout.house.glob("*/"), *layout.house.glob("*/*/")):
        remove_temporary(folder)
    sweep_local_scratch(layout.output_dir)


def write_results(layout: Layout, summary: Summary, outcomes: Outcomes, pictures: Sequence[Picture]) -> Path:
    """Write every file of the run; returns the path of ``report.html``."""
    bars, seconds = _times(summary, outcomes)
    page = render_report(as_dict(summary), bars, seconds, pictures, _failures(outcomes))
    report = layout.output_dir / "report.html"
    write_atomically(report, page.encode())
    write_summary(layout, summary, outcomes)
    return report


def _times(summary: Summary, outcomes: Iterable[Outcome]) -> tuple[list[Bar], list[float]]:
    """What ran in this run, in seconds since its start; how long every item took that is done, whenever that was."""
    start, bars, seconds = summary.started_seconds, list[Bar](), list[float]()
    for outcome in outcomes:
        usage, begun = outcome.usage, outcome.usage.started_at - start
        if usage.slot and outcome.run_id == summary.run_id:
            bars.append(Bar(usage.slot, begun, begun + usage.seconds, outcome.title, outcome.outcome))
        if outcome.outcome in ("done", "cached"):
            seconds.append(usage.seconds)
    return bars, seconds


def _failures(outcomes: Outcomes) -> list[Failure]:
    return [Failure(**row) for row in failure_rows(outcomes)]
