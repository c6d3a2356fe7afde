"""Kill a process again and again while it publishes: afterwards each item is done or not done, never torn.

The victim publishes items in a loop; each kill comes at a random moment, or between two chosen steps.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.engine.store.layout import Layout
from tasks.engine.store.records import RecordStore
from tasks.engine.store.tree import Tree
from tests.engine.processes import wait_until

ROOT = Path(__file__).resolve().parents[2]
ITEMS = 6

# argv: the output folder, the seed, the number of system calls that change something after which to die (0: never), and
# the number of turns (0: without end).
# Each turn publishes all items with other numbers of other files than the turn before, and notes when it is over.
VICTIM = """
import os, signal, sys
from pathlib import Path
from tests.engine.test_records import publish_files
from tasks.engine.store.layout import Layout
from tasks.engine.store.records import RecordStore

folder, (seed, steps, turns) = Path(sys.argv[1]), map(int, sys.argv[2:])
store = RecordStore(Layout(folder), "stage")
store.prepare()
done = 0

def dying(call):
    def wrapped(*arguments, **options):
        global done
        done += 1
        if done == steps:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return wrapped

if steps:
    os.replace, os.fsync, os.unlink = dying(os.replace), dying(os.fsync), dying(os.unlink)
turn = seed
while not turns or turn < seed + turns:
    turn += 1
    for number in range(6):
        files = {f"made/{number}/{turn % 3}-{file}": f"{turn} {number} {file}" for file in range(1 + turn % 4)}
        with store.holding():  # as a local slot does
            store.look(f"item-{number}")
            publish_files(store, f"item-{number}", files, key=str(turn))
    (folder / "turns").write_text(str(turn))
    store.tidy()
"""


def start_victim(folder: Path, seed: int, steps: int = 0, turns: int = 0) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", VICTIM, *map(str, (folder, seed, steps, turns))]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


def check(folder: Path) -> None:
    """Check that the outputs of every record are intact and of one turn, and that every other file belongs to a
    record."""
    store = RecordStore(Layout(folder), "stage")
    records = store.load()
    for item_id, record in records.items():
        assert store.has_intact_outputs(record, "digest"), item_id
        turns = {(folder / output.path).read_text().split()[0] for output in record.outputs}
        assert turns == {record.key}
    recorded_paths = {output.path for record in records.values() for output in record.outputs}
    in_the_making = {path for name in store._list_ids(".stale") for path in store._collect_paths(name)}
    made = {path.relative_to(folder).as_posix() for path in (folder / "made").rglob("*") if path.is_file()}
    assert made <= recorded_paths | in_the_making, "files without a record"
    if (folder / "turns").exists():  # every item was done
        assert set(records) | store._list_ids(".stale") == {f"item-{number}" for number in range(ITEMS)}


def recover(folder: Path, seed: int) -> None:
    """Publish everything once more, as the next run would, and check that the killed process left no file."""
    Tree(folder).remove_temporary(".headrace/records/stage")
    shutil.rmtree(folder / ".headrace/private")
    with start_victim(folder, seed + 100, turns=1) as survivor:
        assert survivor.wait() == 0
    check(folder)
    assert [*folder.rglob("*.tmp"), *folder.rglob("*.stale")] == []


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_a_random_moment(tmp_path: Path, seed: int) -> None:
    generator = random.Random(seed)
    with start_victim(tmp_path, seed) as victim:
        wait_until((tmp_path / "turns").exists, "a turn")
        for _ in range(generator.randrange(1, 2000)):  # a random delay
            assert victim.poll() is None
        victim.kill()
        assert victim.wait() == -signal.SIGKILL
    check(tmp_path)
    recover(tmp_path, seed)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 17, 23, 40, 61, 62, 63, 64, 65, 66])
def test_killed_between_two_steps(tmp_path: Path, steps: int) -> None:
    with start_victim(tmp_path, steps, steps) as victim:
        assert victim.wait() == -signal.SIGKILL
    check(tmp_path)
