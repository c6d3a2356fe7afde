"""Test output folders from an archive or shared with an attacker: no file outside them is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.engine import maintenance
from tasks.engine.contract.errors import RunError
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import get_published_file
from tasks.engine.run import open_output_dir
from tasks.engine.store.files import hash_file
from tasks.engine.store.layout import Layout, is_output_path
from tasks.engine.store.outcomes import Output, Record, Usage
from tasks.engine.store.publish import collect_outputs
from tasks.engine.store.records import RecordStore
from tasks.engine.store.tree import Tree, is_plain_path
from tests.engine.faults import FaultParams, FaultStage
from tests.engine.plans import plan_stage
from tests.engine.test_records import create_record, publish_files


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Create a folder of the user elsewhere, as read by :func:`read_contents`."""
    folder = tmp_path / "victim"
    for name in ("one.txt", "deep/two.txt", "stage/three.json", ".x.0123456789ab.tmp", "stage/.y.0123456789ab.tmp"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def read_contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


FOLDERS = [".headrace", *(f".headrace/{name}" for name in ("records", "failures", "logs", "private", "runs"))]
FOLDERS += [".headrace/records/stage", ".headrace/failures/stage", ".headrace/logs/stage"]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Create an output folder with a done and a failed item."""
    store = RecordStore(Layout(tmp_path / "out"), "stage")
    store.prepare()
    publish_files(store, "a", {"made/a.txt": "a"})
    for name in ("logs/stage", "runs"):
        (tmp_path / "out/.headrace" / name).mkdir(parents=True)
    return store.layout


def replace_by_symlink(layout: Layout, folder: str, target: Path) -> None:
    path = layout.output_dir / folder
    path.rename(layout.output_dir.parent / "moved")
    path.symlink_to(target)


@pytest.mark.parametrize("folder", FOLDERS)
def test_run_refuses_a_symlink_in_place_of_its_folder(layout: Layout, victim: Path, folder: str) -> None:
    replace_by_symlink(layout, folder, victim)
    before = read_contents(victim)
    with pytest.raises(RunError, match=rf"{folder} is a symlink") as error, open_output_dir(layout, "run-1"):
        pass
    assert "\n" not in str(error.value)
    assert read_contents(victim) == before
    assert sorted(victim.iterdir()) == sorted({victim / name.split("/")[0] for name in before})


@pytest.mark.parametrize("folder", FOLDERS)
def test_maintenance_refuses_a_symlink_in_place_of_a_folder(layout: Layout, victim: Path, folder: str) -> None:
    replace_by_symlink(layout, folder, victim)
    before = read_contents(victim)
    with pytest.raises(RunError, match="is a symlink"):
        maintenance.open_layout(layout.output_dir)
    assert read_contents(victim) == before


def test_maintenance_command_reports_a_symlink_in_one_line(layout: Layout, victim: Path) -> None:
    replace_by_symlink(layout, ".headrace/private", victim)
    command = [sys.executable, "-c", "from tasks.launcher.cli import start; start()", "items", "sweep", "--yes"]
    done = subprocess.run([*command, str(layout.output_dir)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {layout.output_dir}/.headrace/private is a symlink")
    assert done.stderr.count("\n") == 1
    assert (victim / "one.txt").exists()


def test_symlinks_among_private_folders_are_removed_without_their_targets(layout: Layout, victim: Path) -> None:
    (layout.private / "run-0").symlink_to(victim)
    (layout.private / "run-9").mkdir()
    (layout.private / "run-9/linked").symlink_to(victim)
    before = read_contents(victim)
    with open_output_dir(layout, "run-1"):
        assert [path.name for path in layout.private.iterdir()] == ["run-1"]
        assert (layout.private / "run-1").stat().st_mode & 0o777 == 0o700
    assert read_contents(victim) == before


def test_output_folder_may_be_a_symlink(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(layout.output_dir)
    linked = Layout(tmp_path / "link")
    with open_output_dir(linked, "run-1"):
        publish_files(RecordStore(linked, "stage"), "b", {"made/b.txt": "b"})
    assert set(RecordStore(layout, "stage").load()) == {"a", "b"}


@pytest.mark.parametrize("use", ["publish", "plan", "tidy", "forget", "prune"])
def test_outputs_are_neither_written_nor_removed_through_a_symlink(layout: Layout, victim: Path, use: str) -> None:
    """The user's own symlink, or one from an archive, replaces the folder of an output."""
    (victim / "a.txt").write_text("a")
    replace_by_symlink(layout, "made", victim)
    before = read_contents(victim)
    store, stage = RecordStore(layout, "stage"), FaultStage(FaultParams())

    def forget() -> None:
        maintenance.apply(layout, maintenance.plan_forget(layout, ["a"], outputs_too=True))

    def prune() -> None:
        Tree(layout.output_dir).write("items.parquet", build_items_table())
        maintenance.apply(layout, maintenance.plan_prune(layout))

    def plan() -> None:
        (layout.records("stage")).rename(layout.records("faults"))
        item, other = Item("a"), RecordStore(layout, "faults")
        done = replace(create_record("a", store_outputs), stage="faults")
        done = replace(done, key=plan_stage(stage, [item], other, Execution()).todo[0].key)
        other.write(done)
        plan_stage(stage, [item], other, Execution())

    store_outputs = (Output("made/a.txt", 1, hash_file(victim / "a.txt")),)
    uses: dict[str, Callable[[], object]] = {
        "publish": lambda: publish_files(store, "b", {"made/b.txt": "b"}),
        "plan": plan,
        "tidy": lambda: store.tidy(set()),
        "forget": forget,
        "prune": prune,
    }
    with pytest.raises(RunError, match=r"out/made is a symlink, and symlinks inside an output folder are not followed"):
        uses[use]()
    assert read_contents(victim) == before


def build_items_table() -> bytes:
    """Return an ``items.parquet`` that names another item of the stage."""
    from tasks.engine.reporting.summary import _write_parquet
    from tasks.engine.store.outcomes import Outcome, Outcomes

    return _write_parquet(Outcomes([Outcome("z", "stage", "done")]))


def test_symlink_in_place_of_an_output_is_replaced_without_its_target(layout: Layout, victim: Path) -> None:
    output = layout.output_dir / "made/a.txt"
    output.unlink()
    output.symlink_to(victim / "one.txt")
    store = RecordStore(layout, "stage")
    kept_record = store.get("a")
    assert kept_record is not None
    assert not store.has_intact_outputs(kept_record, "size")
    publish_files(store, "a", {"made/a.txt": "a"})
    assert (victim / "one.txt").read_text() == "one.txt"
    assert not output.is_symlink()


WRONG_PATHS = [
    *("../victim/one.txt", "/etc/hostname", "made/../../victim/one.txt", "a/./b", "a//b", "a/", "", ".", "..", "a\0b"),
    *(".headrace/lock", ".headrace/records/stage/b.json", ".HEADRACE/lock", "summary.json", "items.parquet"),
    *("failures.json", "report.html", "Report.HTML"),
]


@pytest.mark.parametrize("path", WRONG_PATHS)
def test_record_with_an_invalid_output_path_is_ignored(layout: Layout, victim: Path, path: str) -> None:
    assert not is_output_path(path)
    store, before = RecordStore(layout, "stage"), read_contents(victim)
    store.write(create_record("evil", (Output(path, 1, "0" * 64),)))
    assert store.get("evil") is None
    (store.folder / "evil.stale").write_text(json.dumps({"paths": [path], "former": None}))
    store.tidy({"a"})
    assert read_contents(victim) == before
    assert set(store.load()) == {"a"}
    assert not (store.folder / "evil.json").exists()


def test_valid_relative_paths_are_plain() -> None:
    assert all(map(is_plain_path, ["a", "a/b", "ünïcode/日本.txt", "a b", "...", "a/..b", "back\\slash"]))


FORGED = {
    "of another item": {"id": "b"},
    "of another stage": {"stage": "other"},
    "a size below zero": {"outputs": [{"path": "x", "size_bytes": -1, "sha256": "0" * 64}]},
    "a size beyond all numbers": {"outputs": [{"path": "x", "size_bytes": 10**30, "sha256": "0" * 64}]},
    "a digest that is none": {"outputs": [{"path": "x", "size_bytes": 1, "sha256": "../../x"}]},
    "a year that no calendar has": {"usage": {"started_at": 1e300}},
    "time without end": {"usage": {"seconds": float("inf")}},
    "memory beyond all numbers": {"usage": {"peak_memory_bytes": 10**30}},
    "more attempts than a column holds": {"attempts": 2**40},
    "a value with the name of a column": {"values": {"outcome": "done"}},
    "too many values": {"values": {f"v{n}": n for n in range(2000)}},
    "an endless history": {"history": [{"run_id": "r", "outcome": "done", "usage": {}}] * 1000},
}


@pytest.mark.parametrize("forgery", FORGED)
def test_forged_record_is_ignored(layout: Layout, forgery: str) -> None:
    store = RecordStore(layout, "stage")
    path = store.folder / "a.json"
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps({**content, **FORGED[forgery]}))
    assert store.get("a") is None
    assert list(maintenance.read_entries(layout)) == []


