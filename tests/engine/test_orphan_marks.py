"""The marks of a run's processes: the files that keep them, and the processes that are searched for by them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.engine.running import orphans
from tasks.engine.running.orphans import end_orphans, end_orphans_here, note_dead_marks, note_mark, read_marks
from tasks.engine.running.watchdog import new_mark
from tasks.engine.store.layout import Layout

Say = Callable[[str], None]


class Searches:
    """Calls of ``end_marked``, which report that they ended ``count`` processes."""

    def __init__(self) -> None:
        self.count = 0
        self.calls: list[tuple[set[str], tuple[Say, ...]]] = []

    def end_marked(self, marks: set[str], *report: Say) -> int:
        self.calls.append((marks, report))
        return self.count


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> Searches:
    made = Searches()
    monkeypatch.setattr(orphans, "end_marked", made.end_marked)
    return made


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "out")


def make_private(layout: Layout, run_id: str) -> Path:
    private = layout.private / run_id
    private.mkdir(parents=True)
    return private


def test_marks_are_empty_files_in_two_folders(layout: Layout) -> None:
    private, own, dead = make_private(layout, "run"), [new_mark(), new_mark()], [new_mark(), new_mark()]
    for mark in (*own, own[0]):
        note_mark(private, mark)
    note_dead_marks(private, dead)
    note_dead_marks(private, dead[:1])
    files = {path.relative_to(private).as_posix(): path.read_bytes() for path in private.rglob("*") if path.is_file()}
    expected = {f"marks/{mark}" for mark in own} | {f"dead-marks/{mark}" for mark in dead}
    assert files == dict.fromkeys(expected, b"")
    assert read_marks(private) == {*own, *dead}


def test_no_dead_marks_make_no_folder(layout: Layout) -> None:
    private = make_private(layout, "run")
    note_dead_marks(private, iter(()))
    assert list(private.iterdir()) == []
    note_dead_marks(private, iter([new_mark()]))
    assert len(read_marks(private)) == 1


def test_marks_of_a_run_without_a_folder_are_an_error(layout: Layout) -> None:
    with pytest.raises(FileNotFoundError):
        note_mark(layout.private / "run", new_mark())


def test_new_output_folder_has_no_orphans(layout: Layout, searches: Searches) -> None:
    said: list[str] = []
    assert end_orphans(layout, said.append) == set()
    assert [marks for marks, _ in searches.calls] == [set()]
    assert said == []


@pytest.mark.parametrize(
    ("count", "lines"),
    [
        (0, []),
        (1, ["ended 1 process that an earlier run had left running"]),
        (2, ["ended 2 processes that an earlier run had left running"]),
    ],
)
def test_orphans_of_all_runs_are_ended_and_counted(
    layout: Layout, searches: Searches, count: int, lines: list[str]
) -> None:
    own, other, dead, said = new_mark(), new_mark(), new_mark(), list[str]()
    say = said.append
    note_mark(make_private(layout, "one"), own)
    two = make_private(layout, "two")
    note_mark(two, other)
    note_dead_marks(two, [dead])
    make_private(layout, "three")
    (layout.private / "file").touch()
    searches.count = count
    assert end_orphans(layout, say) == {own, other, dead}
    assert searches.calls == [({own, other, dead}, (say,))]
    assert said == lines


def test_worker_ends_orphans_of_dead_runs_alone(layout: Layout, searches: Searches) -> None:
    private, dead = make_private(layout, "run"), new_mark()
    end_orphans_here(private)
    note_mark(private, new_mark())
    note_dead_marks(private, [dead])
    end_orphans_here(private)
    assert [marks for marks, _ in searches.calls] == [set(), {dead}]


def test_only_regular_files_are_marks(layout: Layout) -> None:
    private, mark = make_private(layout, "run"), new_mark()
    note_mark(private, mark)
    (private / "marks" / new_mark()).mkdir()
    os.mkfifo(private / "marks" / new_mark())
    (private / "marks" / new_mark()).symlink_to(private / "marks" / mark)
    assert read_marks(private) == {mark}


def test_marks_in_a_file_or_without_folders_are_none(layout: Layout) -> None:
    assert read_marks(layout.private / "missing") == set()
    private = make_private(layout, "run")
    (private / "marks").touch()
    assert read_marks(private) == set()


def test_reading_marks_leaves_no_folder_open(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    private = make_private(layout, "run")
    note_mark(private, new_mark())
    opened, closed = [], []
    open_, close = os.open, os.close

    def record_open(*given: object, **named: object) -> int:
        opened.append(open_(*given, **named))  # type: ignore[arg-type]
        return opened[-1]

    def record_close(descriptor: int) -> None:
        closed.append(descriptor)
        close(descriptor)

    monkeypatch.setattr(os, "open", record_open)
    monkeypatch.setattr(os, "close", record_close)
    assert len(read_marks(private)) == 1
    assert sorted(opened) == sorted(closed)
    assert len(opened) == 3
