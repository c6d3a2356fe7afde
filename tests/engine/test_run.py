"""Test the beginning and the end of a run in its output folder."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tasks.engine import run
from tasks.engine.contract.errors import RunError
from tasks.engine.reporting.report import Bar, Failure, Picture
from tasks.engine.reporting.summary import RunFigures, convert_to_dict, summarize
from tasks.engine.run import open_output_dir, write_results
from tasks.engine.running.scratch import get_local_scratch, make_local_scratch
from tasks.engine.store.layout import Layout
from tasks.engine.store.lock import Owner
from tasks.engine.store.outcomes import Outcome, Outcomes, Usage
from tasks.engine.store.tree import Tree


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    (tmp_path / "tmp").mkdir(mode=0o700)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return Layout(tmp_path / "out")


def fill(layout: Layout, *names: str) -> None:
    for name in names:
        path = layout.output_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def list_files(layout: Layout) -> list[str]:
    return sorted(layout.relative(path) for path in layout.output_dir.rglob("*") if path.is_file())


def test_run_has_a_folder_and_a_lock_until_it_ends(layout: Layout) -> None:
    with open_output_dir(layout, "run-1") as lock:
        owner = Owner.decode(layout.lock.read_bytes())
        assert owner is not None
        assert (owner.run_id, owner.token) == ("run-1", lock.owner.token)
        assert [path.name for path in layout.private.iterdir()] == ["run-1"]
        assert (layout.private / "run-1").stat().st_mode & 0o777 == 0o700
        fill(layout, ".headrace/private/run-1/stage/file")
    assert list_files(layout) == []
    assert list(layout.private.iterdir()) == []


def test_only_leftovers_of_dead_runs_are_swept(layout: Layout) -> None:
    left = ".x.0123456789ab.tmp"
    kept = ["made/a.txt", f"made/{left}", ".headrace/records/stage/a.json", ".headrace/records/stage/deep/" + left]
    kept += [".headrace/lock-of-a-user", ".other"]
    folders = ("", ".headrace/", ".headrace/records/", ".headrace/records/stage/", ".headrace/logs/stage/")
    fill(layout, *kept, *(folder + left for folder in folders), ".headrace/.lock.0123", ".headrace/private/run-0/a")
    with open_output_dir(layout, "run-1"):
        assert list_files(layout) == sorted([*kept, ".headrace/lock"])


def test_scratch_of_dead_and_finished_runs_is_removed(layout: Layout) -> None:
    dead, own = (get_local_scratch(layout.output_dir, run_id) for run_id in ("run-0", "run-1"))
    make_local_scratch(dead)
    with open_output_dir(layout, "run-1"):
        assert not dead.exists()
        make_local_scratch(own)
    assert not own.parent.exists()


def test_remaining_marks_of_dead_runs_are_passed_on(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []

    def end(*arguments: object) -> set[str]:
        calls.append(arguments)
        return {"mark"}

    monkeypatch.setattr(run, "end_orphans", end)
    monkeypatch.setattr(run, "note_dead_marks", lambda *arguments: calls.append(arguments))
    with open_output_dir(layout, "run-1", print):
        assert calls == [(layout, print), (layout.private / "run-1", {"mark"})]


def test_write_error_is_explained(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(tree: Tree, folder: str, mode: int = 0) -> None:
        raise OSError(errno.EROFS, "Read-only", str(tree.root / folder))

    monkeypatch.setattr(Tree, "make", refuse)
    with pytest.raises(RunError) as refused, open_output_dir(layout, "run-1"):
        pass
    assert str(refused.value) == (
        f"cannot write to {layout.output_dir}: the filesystem is read-only ({layout.private}/run-1); "
        "make it writable or give another --output-dir, then run the same command again"
    )
    assert not layout.lock.exists()


def test_report_shows_the_summary_and_the_outcomes(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars show only this run, in seconds since its start; durations include all done items."""
    layout.output_dir.mkdir()
    usage = Usage(1005.0, 2.0, slot="slot-1")
    outcomes = Outcomes([
        Outcome("a", "frames", "done", usage=usage, run_id="run-1", name="Clip A"),
        Outcome("b", "frames", "cached", usage=Usage(10.0, 3.0, slot="slot-1"), run_id="run-0"),
        Outcome("c", "frames", "failed", usage=usage, run_id="run-1", failure_kind="crash", message="gone"),
        Outcome("d", "frames", "failed", usage=Usage(), run_id="run-1", failure_kind="error"),
        Outcome("e", "frames", "remaining"),
    ])  # fmt: skip
    summary = summarize(RunFigures("flow", "run-1", 1000.0, 1010.0, 2, 5, {}), outcomes, 1.0)
    pictures: list[Picture] = []
    made: list[tuple[object, ...]] = []

    def render(*arguments: object) -> str:
        made.append(arguments)
        return "<p>é</p>"

    monkeypatch.setattr(run, "render_report", render)
    assert write_results(layout, summary, outcomes, pictures) == layout.output_dir / "report.html"
    (arguments,) = made
    shown, bars, seconds, given, failures = arguments
    assert shown == convert_to_dict(summary)
    assert bars == [
        Bar("slot-1", 5.0, 7.0, "Clip A", "done", "frames"),
        Bar("slot-1", 5.0, 7.0, "c", "failed", "frames"),
    ]
    assert seconds == [2.0, 3.0]
    assert given is pictures
    assert isinstance(failures, list)
    assert all(isinstance(failure, Failure) for failure in failures)
    assert [failure.id for failure in failures] == ["c", "d"]
    assert (layout.output_dir / "report.html").read_bytes() == "<p>é</p>".encode()
    results = ["failures.json", "items.parquet", "report.html", "summary.json"]
    assert list_files(layout) == [".headrace/runs/run-1.json", *results]