def test_record_that_is_not_a_plain_file_is_ignored(layout: Layout, victim: Path) -> None:
    """Reading a pipe would block forever; a symlink points elsewhere."""
    store = RecordStore(layout, "stage")
    os.mkfifo(store.folder / "pipe.json")
    (victim / "linked.json").write_bytes((store.folder / "a.json").read_bytes().replace(b'"id":"a"', b'"id":"linked"'))
    (store.folder / "linked.json").symlink_to(victim / "linked.json")
    (store.folder / "zero.json").symlink_to("/dev/zero")
    assert set(store.load()) == {"a"}
    store.tidy({"a"})
    assert (victim / "linked.json").exists()


def test_forgetting_an_item_keeps_outputs_of_other_items(layout: Layout) -> None:
    """A record claims the files of another item, in its own stage or in another."""
    store, other = RecordStore(layout, "stage"), RecordStore(layout, "other")
    claimed = (Output("made/a.txt", 1, hash_file(layout.output_dir / "made/a.txt")),)
    other.prepare()
    other.write(replace(create_record("evil", claimed), stage="other"))
    store.write(create_record("evil", claimed))
    maintenance.apply(layout, maintenance.plan_forget(layout, ["evil"], outputs_too=True))
    assert (layout.output_dir / "made/a.txt").read_text() == "a"
    other.write(replace(create_record("evil", claimed), stage="other"))
    other.tidy(set())
    assert (layout.output_dir / "made/a.txt").read_text() == "a"
    maintenance.apply(layout, maintenance.plan_forget(layout, ["a"], outputs_too=True))
    assert not (layout.output_dir / "made").exists()


