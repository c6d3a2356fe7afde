"""Test the steps of maintenance without the command line."""

from __future__ import annotations

import dataclasses
import errno
import shutil
from pathlib import Path

import pytest

from tasks.engine import maintenance
from tasks.engine.contract.errors import InvalidInput, Problem, RunError
from tasks.engine.store.layout import Layout
from tasks.engine.store.lock import Lock, Owner
from tasks.engine.store.outcomes import Failure, Usage
from tasks.engine.store.records import RecordStore
from tasks.engine.store.tree import Tree
from tests.engine.test_maintenance import list_files, write_items_table
from tests.engine.test_records import publish_files


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
    advice = "give that folder"
    assert refused.value.problems == (
        Problem(str(tmp_path), "no .headrace in it", "the --output-dir of a run", advice),
    )


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
    assert list(maintenance.find_broken_outputs(layout)) == [
        "stage  a  altered  made/a.txt",
        "stage  b  missing  made/b.txt",
    ]


def test_forged_output_path_that_no_filesystem_can_have_is_missing(layout: Layout) -> None:
    record = layout.records("stage") / "a.json"
    record.write_text(record.read_text().replace("made/a.txt", "a" * 3000))
    assert list(maintenance.find_broken_outputs(layout)) == [f"stage  a  missing  {'a' * 3000}"]


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
