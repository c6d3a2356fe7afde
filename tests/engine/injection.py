"""Make one system call of a scenario fail, or kill the process at it, and check the files that are left.

``python -m tests.engine.injection`` takes every call with every error; the tests take each call with one error.
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
from tests.engine.scenarios import (
    GONE,
    ITEMS,
    NEW,
    SCENARIOS,
    STAGE,
    build_content,
    create_earlier_run,
    open_store,
    run_all,
)
from tests.engine.syscalls import READ, Call, TraceResult, build_injection, run_traced

ERRORS = ("ENOSPC", "EIO", "ESTALE", "KILL")
_WRITTEN = ("summary.json", "failures.json")
_TREE_OF_RUN = {"report.html", "summary.json", "failures.json", "items.parquet"}


@dataclass(frozen=True)
class Point:
    """Call of a scenario and its failure."""

    scenario: str
    call: Call
    how: str

    def __str__(self) -> str:
        return f"{self.scenario}, {self.how} at {self.call}"


@contextmanager
def create_fast_folder() -> Iterator[Path]:
    """Yield a new folder in memory if possible: system calls are the same there, and fsync takes no time."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="headrace-injection-", dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def run_undisturbed(scenario: str, work: Path) -> tuple[list[Call], dict[str, str]]:
    """Run a scenario without failures; return its calls and the files that it leaves."""
    folder = work / "undisturbed" / "out"
    create_earlier_run(folder)
    result = run_traced(scenario, folder, work / "trace-undisturbed")
    assert result.code == 0, result.message
    check(folder)
    return list(result.calls), read_state(folder)


def list_points(scenario: str, calls: Sequence[Call]) -> Iterator[Point]:
    """Yield every error at every call; of consecutive reads from one file, only the first is taken."""
    earlier: Call | None = None
    for call in calls:
        repeats = earlier is not None and call.name in READ and (earlier.name, earlier.paths) == (call.name, call.paths)
        earlier = call
        for how in ERRORS if call.changes else ("EIO", "ESTALE"):
            if not repeats:
                yield Point(scenario, call, how)


def inject(point: Point, expected: Mapping[str, str], work: Path) -> list[str]:
    """Run a scenario with the failure ``point``; return descriptions of violated guarantees."""
    work.mkdir(parents=True)
    folder = work / "out"
    create_earlier_run(folder)
    before = open_store(folder).load()
    result = run_traced(point.scenario, folder, work / "trace", build_injection(point.call, point.how))
    problems = [*_check_end(point, result, folder, expected)]
    try:
        check(folder, before)
        run_all(folder)
        check(folder)
        assert find_leftovers(folder) == {}, f"left after the next run: {find_leftovers(folder)}"
        keys = {item_id: record.key for item_id, record in open_store(folder).load().items()}
        assert keys == dict.fromkeys(ITEMS, NEW), f"the next run leaves {keys}"
    except AssertionError as error:
        problems.append(str(error))
    shutil.rmtree(work)
    return [f"{point}: {problem}" for problem in problems]


def _check_end(point: Point, result: TraceResult, folder: Path, expected: Mapping[str, str]) -> Iterator[str]:
    if point.how == "KILL":
        if result.code != -signal.SIGKILL:
            yield f"not killed: {result.code} {result.message}"
    elif result.is_refused:
        if "\n" in result.message or "Traceback" in result.message:
            yield f"more than one line: {result.message}"
    elif result.code:
        yield f"a traceback: {result.message}"
    elif differences := _compare(read_state(folder), expected):
        yield f"ended well, but these differ: {differences}"


def _compare(actual: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Return the files that differ, without those that the next run removes or takes over."""
    names = {name for name in actual.keys() | expected.keys() if actual.get(name) != expected.get(name)}
    return sorted(
        name for name in names if not name.startswith((".headrace/private/", ".headrace/lock", ".headrace/.lock"))
    )


def check(folder: Path, before: Mapping[str, Record] | None = None) -> None:
    """Raise AssertionError unless each item is done with all its files, or not done, and all files belong to items."""
    store = open_store(folder)
    records = store.load()
    assert list(find_broken_outputs(Layout(folder))) == [], f"verify: {list(find_broken_outputs(Layout(folder)))}"
    for item_id, record in records.items():
        for output in () if record.dropped else record.outputs:
            text = (folder / output.path).read_text()
            assert text == build_content(item_id, record.key, output.path), f"{output.path} is not of {record.key}"
    expected_paths = {output.path for record in records.values() for output in record.outputs}
    expected_paths |= {path for item_id in store._list_ids(".stale") for path in store._collect_paths(item_id)}
    visible = {name for name in _list_files(folder) if not name.startswith(".")} - _TREE_OF_RUN
    assert visible <= expected_paths, f"files without an item: {visible - expected_paths}"
    for name in _WRITTEN:
        if (folder / name).exists():
            json.loads((folder / name).read_bytes())
    if before is not None:
        lost = before.keys() - records.keys() - store._list_ids(".stale")
        assert lost <= {GONE, "a"}, f"records are lost: {lost}"


def read_state(folder: Path) -> dict[str, str]:
    """Return the content of every file in ``folder``; records without fields that differ between runs."""
    contents = {}
    for name in _list_files(folder):
        text = (folder / name).read_text(errors="replace")
        if name.startswith(".headrace/records/") and name.endswith(".json"):
            text = json.dumps({**json.loads(text), "usage": None})
        contents[name] = text
    return contents


def find_leftovers(folder: Path) -> dict[str, str]:
    """Return the files that a finished run must not leave."""
    good = (f".headrace/records/{STAGE}/", f".headrace/failures/{STAGE}/", ".headrace/runs/")
    return {
        name: text
        for name, text in read_state(folder).items()
        if name.startswith(".") and (not name.startswith(good) or not name.endswith(".json") or "/." in name[1:])
    }


def _list_files(folder: Path) -> set[str]:
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return {path.relative_to(folder).as_posix() for path in paths}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every scenario with a failure at every call; return 1 if a guarantee is violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=list(SCENARIOS))
    options = parser.parse_args(arguments)
    tally, problems, start = Counter[str](), list[str](), time.monotonic()
    with create_fast_folder() as folder:
        for scenario in options.scenarios:
            calls, expected = run_undisturbed(scenario, folder / scenario)
            for number, point in enumerate(list_points(scenario, calls)):
                new_problems = inject(point, expected, folder / scenario / str(number))
                tally[point.how] += 1
                problems += new_problems
                print(*new_problems, sep="\n", end="\n" if new_problems else "", file=sys.stderr, flush=True)
    seconds = time.monotonic() - start
    print(f"{tally.total()} injections in {seconds:.0f} s ({dict(tally)}), {len(problems)} problems")
    return int(bool(problems))


if __name__ == "__main__":
    raise SystemExit(main())
