"""Check the order of system calls of publishing, removing and locking with strace.

After a power loss only synced data is certain to exist. The order proves that an item is then either done or not done.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.scenarios import NEW, STAGE, create_earlier_run, publish_outputs, write_outputs
from tests.engine.syscalls import MAKE, OPEN, REMOVE, RENAME, SYNC, WRITE, Call, run_traced

_RANDOM = re.compile(r"\.[0-9a-f]{12}")
_RECORDS = f".headrace/records/{STAGE}"


class Trace:
    """Changes that a scenario makes in its folder, in order, with paths relative to it."""

    def __init__(self, folder: Path, calls: tuple[Call, ...]) -> None:
        self.folder = folder
        self.calls = [call for call in calls if call.changes and call.succeeded]

    def find_places(self, names: tuple[str, ...], *paths: str) -> list[int]:
        """Return the places of the calls ``names`` that concern ``paths``, in order."""
        wanted = [str(self.folder / path) if path else str(self.folder) for path in paths]
        return [
            place
            for place, call in enumerate(self.calls)
            if call.name in names and [_RANDOM.sub("", path) for path in call.paths] == wanted
        ]

    def find_place(self, names: tuple[str, ...], *paths: str) -> int:
        """Return the place of the only such call."""
        find_places = self.find_places(names, *paths)
        assert len(find_places) == 1, f"{names} {paths} is called {len(find_places)} times in:\n{self}"
        return find_places[0]

    def is_synced(self, path: str, after: int, before: int) -> bool:
        """Return True if ``path`` is synced between two places."""
        return any(after < place < before for place in self.find_places(SYNC, path))

    def __str__(self) -> str:
        return "\n".join(f"{place}: {call}" for place, call in enumerate(self.calls)).replace(f"{self.folder}/", "")


@pytest.fixture
def trace_scenario(tmp_path: Path, tracer: None) -> Callable[[str], Trace]:
    def run(scenario: str) -> Trace:
        folder = tmp_path / "out"
        create_earlier_run(folder)
        ended = run_traced(scenario, folder, tmp_path / "trace")
        assert ended.code == 0, ended.message
        return Trace(folder, ended.calls)

    return run


def find_write(trace: Trace, name: str) -> tuple[int, int]:
    """Return the places of the write and of the rename of an atomically written file."""
    parent, _, last = name.rpartition("/")
    temporary = f"{parent}/.{last}.tmp".lstrip("/")
    return trace.find_place(WRITE, temporary), trace.find_place(RENAME, temporary, name)


@pytest.mark.parametrize(
    ("scenario", "item_id", "files"),
    [
        ("publish_new", "c", ["c/first.txt", "c/second/more.txt"]),
        ("publish_first", "c", ["c/first.txt", "c/second/more.txt"]),
        ("publish_again", "a", ["a/kept.txt", "a/new.txt"]),
    ],
)
def test_outputs_are_synced_before_their_rename_and_the_record_comes_last(
    trace_scenario: Callable[[str], Trace], scenario: str, item_id: str, files: list[str]
) -> None:
    trace = trace_scenario(scenario)
    private = f".headrace/private/run/{item_id}"
    record_written, record_renamed = find_write(trace, f"{_RECORDS}/{item_id}.json")
    renames = [trace.find_place(RENAME, f"{private}/{name}", name) for name in files]
    for name, rename in zip(files, renames, strict=True):
        assert trace.is_synced(f"{private}/{name}", -1, min(renames)), f"{name} is renamed too early:\n{trace}"
        for folder in {str(parent) for parent in Path(name).parents} - {"."}:
            assert trace.is_synced(folder, rename, record_written), f"{folder} is not on the disk:\n{trace}"
    assert find_write(trace, f"{_RECORDS}/{item_id}.stale")[1] < min(renames), f"a kill leaves unlisted files:\n{trace}"
    assert max(renames) < record_written
    assert trace.is_synced(f"{_RECORDS}/.{item_id}.json.tmp", record_written, record_renamed), str(trace)
    stale_removed = trace.find_place(REMOVE, f"{_RECORDS}/{item_id}.stale")
    assert trace.is_synced(_RECORDS, record_renamed, stale_removed), f"the record's name is not on the disk:\n{trace}"


@pytest.mark.parametrize("scenario", ["publish_new", "publish_first"])
def test_new_folder_is_synced_in_its_parent(trace_scenario: Callable[[str], Trace], scenario: str) -> None:
    trace = trace_scenario(scenario)
    made = trace.find_place(MAKE, "c")
    assert trace.is_synced("", made, find_write(trace, f"{_RECORDS}/c.json")[0]), str(trace)


def test_old_record_is_removed_and_synced_before_outputs_are_replaced(
    trace_scenario: Callable[[str], Trace],
) -> None:
    trace = trace_scenario("publish_again")
    stale_written, stale_renamed = find_write(trace, f"{_RECORDS}/a.stale")
    removed = trace.find_place(REMOVE, f"{_RECORDS}/a.json")
    first = trace.find_place(RENAME, ".headrace/private/run/a/a/kept.txt", "a/kept.txt")
    assert trace.is_synced(f"{_RECORDS}/.a.stale.tmp", stale_written, stale_renamed), str(trace)
    assert stale_renamed < removed
    assert trace.is_synced(_RECORDS, removed, first), f"the old record may reappear with new outputs:\n{trace}"


@pytest.mark.parametrize("scenario", ["publish_new", "publish_again"])
def test_no_file_is_written_at_its_final_name(trace_scenario: Callable[[str], Trace], scenario: str) -> None:
    """A copy, or a write in place, could be incomplete after a power loss."""
    trace = trace_scenario(scenario)
    own = (str(trace.folder / ".headrace/private"), str(trace.folder / ".headrace/records/stage/."))
    for call in trace.calls:
        if call.name in (*OPEN, *WRITE):
            assert call.paths[0].startswith(own), f"{call} writes at a final name"


def test_published_files_are_moved_not_copied(tmp_path: Path) -> None:
    private = write_outputs(tmp_path, "c", NEW)
    (tmp_path / _RECORDS).mkdir(parents=True)
    inode = (private / "c/first.txt").stat().st_ino
    publish_outputs(tmp_path, "c", NEW)
    assert (tmp_path / "c/first.txt").stat().st_ino == inode


def test_record_is_withdrawn_before_its_outputs_are_removed(trace_scenario: Callable[[str], Trace]) -> None:
    trace = trace_scenario("remove_others")
    withdrawn = trace.find_place(RENAME, f"{_RECORDS}/gone.json", f"{_RECORDS}/gone.stale")
    outputs = [trace.find_place(REMOVE, name) for name in ("gone/one.txt", "gone/two.txt")]
    assert trace.is_synced(_RECORDS, withdrawn, min(outputs)), f"a record without outputs may be left:\n{trace}"
    forgotten = trace.find_place(REMOVE, f"{_RECORDS}/gone.stale")
    assert trace.is_synced("", max(outputs), forgotten), f"outputs without a record may reappear:\n{trace}"


def test_dropped_outputs_are_removed_and_synced_before_they_are_forgotten(
    trace_scenario: Callable[[str], Trace],
) -> None:
    trace = trace_scenario("publish_again")
    given_up = trace.find_place(REMOVE, "a/given-up.txt")
    assert trace.is_synced("a", given_up, trace.find_place(REMOVE, f"{_RECORDS}/a.stale")), str(trace)


def test_lock_file_appears_complete(trace_scenario: Callable[[str], Trace]) -> None:
    """Another run that reads it at that moment must find its owner."""
    trace = trace_scenario("lock")
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
