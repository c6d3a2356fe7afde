"""Make one system call of a scenario fail, or kill the process at it, and check what is left.

``python -m tests.engine.injection`` does it at every call with every error; the tests take one error for each call.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.engine.maintenance import find_broken_outputs
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Record
from tests.engine.scenarios import GONE, ITEMS, NEW, SCENARIOS, STAGE, begin, content, run_all, store_in
from tests.engine.syscalls import READ, Call, Ended, run_traced, spoil

ERRORS = ("ENOSPC", "EIO", "ESTALE", "KILL")
_WRITTEN = ("summary.json", "failures.json")
_TREE_OF_RUN = {"report.html", "summary.json", "failures.json", "items.parquet"}


@dataclass(frozen=True)
class Point:
    """One call of a scenario and what happens to it."""

    scenario: str
    call: Call
    how: str

    def __str__(self) -> str:
        return f"{self.scenario}, {self.how} at {self.call}"


@contextmanager
def quick_folder() -> Iterator[Path]:
    """Yield a new folder in memory if there is such a filesystem: calls are the same there, and fsync takes no time."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="headrace-injection-", dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def undisturbed(scenario: str, work: Path) -> tuple[list[Call], dict[str, str]]:
    """Run a scenario in peace; returns its calls and what it leaves."""
    folder = work / "peace" / "out"
    begin(folder)
    ended = run_traced(scenario, folder, work / "trace-of-peace")
    assert ended.code == 0, ended.said
    check(folder)
    return list(ended.calls), state(folder)


def points(scenario: str, calls: Sequence[Call]) -> Iterator[Point]:
    """Yield every error at every call; of reads that follow one another from one file, only the first is taken."""
    earlier: Call | None = None
    for call in calls:
        repeats = earlier is not None and call.name in READ and (earlier.name, earlier.paths) == (call.name, call.paths)
        earlier = call
        for how in ERRORS if call.changes else ("EIO", "ESTALE"):
            if not repeats:
                yield Point(scenario, call, how)


def disturb(point: Point, peace: Mapping[str, str], work: Path) -> list[str]:
    """Return what does not hold when ``point`` happens to a scenario."""
    work.mkdir(parents=True)
    folder = work / "out"
    begin(folder)
    before = store_in(folder).load()
    ended = run_traced(point.scenario, folder, work / "trace", spoil(point.call, point.how))
    problems = [*_problems_of_end(point, ended, folder, peace)]
    try:
        check(folder, before)
        run_all(folder)
        check(folder)
        assert clean(folder) == {}, f"left after the next run: {clean(folder)}"
        keys = {item_id: record.key for item_id, record in store_in(folder).load().items()}
        assert keys == dict.fromkeys(ITEMS, NEW), f"the next run leaves {keys}"
    except AssertionError as error:
        problems.append(str(error))
    shutil.rmtree(work)
    return [f"{point}: {problem}" for problem in problems]


def _problems_of_end(point: Point, ended: Ended, folder: Path, peace: Mapping[str, str]) -> Iterator[str]:
    if point.how == "KILL":
        if ended.code != -signal.SIGKILL:
            yield f"not killed: {ended.code} {ended.said}"
    elif ended.is_refused:
        if "\n" in ended.said or "Traceback" in ended.said:
            yield f"more than a line: {ended.said}"
    elif ended.code:
        yield f"a traceback: {ended.said}"
    elif differences := _differences(state(folder), peace):
        yield f"ended well, but these differ: {differences}"


def _differences(found: Mapping[str, str], peace: Mapping[str, str]) -> list[str]:
    """Return the files that differ, but for those that the next run removes or takes over."""
    names = {name for name in found.keys() | peace.keys() if found.get(name) != peace.get(name)}
    return sorted(
        name for name in names if not name.startswith((".headrace/private/", ".headrace/lock", ".headrace/.lock"))
    )


def check(folder: Path, before: Mapping[str, Record] | None = None) -> None:
    """Raise AssertionError unless each item is done, with all its files, or not done, and no file is unknown."""
    store = store_in(folder)
    records = store.load()
    assert list(find_broken_outputs(Layout(folder))) == [], f"verify: {list(find_broken_outputs(Layout(folder)))}"
    for item_id, record in records.items():
        for output in record.outputs:
            text = (folder / output.path).read_text()
            assert text == content(item_id, record.key, output.path), f"{output.path} is not of {record.key}"
    known = {output.path for record in records.values() for output in record.outputs}
    known |= {path for item_id in store._list_ids(".stale") for path in store._collect_paths(item_id)}
    visible = {name for name in _files(folder) if not name.startswith(".")} - _TREE_OF_RUN
    assert visible <= known, f"files that nobody knows: {visible - known}"
    for name in _WRITTEN:
        if (folder / name).exists():
            json.loads((folder / name).read_bytes())
    if before is not None:
        lost = before.keys() - records.keys() - store._list_ids(".stale")
        assert lost <= {GONE, "a"}, f"records are lost without a trace: {lost}"


def state(folder: Path) -> dict[str, str]:
    """Return the content of every file below ``folder``; records without what differs from run to run."""
    found = {}
    for name in _files(folder):
        text = (folder / name).read_text(errors="replace")
        if name.startswith(".headrace/records/") and name.endswith(".json"):
            text = json.dumps({**json.loads(text), "usage": None})
        found[name] = text
    return found


def clean(folder: Path) -> dict[str, str]:
    """Return the files that a finished run must not leave."""
    good = (f".headrace/records/{STAGE}/", f".headrace/failures/{STAGE}/", ".headrace/runs/")
    return {
        name: text
        for name, text in state(folder).items()
        if name.startswith(".") and (not name.startswith(good) or not name.endswith(".json") or "/." in name[1:])
    }


def _files(folder: Path) -> set[str]:
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return {path.relative_to(folder).as_posix() for path in paths}


def main(arguments: Sequence[str] | None = None) -> int:
    """Disturb every scenario at every call; 1 if something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=list(SCENARIOS))
    wanted = parser.parse_args(arguments)
    tally, problems, begun = Counter[str](), list[str](), time.monotonic()
    with quick_folder() as folder:
        for scenario in wanted.scenarios:
            calls, peace = undisturbed(scenario, folder / scenario)
            for number, point in enumerate(points(scenario, calls)):
                found = disturb(point, peace, folder / scenario / str(number))
                tally[point.how] += 1
                problems += found
                print(*found, sep="\n", end="\n" if found else "", file=sys.stderr, flush=True)
    seconds = time.monotonic() - begun
    print(f"{tally.total()} injections in {seconds:.0f} s ({dict(tally)}), {len(problems)} problems")
    return int(bool(problems))


if __name__ == "__main__":
    raise SystemExit(main())