@pytest.mark.parametrize("path", [".headrace/lock", "summary.json"])
def test_stage_cannot_publish_files_of_the_engine(tmp_path: Path, path: str) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text("mine")
    with pytest.raises(ValueError, match="of the engine's own"):
        collect_outputs(tmp_path)


def test_too_large_record_is_ignored(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.engine.store.records.MAX_RECORD_BYTES", 100)
    assert RecordStore(layout, "stage").load() == {}


def test_folder_replaced_by_a_symlink_meanwhile_is_not_followed(tmp_path: Path, victim: Path) -> None:
    """The tree keeps working in the folder that it opened."""
    tree, before = Tree(tmp_path / "out"), read_contents(victim)
    with tree.opened("a/b", make=True):
        (tmp_path / "out/a").rename(tmp_path / "gone")
        (tmp_path / "out/a").symlink_to(victim)
    for action in (tree.unlink, tree.remove, tree.clear, tree.remove_empty):
        with pytest.raises(RunError, match="out/a is a symlink"):
            action("a/deep/two.txt")
    with pytest.raises(RunError, match="out/a is a symlink"):
        tree.write("a/new", b"new")
    tree.clear("a")
    assert not (tmp_path / "out/a").exists()
    assert read_contents(victim) == before


def test_large_record_of_a_real_run_is_readable(layout: Layout) -> None:
    """Write many outputs, long values, and a detail of many rows."""
    outputs = tuple(Output(f"frames/{number}.jpg", number, "f" * 64) for number in range(20_000))
    detail = {"rows": [{"frame": number, "path": f"frames/{number}.jpg"} for number in range(20_000)]}
    written = Record("big", "stage", 1, "k" * 64, outputs, {"text": "x" * 200_000}, detail, Usage(1e9, 5.0), 3, "run")
    store = RecordStore(layout, "stage")
    store.write(written)
    assert store.get("big") == written


def test_published_path_outside_the_output_folder_is_refused(tmp_path: Path) -> None:
    """Paths in records may be forged: a later stage would read, link or copy a private file."""
    output, secret = tmp_path / "output", tmp_path / "secret"
    (output / "frames").mkdir(parents=True)
    (output / "frames" / "a.jpg").touch()
    secret.mkdir()
    (secret / "key").touch()
    (output / "link").symlink_to(secret)
    (output / "file").symlink_to(secret / "key")
    assert get_published_file(output, "frames/a.jpg") == output / "frames" / "a.jpg"
    for path in ("../secret/key", str(secret / "key"), "frames/../../secret/key", "link/key", "file"):
        with pytest.raises(PermissionError, match="leads out of the output folder"):
            get_published_file(output, path)
    (tmp_path / "named").symlink_to(output)
    assert get_published_file(tmp_path / "named", "frames/a.jpg").is_file()
