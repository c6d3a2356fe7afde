"""Define parts of the engine's work on an output folder, for tests that trace and disturb them.

They use no Prefect, no Dask and no slots.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2

from tasks.engine.maintenance import apply, plan_forget
from tasks.engine.reporting.summary import RunFigures, Summary, summarize
from tasks.engine.run import open_output_dir, write_results
from tasks.engine.store.layout import Layout
from tasks.engine.store.lock import claim_lock, hold_lock
from tasks.engine.store.outcomes import Failure, Outcome, Outcomes, Record, Usage
from tasks.engine.store.publish import collect_outputs, publish
from tasks.engine.store.records import RecordStore
from tasks.engine.store.write_errors import explain_write_error

assert jinja2  # imported here, so that no scenario imports it

STAGE = "stage"
OLD, NEW = "old", "new"
ITEMS = ("a", "b", "c")
GONE = "gone"  # has a record but is not in the manifest

# Files of each item and turn: "a" loses one, keeps one and gets a new one; "b" keeps its file; "c" is new.
FILES = {
    OLD: {"a": ("a/kept.txt", "a/given-up.txt"), "b": ("deep/er/b.txt",), GONE: ("gone/one.txt", "gone/two.txt")},
    NEW: {"a": ("a/kept.txt", "a/new.txt"), "b": ("deep/er/b.txt",), "c": ("c/first.txt", "c/second/more.txt")},
}


@dataclass(frozen=True)
class Scenario:
    """Traced and disturbed function ``act``, and the function ``prepare`` that runs before it."""

    act: Callable[[Path], None]
    prepare: Callable[[Path], object] = lambda folder: None

    @property
    def name(self) -> str:
        """Return the name of the scenario."""
        return self.act.__name__


def open_store(folder: Path) -> RecordStore:
    """Return the record store of the stage."""
    return RecordStore(Layout(folder), STAGE)


def build_content(item_id: str, turn: str, name: str) -> str:
    """Return the content of a file, which names its item and turn."""
    return f"{turn} {item_id} {name}\n" * 20


def get_private_folder(folder: Path, item_id: str) -> Path:
    """Return the private folder of an item's outputs."""
    return Layout(folder).private / "run" / item_id


def write_outputs(folder: Path, item_id: str, turn: str) -> Path:
    """Write the outputs of an item as its process does."""
    private = get_private_folder(folder, item_id)
    for name in FILES[turn][item_id]:
        (private / name).parent.mkdir(parents=True, exist_ok=True)
        (private / name).write_text(build_content(item_id, turn, name))
    return private


def write_first_outputs(folder: Path) -> None:
    """Write the outputs of an item of which no file is left."""
    (folder / f".headrace/failures/{STAGE}/c.json").unlink()
    write_outputs(folder, "c", NEW)


def publish_outputs(folder: Path, item_id: str, turn: str) -> None:
    """Publish the outputs of an item as its slot does."""
    private = get_private_folder(folder, item_id)
    record = Record(item_id, STAGE, 1, turn, collect_outputs(private), {}, {}, Usage(1.0, 1.0), 1, "run")
    store = open_store(folder)
    with store.holding():
        store.look(item_id)
        publish(private, record, store)


def create_earlier_run(folder: Path) -> None:
    """Leave an earlier run's results: three done items, a failed one, and leftovers of a killed run."""
    store = open_store(folder)
    store.prepare()
    for item_id in FILES[OLD]:
        write_outputs(folder, item_id, OLD)
        publish_outputs(folder, item_id, OLD)
    store.write_failure(Failure("c", STAGE, OLD, "timeout", "no result", 1, Usage(), "old"))
    dead = folder / ".headrace/private/dead/deep"
    dead.mkdir(parents=True)
    (dead / "half.bin").write_bytes(b"half")
    (store.folder / ".a.json.0123456789ab.tmp").write_bytes(b"{")


def publish_new(folder: Path) -> None:
    """Publish an item that had only a failure."""
    publish_outputs(folder, "c", NEW)


def publish_first(folder: Path) -> None:
    """Publish an item that had no files."""
    publish_outputs(folder, "c", NEW)


def publish_again(folder: Path) -> None:
    """Publish an item with other files than before, and remove the one that it lost."""
    publish_outputs(folder, "a", NEW)
    open_store(folder).tidy()


def remove_others(folder: Path) -> None:
    """Remove all files of items that are not in the manifest."""
    open_store(folder).tidy(ITEMS)


def discard(folder: Path) -> None:
    """Remove the files of a part whose whole has been joined."""
    open_store(folder).discard(["a"])


def drop(folder: Path) -> None:
    """Remove the outputs of an item that are used up."""
    open_store(folder).drop_outputs("a")


def fail(folder: Path) -> None:
    """Write a failure."""
    open_store(folder).write_failure(Failure("b", STAGE, NEW, "crash", "gone", 1, Usage(), "new"))


def lock(folder: Path) -> None:
    """Hold the lock of the output folder for a moment."""
    try:
        with hold_lock(Layout(folder).state_folder / "lock", "run"):
            pass
    except OSError as error:  # as a run does
        raise explain_write_error(folder, error) from error


def claim(folder: Path) -> None:
    """Hold the claim of an item for a moment."""
    try:
        with claim_lock(Layout(folder).private / "run/claim", "run"):
            pass
    except OSError as error:  # as a slot does
        raise explain_write_error(folder, error) from error


def open_and_close(folder: Path) -> None:
    """Open and close a run: take the lock, sweep leftovers of dead runs, remove the private folder."""
    with open_output_dir(Layout(folder), "run"):
        pass


@cache
def create_results() -> tuple[Summary, Outcomes]:
    """Return the summary and the outcomes of a run. The summary reads versions from many files."""
    outcomes = Outcomes([Outcome("a", STAGE, "done"), Outcome("b", STAGE, "failed", failure_kind="crash")])
    return summarize(RunFigures("flow", "run", 0.0, 1.0, 1, 1, {}), outcomes, 1.0), outcomes


def write_files(folder: Path) -> None:
    """Write the files of every run."""
    write_results(Layout(folder), *create_results(), [])


def forget(folder: Path) -> None:
    """Forget an item manually, with its outputs."""
    layout = Layout(folder)
    apply(layout, plan_forget(layout, ["a"], outputs_too=True))


def run_all(folder: Path) -> None:
    """Run the next run: publish all items in turn NEW, and tidy."""
    with open_output_dir(Layout(folder), "next"):
        open_store(folder).prepare()
        for item_id in ITEMS:
            write_outputs(folder, item_id, NEW)
            publish_outputs(folder, item_id, NEW)
        open_store(folder).tidy(ITEMS)


_ALL = (
    Scenario(publish_new, lambda folder: write_outputs(folder, "c", NEW)),
    Scenario(publish_first, write_first_outputs),
    Scenario(publish_again, lambda folder: write_outputs(folder, "a", NEW)),
    Scenario(remove_others),
    Scenario(discard),
    Scenario(drop),
    Scenario(fail),
    Scenario(lock),
    Scenario(claim, lambda folder: (Layout(folder).private / "run").mkdir(exist_ok=True)),
    Scenario(open_and_close),
    Scenario(write_files, lambda folder: create_results()),
    Scenario(forget),
)
SCENARIOS = {scenario.name: scenario for scenario in _ALL}
