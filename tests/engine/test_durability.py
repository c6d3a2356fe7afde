"""The order of system calls of publishing, removing and locking, as strace sees it.

After a loss of power only what was forced to the disk is there for certain. So the order proves that an item is done or
not done then.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.scenarios import NEW, STAGE, begin, publish_outputs, write_outputs
from tests.engine.syscalls import MAKE, OPEN, REMOVE, RENAME, SYNC, WRITE, Call, run_traced

_RANDOM = re.compile(r"\.[0-9a-f]{12}")
_RECORDS = f".headrace/records/{STAGE}"


class Trace:
    """The changes that a scenario makes in its folder, in order, with paths relative to it."""

    def __init__(self, folder: Path, calls: tuple[Call, ...]) -> None:
        self.folder = folder
        self.calls = [call for call in calls if call.changes and call.succeeded]

    def places(self, names: tuple[str, ...], *paths: str) -> list[int]:
        """Return the places of the calls ``names`` that concern ``paths``: all of them, in order."""
        wanted = [str(self.folder / path) if path else str(self.folder) for path in paths]
        return [
            place
            for place, call in enumerate(self.calls)
            if call.name in names and [_RANDOM.sub("", path) for path in call.paths] == wanted
        ]

    def place(self, names: tuple[str, ...], *paths: str) -> int:
        """Return the place of the one such call."""
        found = self.places(names, *paths)
        assert len(found) == 1, f"{names} {paths} is called {len(found)} times in:\n{self}"
        return found[0]

    def syncs(self, path: str, after: int, before: int) -> bool:
        """Return True if ``path`` is forced to the disk between two places."""
        return any(after < place < before for place in self.places(SYNC, path))

    def __str__(self) -> str:
        return "\n".join(f"{place}: {call}" for place, call in enumerate(self.calls)).replace(f"{self.folder}/", "")


@pytest.fixture
def traced(tmp_path: Path, tracer: None) -> Callable[[str], Trace]:
    def run(scenario: str) -> Trace:
        folder = tmp_path / "out"
        begin(folder)
        ended = run_traced(scenario, folder, tmp_path / "trace")
        assert ended.code == 0, ended.said
        return Trace(folder, ended.calls)

    return run


def written(trace: Trace, name: str) -> tuple[int, int]:
    """Return the places of the write and of the rename of a file that is written whole or not at all."""
    parent, _, last = name.rpartition("/")
    temporary = f"{parent}/.{last}.tmp".lstrip("/")
    return trace.place(WRITE, temporary), trace.place(RENAME, temporary, name)


@pytest.mark.parametrize(
    ("scenario", "item_id", "files"),
    [("publish_new", "c", ["c/first.txt", "c/second/more.txt"]), ("publish_again", "a", ["a/kept.txt", "a/new.txt"])],
)
def test_outputs_are_forced_to_the_disk_before_they_are_renamed_and_the_record_comes_last(
    traced: Callable[[str], Trace], scenario: str, item_id: str, files: list[str]
) -> None:
    trace = traced(scenario)
    private = f".headrace/private/run/{item_id}"
    record_written, record_renamed = written(trace, f"{_RECORDS}/{item_id}.json")
    renames = [trace.place(RENAME, f"{private}/{name}", name) for name in files]
    for name, rename in zip(files, renames, strict=True):
        assert trace.syncs(f"{private}/{name}", -1, min(renames)), f"{name} is renamed too early:\n{trace}"
        for folder in {str(parent) for parent in Path(name).parents} - {"."}:
            assert trace.syncs(folder, rename, record_written), f"{folder} is not on the disk:\n{trace}"
    assert max(renames) < record_written
    assert trace.syncs(f"{_RECORDS}/.{item_id}.json.tmp", record_written, record_renamed), str(trace)
    stale_removed = trace.place(REMOVE, f"{_RECORDS}/{item_id}.stale")
    assert trace.syncs(_RECORDS, record_renamed, stale_removed), f"the record's name is not on the disk:\n{trace}"


def test_a_new_folder_is_forced_to_the_disk_in_its_parent(traced: Callable[[str], Trace]) -> None:
    trace = traced("publish_new")
    made = trace.place(MAKE, "c")
    assert trace.syncs("", made, written(trace, f"{_RECORDS}/c.json")[0]), str(trace)


def test_the_old_record_is_gone_from_the_disk_before_the_first_output_is_replaced(
    traced: Callable[[str], Trace],
) -> None:
    trace = traced("publish_again")
    stale_written, stale_renamed = written(trace, f"{_RECORDS}/a.stale")
    removed = trace.place(REMOVE, f"{_RECORDS}/a.json")
    first = trace.place(RENAME, ".headrace/private/run/a/a/kept.txt", "a/kept.txt")
    assert trace.syncs(f"{_RECORDS}/.a.stale.tmp", stale_written, stale_renamed), str(trace)
    assert stale_renamed < removed
    assert trace.syncs(_RECORDS, removed, first), f"the old record may be back beside new outputs:\n{trace}"


@pytest.mark.parametrize("scenario", ["publish_new", "publish_again"])
def test_nothing_is_written_at_its_final_name(traced: Callable[[str], Trace], scenario: str) -> None:
    """A copy, or a write in place, could be there in part."""
    trace = traced(scenario)
    own = (str(trace.folder / ".headrace/private"), str(trace.folder / ".headrace/records/stage/."))
    for call in trace.calls:
        if call.name in (*OPEN, *WRITE):
            assert call.paths[0].startswith(own), f"{call} writes at a final name"


def test_published_files_are_those_that_the_item_wrote(tmp_path: Path) -> None:
    private = write_outputs(tmp_path, "c", NEW)
    (tmp_path / _RECORDS).mkdir(parents=True)
    inode = (private / "c/first.txt").stat().st_ino
    publish_outputs(tmp_path, "c", NEW)
    assert (tmp_path / "c/first.txt").stat().st_ino == inode


def test_an_item_is_not_done_any_more_before_its_outputs_are_removed(traced: Callable[[str], Trace]) -> None:
    trace = traced("remove_others")
    withdrawn = trace.place(RENAME, f"{_RECORDS}/gone.json", f"{_RECORDS}/gone.stale")
    outputs = [trace.place(REMOVE, name) for name in ("gone/one.txt", "gone/two.txt")]
    assert trace.syncs(_RECORDS, withdrawn, min(outputs)), f"a record without outputs may be left:\n{trace}"
    forgotten = trace.place(REMOVE, f"{_RECORDS}/gone.stale")
    assert trace.syncs("", max(outputs), forgotten), f"outputs that nobody knows may be back:\n{trace}"


def test_files_that_an_item_gave_up_are_gone_from_the_disk_before_they_are_forgotten(
    traced: Callable[[str], Trace],
) -> None:
    trace = traced("publish_again")
    given_up = trace.place(REMOVE, "a/given-up.txt")
    assert trace.syncs("a", given_up, trace.place(REMOVE, f"{_RECORDS}/a.stale")), str(trace)


def test_a_lock_is_whole_when_it_appears(traced: Callable[[str], Trace]) -> None:
    """Another run that looks at it in that moment must be able to read whose it is."""
    trace = traced("lock")
    lock = str(trace.folder / ".headrace/lock")
    appears = [
        place for place, call in enumerate(trace.calls) if call.paths[-1] == lock and call.name in (*MAKE, *RENAME)
    ]
    assert len(appears) == 1, str(trace)
    source = trace.calls[appears[0]].paths[0]
    writes = [place for place, call in enumerate(trace.calls) if call.name in WRITE and call.paths[0] == source]
    assert writes, str(trace)
    assert max(writes) < appears[0], str(trace)
    assert not [call for call in trace.calls if call.name in (*OPEN, *WRITE) and call.paths[0] == lock], str(trace)
