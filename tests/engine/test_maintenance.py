"""Maintain an output folder: ``headrace items`` after the engine itself has filled it, then each plan on its own."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.engine import maintenance
from tasks.engine.contract.errors import InvalidInput, Problem, RunError
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.lease import run_shard
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.store.layout import Layout
from tasks.engine.store.lock import Lock, Owner, hold_lock
from tasks.engine.store.outcomes import Failure, Usage
from tasks.engine.store.records import RecordStore
from tasks.engine.store.tree import Tree
from tests.engine.faults import FaultParams, FaultStage
from tests.engine.plans import plan_stage
from tests.engine.test_records import publish_files

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
    """Return exit code, standard output and error of ``headrace items``."""
    command = [sys.executable, "-c", "from tasks.launcher.cli import start; start()", "items", *map(str, words)]
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
    (output / "made/two/note.txt").unlink()
    code, text, _ = run_command("verify", output)
    assert code == 3
    assert text.splitlines() == [
        "faults  two  missing  made/two/note.txt",
        "1 output missing; the next run writes it again",
    ]
    note = output / "made/one/note.txt"
    note.write_bytes(note.read_bytes().swapcase())
    code, text, _ = run_command("verify", output)
    assert code == 3
    assert text.splitlines() == [
        "faults  one  altered  made/one/note.txt",
        "faults  two  missing  made/two/note.txt",
        "1 output missing, 1 output altered; the next run with --verify digest writes them again",
    ]


def test_verify_does_not_miss_dropped_outputs(output: Path) -> None:
    RecordStore(Layout(output), "faults").drop_outputs("two")
    assert not (output / "made/two/note.txt").exists()
    assert run_command("verify", output)[:2] == (0, "all outputs match their records\n")


def test_run_after_verify_writes_missing_outputs_again(output: Path) -> None:
    (output / "made/two/note.txt").unlink()
    run_actions(output, "run-2", one="write", two="write")
    assert run_command("verify", output)[:2] == (0, "all outputs match their records\n")


def test_forgotten_item_is_listed_as_forgotten(output: Path) -> None:
    write_items_table(output, faults=["one", "two", "bad"])
    assert run_command("forget", output, "one", "--yes")[0] == 0
    for command in ("list", "show"):
        code, text, _ = run_command(command, output, "one")
        assert (code, text) == (0, "faults  one  forgotten  the next run processes it again\n")
    code, _, error = run_command("forget", output, "one", "--yes")
    assert code == 2
    assert error.startswith("error: one: no record of it; ")


def test_sample_is_found_in_its_item(output: Path) -> None:
    store = RecordStore(Layout(output), STAGE.name)
    record = store.get("one")
    assert record is not None
    store.write(dataclasses.replace(record, detail={"samples": [{"id": "q1"}, {"id": "q2"}, "forged", {"id": 3}]}))
    code, text, _ = run_command("list", output, "q2", "q1")
    assert (code, text.count("\n")) == (0, 1)
    assert text.startswith("faults  one  done")
    assert text.endswith("  sample q2, q1\n")
    code, _, error = run_command("list", output, "q3")
    assert code == 2
    assert "if it is a sample of a failed video, give the name of the video" in error


def test_forget_without_items_is_a_usage_error(output: Path) -> None:
    code, _, error = run_command("forget", output, "--yes")
    assert (code, error.partition(";")[0]) == (2, "error: ITEM: missing")


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
    assert code == 1
    assert f"process {os.getpid()}" in error
    assert (output / ".headrace/records/faults/one.json").exists()


def test_invalid_ids_and_folders_are_one_line_each(output: Path, tmp_path: Path) -> None:
    code, _, error = run_command("forget", output, "nobody", "none")
    assert code == 2
    assert [line.split(";")[0] for line in error.splitlines()] == [
        "error: nobody: no such item",
        "error: none: no such item",
    ]
    code, _, error = run_command("list", tmp_path / "elsewhere")
    assert (code, error.count("\n")) == (2, 1)


def write_items_table(output: Path, **stages: list[str]) -> None:
    """Write the items table of a run with these items by stage."""
    rows = [(stage, item_id) for stage, ids in stages.items() for item_id in ids]
    columns = {"id": [item_id for _, item_id in rows], "stage": [stage for stage, _ in rows]}
    columns |= {"name": columns["id"], "path": [""] * len(rows), "outcome": ["done"] * len(rows)}
    pq.write_table(pa.table(columns), output / "items.parquet")


def test_prune_removes_items_that_the_last_manifest_lacks(output: Path) -> None:
    write_items_table(output, faults=["two", "new"])
    before = list_files(output)
    code, text, _ = run_command("prune", output)
    assert code == 0
    assert text.splitlines() == [
        "would remove faults bad with 0 outputs, which is not in the last manifest",
        "would remove faults one with 2 outputs, which is not in the last manifest",
        "nothing was changed; --yes applies the changes",
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


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Create a folder with two done items, one of which has failed since, and a failed item."""
    store = RecordStore(Layout(tmp_path / "out"), "stage")
    store.prepare()
    publish_files(store, "a", {"made/a.txt": "a", "shared.txt": "s"})
    publish_files(store, "b", {"made/b.txt": "b" * 2**20, "shared.txt": "s"})
    for item_id in ("b", "c"):
        store.write_failure(Failure(item_id, "stage", "key", "timeout", "no result", 1, Usage(), "run"))
    shutil.rmtree(store.layout.private)
    return store.layout


