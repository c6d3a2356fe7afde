"""Begin and end a run in its output folder: lock it, remove leftovers, write the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tasks.engine.reporting.report import Bar, Failure, Picture, render_report
from tasks.engine.reporting.summary import Summary, convert_to_dict, list_failures, write_summary
from tasks.engine.running.orphans import end_orphans, note_dead_marks
from tasks.engine.running.scratch import leave_local_scratch, sweep_local_scratch
from tasks.engine.store.layout import RUN_FILES, STATE_FOLDER, Layout, check_folders
from tasks.engine.store.lock import Lock, hold_lock
from tasks.engine.store.outcomes import Outcome, Outcomes
from tasks.engine.store.write_errors import check_is_no_folder, explain_write_error


@contextmanager
def open_output_dir(layout: Layout, run_id: str, say: Callable[[str], None] = lambda _: None) -> Iterator[Lock]:
    """Create the output folder, hold its lock, and create the run's private folder; remove it afterwards.

    Removes the private folders of dead runs. ``say`` receives a line about anything that takes a while. Raises RunError
    if the folder cannot be written, or if another run is active.
    """
    tree, private = layout.tree, f"{layout.relative(layout.private)}/{run_id}"
    with ExitStack() as stack:
        try:
            check_folders(layout)
            stack.enter_context(tree.opened(layout.relative(layout.private), make=True))
            for name in sorted(RUN_FILES):
                check_is_no_folder(layout.output_dir / name)
            lock = stack.enter_context(hold_lock(layout.lock, run_id, say))
            marks = end_orphans(layout, say)
            _sweep(layout)
            stack.callback(leave_local_scratch, layout.output_dir, run_id)
            tree.make(private, mode=0o700)
            note_dead_marks(layout.private / run_id, marks)
        except OSError as error:
            raise explain_write_error(layout.output_dir, error) from error
        stack.callback(tree.remove, private)
        yield lock


def _sweep(layout: Layout) -> None:
    """Remove the leftovers of dead runs. The lock guarantees that no other run is active.

    A paused run that does not know yet that it lost its lock cannot publish any more, because its private folder is
    removed.
    """
    tree = layout.tree
    tree.clear(layout.relative(layout.private))
    for name in tree.names(STATE_FOLDER):  # left by runs that died while they took the lock, in any version
        if name.startswith(".lock."):
            tree.remove(f"{STATE_FOLDER}/{name}")
    kinds = [f"{STATE_FOLDER}/{name}" for name in tree.folders(STATE_FOLDER)]
    stages = [f"{kind}/{name}" for kind in kinds for name in tree.folders(kind)]
    for folder in ("", STATE_FOLDER, *kinds, *stages):
        tree.remove_temporary(folder)
    sweep_local_scratch(layout.output_dir)


def write_results(layout: Layout, summary: Summary, outcomes: Outcomes, pictures: Sequence[Picture]) -> Path:
    """Write all result files of the run; return the path of ``report.html``."""
    bars, seconds = _collect_times(summary, outcomes)
    page = render_report(convert_to_dict(summary), bars, seconds, pictures, _collect_failures(outcomes))
    layout.tree.write("report.html", page.encode())
    write_summary(layout, summary, outcomes)
    return layout.output_dir / "report.html"


def _collect_times(summary: Summary, outcomes: Iterable[Outcome]) -> tuple[list[Bar], list[float]]:
    """Return the bars of the items that ran in this run, and the seconds of all done items, also of earlier runs."""
    start, bars, seconds = summary.started_seconds, list[Bar](), list[float]()
    for outcome in outcomes:
        usage, begun = outcome.usage, outcome.usage.started_at - start
        if usage.slot and outcome.run_id == summary.run_id:
            bars.append(Bar(usage.slot, begun, begun + usage.seconds, outcome.title, outcome.outcome, outcome.stage))
        if outcome.outcome in ("done", "cached"):
            seconds.append(usage.seconds)
    return bars, seconds


def _collect_failures(outcomes: Outcomes) -> list[Failure]:
    return [Failure(**row) for row in list_failures(outcomes)]
