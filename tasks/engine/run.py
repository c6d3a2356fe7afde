"""Begin and end a run in its output folder: lock it, remove leftovers, write the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tasks.engine.reporting.report import Bar, Failure, Picture, render_report
from tasks.engine.reporting.summary import Summary, convert_to_dict, list_failures, write_summary
from tasks.engine.running.orphans import end_orphans, note_dead_marks
from tasks.engine.running.scratch import (
    get_work_folder,
    leave_local_scratch,
    make_local_scratch,
    sweep_local_scratch,
)
from tasks.engine.store.layout import RUN_FILES, STATE_FOLDER, Layout, check_folders
from tasks.engine.store.lock import HeldLock, Lock, hold_lock
from tasks.engine.store.outcomes import Outcome, Outcomes
from tasks.engine.store.sessions import lease_output_dir, list_output_dir, upload_remaining
from tasks.engine.store.write_errors import check_is_no_folder, explain_write_error
from tasks.stores.location import get_local_path, is_location, parse_location


def open_layout(output_dir: Path) -> Layout:
    """Return the layout of an output folder: a path, or a URL of a store. Raises LocationError for other URLs."""
    if not is_location(output_dir):
        return Layout(output_dir.absolute())
    if path := get_local_path(output_dir):
        return Layout(Path(path))
    url = parse_location(output_dir, writable=True).url
    return Layout(get_work_folder(url), url)


def list_objects(layout: Layout) -> None:
    """List an output folder in a store once, to read it."""
    if layout.store:
        make_local_scratch(layout.output_dir)
        list_output_dir(layout)


@contextmanager
def open_output_dir(layout: Layout, run_id: str, say: Callable[[str], None] = lambda _: None) -> Iterator[HeldLock]:
    """Hold the lock of the output folder, and the lease if it is in a store; see :func:`_open_local`."""
    if not layout.store:
        with _open_local(layout, run_id, say) as lock:
            yield lock
        return
    make_local_scratch(layout.output_dir)
    with _open_local(layout.local, run_id, say), lease_output_dir(layout, run_id, say) as lease:
        yield lease
        upload_remaining(layout)


@contextmanager
def hold_output_dir(layout: Layout, run_id: str, say: Callable[[str], None] = lambda _: None) -> Iterator[HeldLock]:
    """Hold the lock of an output folder that exists, and its lease if it is in a store.

    Raises RunError if a run is active there.
    """
    with hold_lock(layout.lock, run_id, say) as lock:
        if not layout.store:
            yield lock
            return
        with lease_output_dir(layout, run_id, say) as lease:
            yield lease


@contextmanager
def _open_local(layout: Layout, run_id: str, say: Callable[[str], None]) -> Iterator[Lock]:
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