def write_log(layout: Layout, item_id: str) -> str:
    """Write the log of an item; return its path in the output folder."""
    path = layout.log("stage", item_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("log")
    return f".headrace/logs/stage/{item_id}.log"


def list_record_files(item_id: str) -> tuple[str, ...]:
    records, failures = f".headrace/records/stage/{item_id}", f".headrace/failures/stage/{item_id}"
    return (f"{records}.json", f"{records}.stale", f"{failures}.json", f".headrace/logs/stage/{item_id}.log")


def test_folder_without_a_run_is_refused(tmp_path: Path, layout: Layout) -> None:
    assert maintenance.open_layout(layout.output_dir) == layout
    with pytest.raises(InvalidInput) as refused:
        maintenance.open_layout(tmp_path)
    allowed, advice = "the output folder of a run", "check the path"
    assert refused.value.problems == (Problem(str(tmp_path), "no .headrace in it", allowed, advice),)
    with pytest.raises(InvalidInput, match="no such folder"):
        maintenance.open_layout(tmp_path / "missing")


def test_relative_folder_is_resolved(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(layout.output_dir.parent)
    assert maintenance.open_layout(Path("out")) == layout


def test_entries_are_sorted_and_on_one_line(layout: Layout) -> None:
    entries = list(maintenance.read_entries(layout))
    assert maintenance.list_stages(layout) == ["stage"]
    assert [(entry.stage, entry.id, bool(entry.record), bool(entry.failure)) for entry in entries] == [
        ("stage", "a", True, False),
        ("stage", "b", True, True),
        ("stage", "c", False, True),
    ]
    assert [entry.line() for entry in entries] == [
        "stage  a  done  2.50 s, 2 files, 0.0 MiB",
        "stage  b  failed  timeout: no result",
        "stage  c  failed  timeout: no result",
    ]
    assert dataclasses.replace(entries[1], failure=None).line() == "stage  b  done  2.50 s, 2 files, 1.0 MiB"


def test_stages_are_listed_by_records_and_failures(layout: Layout) -> None:
    layout.failures("early").mkdir()
    layout.records("late").mkdir()
    assert maintenance.list_stages(layout) == ["early", "late", "stage"]


def test_items_are_found_by_id_and_unknown_ids_are_reported(layout: Layout) -> None:
    assert [entry.id for entry in maintenance.find(layout, ["c", "a"])] == ["a", "c"]
    with pytest.raises(InvalidInput) as refused:
        maintenance.find(layout, ["y", "a", "x"])
    assert refused.value.problems == tuple(
        Problem(item_id, "not known", "an item with a record", "see headrace items list") for item_id in "xy"
    )


def test_broken_outputs_are_one_line_each(layout: Layout) -> None:
    (layout.output_dir / "made/a.txt").write_text("A")
    (layout.output_dir / "made/b.txt").unlink()
    assert [output.line() for output in maintenance.find_broken_outputs(layout)] == [
        "stage  a  altered  made/a.txt",
        "stage  b  missing  made/b.txt",
    ]


def test_forged_output_path_that_no_filesystem_can_have_is_missing(layout: Layout) -> None:
    record = layout.records("stage") / "a.json"
    record.write_text(record.read_text().replace("made/a.txt", "a" * 3000))
    (output,) = maintenance.find_broken_outputs(layout)
    assert output.line() == f"stage  a  missing  {'a' * 3000}"


def test_forget_plan_keeps_outputs_of_other_items(layout: Layout) -> None:
    assert maintenance.plan_forget(layout, ["a"], outputs_too=False) == [
        maintenance.Action("forget stage a", list_record_files("a"))
    ]
    assert maintenance.plan_forget(layout, ["a", "c"], outputs_too=True) == [
        maintenance.Action("remove 1 output of stage a", ("made/a.txt",), (("stage", "a"),)),
        maintenance.Action("forget stage a", list_record_files("a")),
        maintenance.Action("forget stage c", list_record_files("c")),
    ]
    both = maintenance.plan_forget(layout, ["a", "b"], outputs_too=True)
    assert both[0].paths == ("made/a.txt", "shared.txt")


def test_sweep_plan_lists_leftovers(layout: Layout) -> None:
    (layout.private / "run-9/stage").mkdir(parents=True)
    (layout.private / "run-8").mkdir()
    (layout.output_dir / "made/.x.tmp").touch()
    (layout.output_dir / ".y.0123456789ab.tmp").touch()
    (layout.output_dir / ".folder.tmp").mkdir()
    for item_id in "abc":
        write_log(layout, item_id)
    assert maintenance.plan_sweep(layout) == [
        maintenance.Action("remove the private folder of run run-8", (".headrace/private/run-8",)),
        maintenance.Action("remove the private folder of run run-9", (".headrace/private/run-9",)),
        maintenance.Action("remove the half-written .y.0123456789ab.tmp", (".y.0123456789ab.tmp",)),
        maintenance.Action("remove the half-written made/.x.tmp", ("made/.x.tmp",)),
        maintenance.Action("remove the log of stage a, which is done", (".headrace/logs/stage/a.log",)),
    ]


def test_prune_plan_lists_items_missing_from_the_manifest(layout: Layout) -> None:
    write_items_table(layout.output_dir, stage=["b", "c"])
    words = "remove stage a with 1 output, which is not in the last manifest"
    assert maintenance.plan_prune(layout) == [
        maintenance.Action(words, ("made/a.txt", *list_record_files("a")), (("stage", "a"),))
    ]
    write_items_table(layout.output_dir, another=["a"])
    assert maintenance.plan_prune(layout) == []


def test_prune_without_an_items_table_is_refused(layout: Layout) -> None:
    path = layout.output_dir / "items.parquet"
    with pytest.raises(InvalidInput) as refused:
        maintenance.plan_prune(layout)
    missing = f"[Errno 2] No such file or directory: {str(path)!r}"
    advice = "run the flow once to its end"
    assert refused.value.problems == (Problem(str(path), missing, "the table of a finished run", advice),)
    path.write_text("no table")
    with pytest.raises(InvalidInput, match=r"items\.parquet"):
        maintenance.plan_prune(layout)


def test_actions_withdraw_records_then_remove_outputs_then_engine_files(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    monkeypatch.setattr(Lock, "check", lambda _: steps.append("check"))
    monkeypatch.setattr(RecordStore, "withdraw", lambda store, ids: steps.append(f"withdraw {store.stage} {ids}"))
    monkeypatch.setattr(maintenance, "remove_outputs", lambda _, paths: steps.append(f"outputs {paths}"))
    monkeypatch.setattr(Tree, "remove", lambda _, path: steps.append(f"remove {path}"))
    action = maintenance.Action("", ("made/a.txt", ".headrace/x", "y", ".headrace/z"), (("stage", "a"), ("other", "b")))
    maintenance.apply(layout, [action])
    assert steps == [
        *("check", "withdraw stage ['a']"),
        *("check", "withdraw other ['b']"),
        *("check", "outputs ['made/a.txt', 'y']"),
        *("check", "remove .headrace/x"),
        *("check", "remove .headrace/z"),
    ]


def test_planned_actions_are_applied(layout: Layout) -> None:
    log = write_log(layout, "a")
    maintenance.apply(layout, maintenance.plan_forget(layout, ["a"], outputs_too=True))
    assert list_files(layout.output_dir) == {
        *("made/b.txt", "shared.txt", ".headrace/records/stage/b.json"),
        *(".headrace/failures/stage/b.json", ".headrace/failures/stage/c.json"),
    }
    assert not (layout.output_dir / log).exists()


def test_maintenance_holds_the_lock_and_ends_orphans_first(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def end(of: Layout, say: object) -> None:
        owner = Owner.decode(of.lock.read_bytes())
        calls.extend([of, say, owner and owner.run_id])

    monkeypatch.setattr(maintenance, "end_orphans", end)
    maintenance.apply(layout, [], print)
    assert calls == [layout, print, "upkeep"]
    assert not layout.lock.exists()


def test_disk_error_of_maintenance_is_explained(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(tree: Tree, path: str) -> None:
        raise OSError(errno.EROFS, "Read-only", str(tree.root / path))

    monkeypatch.setattr(Tree, "remove", fail)
    with pytest.raises(RunError, match=rf"^cannot write to {layout.output_dir}: the filesystem is read-only"):
        maintenance.apply(layout, [maintenance.Action("", (".headrace/x",))])
