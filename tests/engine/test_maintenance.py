"""Repair by hand, through its command line, in a folder that the engine itself has filled."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.planning.plan import plan_stage
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.shard import run_shard
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.store.layout import Layout
from tasks.engine.store.lock import hold_lock
from tasks.engine.store.records import RecordStore
from tests.engine.faults import FaultParams, FaultStage

ROOT = Path(__file__).resolve().parents[2]
STAGE = FaultStage(FaultParams())


def run(output_dir: Path, run_id: str, **actions: str) -> None:
    """Run items by id, each doing its action, in a folder that keeps what earlier runs did."""
    store = RecordStore(Layout(output_dir), STAGE.name)
    items = [Item(item_id, {"do": action}) for item_id, action in actions.items()]
    planned = plan_stage(STAGE, items, store, Execution())
    context = RunContext(run_id, output_dir, Limits(60.0, 1 << 30))
    run_shard(ShardOrder(context, STAGE, planned.todo), lambda _: None)
    close_slots(run_id)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder of two done items and a failed one."""
    run(tmp_path / "out", "run-1", one="write", two="write", bad="raise")
    return tmp_path / "out"


def engine(*words: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and error of ``python -m tasks.engine``."""
    command = [sys.executable, "-m", "tasks.engine", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return done.returncode, done.stdout, done.stderr


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_list_names_what_is_done_and_what_has_failed(output: Path) -> None:
    code, text, _ = engine("list", output)
    assert code == 0
    assert [line.split("  ")[:3] for line in text.splitlines()] == [
        ["faults", "bad", "failed"],
        ["faults", "one", "done"],
        ["faults", "two", "done"],
    ]


def test_show_tells_every_try_of_an_item(output: Path) -> None:
    run(output, "run-2", bad="raise")
    run(output, "run-3", bad="write")
    code, text, _ = engine("show", output, "bad")
    assert code == 0
    tries = [line for line in text.splitlines() if "  run run-" in line]
    assert [("failed" in line, line.partition("  run ")[2].split()[0]) for line in tries] == [
        (True, "run-1"),
        (True, "run-2"),
        (False, "run-3"),
    ]


def test_verify_finds_what_is_altered_and_what_is_missing(output: Path) -> None:
    assert engine("verify", output)[:2] == (0, "all outputs match their records\n")
    note = output / "made/one/note.txt"
    note.write_bytes(note.read_bytes().swapcase())
    (output / "made/two/note.txt").unlink()
    code, text, _ = engine("verify", output)
    assert code == 3
    assert "faults  one  altered  made/one/note.txt" in text
    assert "faults  two  missing  made/two/note.txt" in text


def test_forget_says_what_it_would_do_and_does_it_when_told(output: Path) -> None:
    before = files(output)
    code, text, _ = engine("forget", output, "one", "--outputs")
    assert (code, files(output)) == (0, before)
    assert "would forget faults one" in text
    assert engine("forget", output, "one", "--outputs", "--yes")[0] == 0
    assert before - files(output) == {
        ".headrace/records/faults/one.json",
        "made/one/note.txt",
        "made/one/more/data.bin",
    }
    assert not (output / "made/one").exists()


def test_forgetting_does_not_reach_beyond_the_output_folder(output: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("x")
    record = output / ".headrace/records/faults/one.json"
    record.write_text(record.read_text().replace("made/one/note.txt", "../precious.txt"))
    engine("forget", output, "one", "--outputs", "--yes")
    assert precious.exists()


def test_sweep_removes_what_dead_runs_left_and_nothing_else(output: Path) -> None:
    before = files(output)
    (output / ".headrace/private/dead-run/faults").mkdir(parents=True)
    (output / ".headrace/private/dead-run/faults/half").write_text("x")
    (output / "made/one/.note.txt.0123456789ab.tmp").write_text("x")
    code, text, _ = engine("sweep", output)
    assert code == 0
    assert "would remove the private folder of run dead-run" in text
    assert engine("sweep", output, "--yes")[0] == 0
    assert files(output) >= {name for name in before if "/private/" not in name}
    assert not any("half" in name or name.endswith(".tmp") for name in files(output))


def test_nothing_is_changed_while_a_run_is_at_work(output: Path) -> None:
    with hold_lock(output / ".headrace/lock", "running"):
        code, _, error = engine("forget", output, "one", "--yes")
    assert code == 2
    assert f"process {os.getpid()}" in error
    assert (output / ".headrace/records/faults/one.json").exists()


def test_mistakes_are_one_line_each(output: Path, tmp_path: Path) -> None:
    code, _, error = engine("forget", output, "nobody", "none")
    assert code == 2
    assert [line.split(";")[0] for line in error.splitlines()] == ["error: nobody: not known", "error: none: not known"]
    code, _, error = engine("list", tmp_path / "elsewhere")
    assert (code, error.count("\n")) == (2, 1)


def note_items(output: Path, **stages: list[str]) -> None:
    """What the last run leaves of its manifest."""
    rows = [(stage, item_id) for stage, ids in stages.items() for item_id in ids]
    columns = {"id": [item_id for _, item_id in rows], "stage": [stage for stage, _ in rows]}
    pq.write_table(pa.table(columns), output / "items.parquet")


def test_prune_removes_what_the_last_manifest_does_not_name(output: Path) -> None:
    note_items(output, faults=["two", "new"])
    before = files(output)
    code, text, _ = engine("prune", output)
    assert code == 0
    assert text.splitlines() == [
        "would remove faults bad with 0 outputs, which is not in the last manifest",
        "would remove faults one with 2 outputs, which is not in the last manifest",
        "nothing was done; --yes does it",
    ]
    assert files(output) == before
    assert engine("prune", output, "--yes")[0] == 0
    gone = before - files(output)
    assert {path for path in gone if not path.startswith(".headrace")} == {
        "made/one/note.txt",
        "made/one/more/data.bin",
    }
    assert not [path for path in files(output) if "/one" in path or "/bad" in path]
    assert "faults  two  done" in engine("list", output)[1]
    assert engine("prune", output)[1] == "nothing to do\n"


def test_prune_leaves_shared_files_and_stages_that_the_last_run_did_not_come_to(output: Path) -> None:
    store = RecordStore(Layout(output), STAGE.name)
    one, two = store.get("one"), store.get("two")
    assert one is not None
    assert two is not None
    store.write(dataclasses.replace(two, outputs=(*two.outputs, one.outputs[0])))
    note_items(output, faults=["two", "bad"])
    assert engine("prune", output, "--yes")[0] == 0
    assert (output / one.outputs[0].path).exists()
    assert not (output / one.outputs[1].path).exists()
    note_items(output, another=["x"])
    assert engine("prune", output)[1] == "nothing to do\n"
    (output / "items.parquet").unlink()
    code, _, error = engine("prune", output)
    assert code == 2
    assert "run the flow once to its end" in error
