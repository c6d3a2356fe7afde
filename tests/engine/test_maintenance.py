"""Maintain an output folder by the command line, after the engine itself has filled it."""

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


def run_actions(output_dir: Path, run_id: str, **actions: str) -> None:
    """Run items by id, each with its action, and keep the results of earlier runs."""
    store = RecordStore(Layout(output_dir), STAGE.name)
    items = [Item(item_id, {"do": action}) for item_id, action in actions.items()]
    planned = plan_stage(STAGE, items, store, Execution())
    context = RunContext(run_id, output_dir, Limits(60.0, 1 << 30))
    run_shard(ShardOrder(context, STAGE, planned.todo), lambda _: None)
    close_slots(run_id)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Create a folder with two done items and a failed one."""
    run_actions(tmp_path / "out", "run-1", one="write", two="write", bad="raise")
    return tmp_path / "out"


def run_command(*words: str | Path) -> tuple[int, str, str]:
    """Return exit code, standard output and error of ``python -m tasks.engine``."""
    command = [sys.executable, "-m", "tasks.engine", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return done.returncode, done.stdout, done.stderr


def list_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_list_shows_done_and_failed_items(output: Path) -> None:
    code, text, _ = run_command("list", output)
    assert code == 0
    assert [line.split("  ")[:3] for line in text.splitlines()] == [
        ["faults", "bad", "failed"],
        ["faults", "one", "done"],
        ["faults", "two", "done"],
    ]


def test_show_lists_all_attempts_of_an_item(output: Path) -> None:
    run_actions(output, "run-2", bad="raise")
    run_actions(output, "run-3", bad="write")
    code, text, _ = run_command("show", output, "bad")
    assert code == 0
    tries = [line for line in text.splitlines() if "  run run-" in line]
    assert [("failed" in line, line.partition("  run ")[2].split()[0]) for line in tries] == [
        (True, "run-1"),
        (True, "run-2"),
        (False, "run-3"),
    ]


def test_verify_finds_altered_and_missing_outputs(output: Path) -> None:
    assert run_command("verify", output)[:2] == (0, "all outputs match their records\n")
    note = output / "made/one/note.txt"
    note.write_bytes(note.read_bytes().swapcase())
    (output / "made/two/note.txt").unlink()
    code, text, _ = run_command("verify", output)
    assert code == 3
    assert "faults  one  altered  made/one/note.txt" in text
    assert "faults  two  missing  made/two/note.txt" in text


def test_forget_needs_yes_to_act(output: Path) -> None:
    before = list_files(output)
    code, text, _ = run_command("forget", output, "one", "--outputs")
    assert (code, list_files(output)) == (0, before)
    assert "would forget faults one" in text
    assert run_command("forget", output, "one", "--outputs", "--yes")[0] == 0
    assert before - list_files(output) == {
        ".headrace/records/faults/one.json",
        "made/one/note.txt",
        "made/one/more/data.bin",
    }
    assert not (output / "made/one").exists()


def test_forget_never_removes_files_outside_the_output_folder(output: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("x")
    record = output / ".headrace/records/faults/one.json"
    record.write_text(record.read_text().replace("made/one/note.txt", "../precious.txt"))
    run_command("forget", output, "one", "--outputs", "--yes")
    assert precious.exists()


def test_sweep_removes_only_leftovers_of_dead_runs(output: Path) -> None:
    before = list_files(output)
    (output / ".headrace/private/dead-run/faults").mkdir(parents=True)
    (output / ".headrace/private/dead-run/faults/half").write_text("x")
    (output / "made/one/.note.txt.0123456789ab.tmp").write_text("x")
    code, text, _ = run_command("sweep", output)
    assert code == 0
    assert "would remove the private folder of run dead-run" in text
    assert run_command("sweep", output, "--yes")[0] == 0
    assert list_files(output) >= {name for name in before if "/private/" not in name}
    assert not any("half" in name or name.endswith(".tmp") for name in list_files(output))


def test_maintenance_is_refused_while_a_run_is_active(output: Path) -> None:
    with hold_lock(output / ".headrace/lock", "running"):
        code, _, error = run_command("forget", output, "one", "--yes")
    assert code == 2
    assert f"process {os.getpid()}" in error
    assert (output / ".headrace/records/faults/one.json").exists()


def test_invalid_ids_and_folders_are_one_line_each(output: Path, tmp_path: Path) -> None:
    code, _, error = run_command("forget", output, "nobody", "none")
    assert code == 2
    assert [line.split(";")[0] for line in error.splitlines()] == ["error: nobody: not known", "error: none: not known"]
    code, _, error = run_command("list", tmp_path / "elsewhere")
    assert (code, error.count("\n")) == (2, 1)


def write_items_table(output: Path, **stages: list[str]) -> None:
    """Write the items table of a run with these items by stage."""
    rows = [(stage, item_id) for stage, ids in stages.items() for item_id in ids]
    columns = {"id": [item_id for _, item_id in rows], "stage": [stage for stage, _ in rows]}
    pq.write_table(pa.table(columns), output / "items.parquet")


def test_prune_removes_items_that_the_last_manifest_lacks(output: Path) -> None:
    write_items_table(output, faults=["two", "new"])
    before = list_files(output)
    code, text, _ = run_command("prune", output)
    assert code == 0
    assert text.splitlines() == [
        "would remove faults bad with 0 outputs, which is not in the last manifest",
        "would remove faults one with 2 outputs, which is not in the last manifest",
        "nothing was done; --yes does it",
    ]
    assert list_files(output) == before
    assert run_command("prune", output, "--yes")[0] == 0
    gone = before - list_files(output)
    assert {path for path in gone if not path.startswith(".headrace")} == {
        "made/one/note.txt",
        "made/one/more/data.bin",
    }
    assert not [path for path in list_files(output) if "/one" in path or "/bad" in path]
    assert "faults  two  done" in run_command("list", output)[1]
    assert run_command("prune", output)[1] == "nothing to do\n"


def test_prune_keeps_shared_files_and_stages_missing_from_the_last_run(output: Path) -> None:
    store = RecordStore(Layout(output), STAGE.name)
    one, two = store.get("one"), store.get("two")
    assert one is not None
    assert two is not None
    store.write(dataclasses.replace(two, outputs=(*two.outputs, one.outputs[0])))
    write_items_table(output, faults=["two", "bad"])
    assert run_command("prune", output, "--yes")[0] == 0
    assert (output / one.outputs[0].path).exists()
    assert not (output / one.outputs[1].path).exists()
    write_items_table(output, another=["x"])
    assert run_command("prune", output)[1] == "nothing to do\n"
    (output / "items.parquet").unlink()
    code, _, error = run_command("prune", output)
    assert code == 2
    assert "run the flow once to its end" in error
