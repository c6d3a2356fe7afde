"""A run's beginning and end in its output folder: leftovers are swept, results are written."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tasks.engine.errors import RunError
from tasks.engine.files import write_atomically
from tasks.engine.layout import Layout
from tasks.engine.outcomes import Outcome
from tasks.engine.report import Bar, Failure, Picture, render_report
from tasks.engine.summary import Summary, as_dict, failure_rows, write_summary

_OWNER = "owner.json"


@contextmanager
def open_output_dir(layout: Layout, run_id: str) -> Iterator[None]:
    """Make the output folder and the run's private folder; the private folder is gone afterwards.

    Private folders of runs that are dead are swept first. Raises RunError where nothing can be written.
    """
    private = layout.private / run_id
    try:
        private.mkdir(parents=True)
        write_atomically(private / _OWNER, json.dumps(_own_mark()).encode())
    except OSError as error:
        raise RunError(f"cannot write to {layout.output_dir}: {error.strerror}; give another --output-dir") from None
    _sweep(layout)
    try:
        yield
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _own_mark() -> dict[str, str | int | float]:
    own = psutil.Process()
    return {"host": socket.gethostname(), "pid": own.pid, "created": own.create_time()}


def _sweep(layout: Layout) -> None:
    """Remove private folders whose owner is dead. One on another host may be alive, and is left."""
    for folder in layout.private.iterdir():
        if not _owned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _owned(folder: Path) -> bool:
    try:
        mark = json.loads((folder / _OWNER).read_bytes())
        if mark["host"] != socket.gethostname():
            return True
        return bool(psutil.Process(mark["pid"]).create_time() == mark["created"])
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return False


def write_results(layout: Layout, summary: Summary, outcomes: Sequence[Outcome], pictures: Sequence[Picture]) -> Path:
    """Write every file of the run; returns the path of ``report.html``."""
    page = render_report(as_dict(summary), _bars(summary, outcomes), _seconds(outcomes), pictures, _failures(outcomes))
    report = layout.output_dir / "report.html"
    write_atomically(report, page.encode())
    write_summary(layout, summary, outcomes)
    return report


def _bars(summary: Summary, outcomes: Sequence[Outcome]) -> list[Bar]:
    """What ran in this run, in seconds since its start."""
    start = summary.started_seconds
    return [
        Bar(usage.slot, usage.started_at - start, usage.started_at - start + usage.seconds, outcome.id, outcome.outcome)
        for outcome in outcomes
        if (usage := outcome.usage).slot and outcome.run_id == summary.run_id
    ]


def _seconds(outcomes: Sequence[Outcome]) -> list[float]:
    return [outcome.usage.seconds for outcome in outcomes if outcome.record]


def _failures(outcomes: Sequence[Outcome]) -> list[Failure]:
    return [Failure(**row) for row in failure_rows(outcomes)]


def free_bytes(path: Path) -> int:
    """Bytes that are free where ``path`` is, or where it will be once it is made."""
    existing = next(parent for parent in [path, *path.parents] if parent.exists())
    return shutil.disk_usage(existing).free
