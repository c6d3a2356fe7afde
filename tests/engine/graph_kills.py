"""Run a graph in a child process that kills itself at one change of the disk, and check the next run.

The graph has every kind of edge: downloads that are dropped, parts and wholes, previews, and a table.
``make chaos`` kills at every change; the tests take some of them.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Done, Graph, Whole
from tasks.engine.run import open_output_dir
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import FailureKind, Outcome, Record, Usage
from tasks.engine.store.publish import collect_outputs, publish
from tasks.engine.store.records import RecordStore
from tests.engine.injection import create_fast_folder
from tests.engine.simulation import Simulation, create_stage, follow
from tests.runs.bench import hash_files, load_records

PARTS = 2
BROKEN: Mapping[str, FailureKind] = {"segment/z_1": "bad_input"}
_CHANGES = ("replace", "unlink", "rmdir", "fsync", "mkdir")


def build_graph(tapes: Iterable[str]) -> Graph:
    """Return a graph with dropped downloads, stars, a table; tapes, their segments, joined tapes, and previews."""
    graph = Graph()
    fetched = graph.node(create_stage("download", "io"), [Item(name) for name in "ab"], keeps=False)
    stars = graph.node(create_stage("star"), after=fetched, each=follow)
    graph.table(create_stage("table"), after=stars, collect=_collect)
    measured = graph.node(create_stage("measure"), [Item(name) for name in tapes])
    segments = graph.parts(create_stage("segment"), after=measured)
    joined = graph.node(create_stage("tape"), after=measured, each=_gather, parts=segments)
    graph.node(create_stage("preview"), after=joined, each=follow)
    return graph


def _collect(records: Iterable[Record]) -> list[Item]:
    return [Item("table", {"of": [output.sha256 for record in records for output in record.outputs]})]


def _gather(measured: Done) -> Whole:
    parts = [Item(f"{measured.id}_{number}", {"from": measured.digests}) for number in range(PARTS)]
    return Whole(Item(measured.id, {"from": measured.digests}), lambda: parts)


class PublishingRun(Simulation):
    """A run that publishes as slots do: from a private folder. Each item has two files."""

    def write(self, key: str, seconds: float = 1.0) -> Outcome:
        """Publish the outputs and the record of a running item."""
        node, planned = self.running[key]
        private = self.layout.private / "run" / node.name / planned.item.id
        for name in ("note.txt", "more/data.txt"):
            path = private / node.name / planned.item.id / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{key} {name} {planned.item.payload}")
        outputs, usage = collect_outputs(private), Usage(seconds=seconds)
        record = Record(planned.item.id, node.name, 1, planned.key, outputs, {}, {}, usage, 1, "run")
        publish(private, record, node.store)
        return Outcome.of_record(record)


def run_graph(folder: Path, tapes: str, slots: int = 2) -> list[str]:
    """Run the graph to its end in ``folder``; return ``stage/id`` of the items that were started."""
    with open_output_dir(Layout(folder), "run"):
        run = PublishingRun(folder, build_graph(tapes))
        started = run.run(slots, BROKEN)
        run.end()
        return started


def _run_and_die(folder: Path, tapes: str, step: int) -> None:
    """Run the graph and die just before the change number ``step``; write the number of changes if it is reached."""
    count = 0

    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return wrapped

    for name in _CHANGES:
        setattr(os, name, wrap(getattr(os, name)))
    run_graph(folder, tapes)
    folder.with_suffix(".count").write_text(str(count))


@cache
def _get_server() -> ForkServerContext:
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.engine.graph_kills"])
    return context


def _start(folder: Path, tapes: str, step: int) -> int:
    process = _get_server().Process(target=_run_and_die, args=(folder, tapes, step), daemon=True)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


@dataclass(frozen=True)
class Reference:
    """The results of an undisturbed run, and its number of changes."""

    tapes: str
    changes: int
    files: Mapping[str, str]
    records: Mapping[str, Any]


def run_undisturbed(work: Path, tapes: str) -> Reference:
    """Run the graph without a kill."""
    folder = work / "undisturbed"
    assert _start(folder, tapes, 0) == 0
    changes = int(folder.with_suffix(".count").read_text())
    return Reference(tapes, changes, hash_files(folder), load_records(folder))


def kill_at(work: Path, reference: Reference, step: int) -> list[str]:
    """Kill a run before the change number ``step``, run again, and return descriptions of violated guarantees."""
    folder = work / f"killed-{step}"
    code = _start(folder, reference.tapes, step)
    # The number of changes varies by a few, because folders are synced in any order.
    assert code == -signal.SIGKILL or (code == 0 and step > 0.95 * reference.changes)
    done, problems = _read_done(folder)
    again = set(run_graph(folder, reference.tapes)) & done
    if again:
        problems.append(f"done items ran again: {sorted(again)}")
    if hash_files(folder) != reference.files:
        problems.append(f"outputs differ: {sorted(hash_files(folder).items() ^ reference.files.items())}")
    if load_records(folder) != reference.records:
        problems.append(f"records differ: {sorted(load_records(folder).keys() ^ reference.records.keys())}")
    if leftovers := _find_leftovers(folder):
        problems.append(f"left: {leftovers}")
    shutil.rmtree(folder)
    return [f"{reference.tapes}, killed at {step}: {problem}" for problem in problems]


def _read_done(folder: Path) -> tuple[set[str], list[str]]:
    """Return the items that are done after a kill, and those whose outputs do not match their record."""
    done, torn = set[str](), list[str]()
    layout = Layout(folder)
    for stage in layout.tree.folders(".headrace/records"):
        store = RecordStore(layout, stage)
        for item_id, record in store.load().items():
            done.add(f"{stage}/{item_id}")
            if not (record.dropped or store.has_intact_outputs(record, "digest")):
                torn.append(f"{stage}/{item_id} is torn")
    return done, torn


def _find_leftovers(folder: Path) -> list[str]:
    state = folder / ".headrace"
    found = [*folder.rglob("*.tmp"), *folder.rglob("*.stale"), *(state / "private").iterdir(), *state.glob("*lock*")]
    empty = [path for path in folder.rglob("*") if path.is_dir() and state not in (path, *path.parents)]
    return [str(path.relative_to(folder)) for path in (*found, *(path for path in empty if not any(path.iterdir())))]


def main() -> int:
    """Kill at every change of both graphs; return 1 if a guarantee is violated."""
    start, count, problems = time.monotonic(), 0, list[str]()
    with create_fast_folder() as work:
        for tapes in ("x", "xz"):
            reference = run_undisturbed(work / tapes, tapes)
            for step in range(1, reference.changes + 1):
                new_problems = kill_at(work / tapes, reference, step)
                count += 1
                problems += new_problems
                print(*new_problems, sep="\n", end="\n" if new_problems else "", file=sys.stderr, flush=True)
    print(f"{count} kills in a graph in {time.monotonic() - start:.0f} s, {len(problems)} problems")
    return int(bool(problems))
