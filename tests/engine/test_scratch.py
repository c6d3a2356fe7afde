"""Local scratch lies in a folder that everybody may write to: what others place there is neither used nor touched."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.items import Item
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.run import open_output_dir
from tasks.engine.running import scratch
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.scratch import (
    check_local_scratch,
    get_local_scratch,
    make_local_scratch,
    probe_scratch,
    sweep_local_scratch,
)
from tasks.engine.running.shard import run_shard
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.store.layout import Layout
from tests.engine.faults import FaultParams, FaultStage

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files like /tmp."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def own(shared: Path) -> Path:
    """Where this user's scratch is, or is to be."""
    return shared / f"headrace-{os.geteuid()}"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    folder = tmp_path / "victim"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/file").write_text("mine")
    return folder


def stage_item(tmp_path: Path) -> str:
    """Run an item with ``stage_inputs``; returns where it read its input."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    context = RunContext("run-1", tmp_path / "out", Limits(60.0, 1 << 30), 1, None, stage_inputs=True)
    item = PlannedItem(Item("a", {"do": "copy"}, (str(secret),)), "key", 0)
    try:
        with open_output_dir(Layout(tmp_path / "out"), "run-1"):
            outcome = run_shard(ShardOrder(context, FaultStage(FaultParams()), (item,)), lambda _: None)[0]
    finally:
        close_slots("run-1")
    assert outcome.outcome == "done", outcome.message
    places = outcome.values["read_at"]
    assert isinstance(places, list)
    return str(places[0])


def test_staged_inputs_lie_where_nobody_else_can_look(tmp_path: Path, own: Path) -> None:
    place = stage_item(tmp_path)
    assert place.startswith(f"{own}/")
    assert own.stat().st_mode & 0o777 == 0o700
    assert list(own.iterdir()) == []


def link(own: Path, victim: Path) -> None:
    own.symlink_to(victim)


def link_to_a_private_folder(own: Path, victim: Path) -> None:
    """Only looking at the link itself tells it from a folder of this user's."""
    victim.chmod(0o700)
    own.symlink_to(victim)


def folder_of_another(own: Path, victim: Path) -> None:
    """As another user makes it in advance, for all to write into."""
    descriptor = os.open(own.parent, os.O_RDONLY)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresuid(NOBODY, NOBODY, NOBODY)
        os.umask(0)
        os.mkdir(own.name, 0o777, dir_fd=descriptor)
        os._exit(0)
    os.close(descriptor)
    assert os.waitpid(child, 0)[1] == 0
    assert own.stat().st_uid == NOBODY


def open_folder(own: Path, victim: Path) -> None:
    own.mkdir()
    own.chmod(0o755)


def plain_file(own: Path, victim: Path) -> None:
    own.write_text("")


PLANTED = [
    (link, "is a symlink"),
    (link_to_a_private_folder, "is a symlink"),
    pytest.param(folder_of_another, f"belongs to the user {NOBODY}", marks=as_root),
    (open_folder, "has the mode 755"),
    (plain_file, "is no folder"),
]
Plant = Callable[[Path, Path], None]


def all_files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize(("plant", "given"), PLANTED)
def test_what_others_planted_there_is_refused_for_private_copies(
    tmp_path: Path, own: Path, victim: Path, plant: Plant, given: str
) -> None:
    plant(own, victim)
    uses: list[Callable[[], object]] = [
        lambda: stage_item(tmp_path),
        lambda: check_local_scratch([], 1),
        lambda: make_local_scratch(get_local_scratch(tmp_path / "out", "run")),
        lambda: probe_scratch().__enter__(),
    ]
    for use in uses:
        with pytest.raises(RunError, match=given) as error:
            use()
        assert str(own) in str(error.value)
        assert "set TMPDIR to a folder of your own" in str(error.value)
        assert "\n" not in str(error.value)
    assert all_files(victim) == [str(victim / "deep"), str(victim / "deep/file")]
    assert own.is_symlink() or own.is_file() or list(own.iterdir()) == []


@pytest.mark.parametrize(("plant", "given"), PLANTED)
def test_a_plain_run_leaves_it_alone(tmp_path: Path, own: Path, victim: Path, plant: Plant, given: str) -> None:
    """Also folders in it of the name that the run would clear."""
    plant(own, victim)
    digest = scratch._make_folder_name(tmp_path / "out")
    target = victim if own.is_symlink() else own
    if target.is_dir():
        (target / digest / "run-0").mkdir(parents=True)
        (target / digest / "run-0/file").write_text("mine")
    before = all_files(tmp_path / "victim") + all_files(own)
    with open_output_dir(Layout(tmp_path / "out"), "run-1"):
        sweep_local_scratch(tmp_path / "out", but="run-1")
    assert all_files(tmp_path / "victim") + all_files(own) == before


def test_a_link_inside_is_removed_and_not_followed(tmp_path: Path, own: Path, victim: Path) -> None:
    """Not that others can place one there; an item of this user's could."""
    make_local_scratch(get_local_scratch(tmp_path / "out", "run-0"))
    digest = scratch._make_folder_name(tmp_path / "out")
    (own / digest / "run-2").symlink_to(victim)
    sweep_local_scratch(tmp_path / "out", but="run-0")
    assert [path.name for path in (own / digest).iterdir()] == ["run-0"]
    assert (victim / "deep/file").exists()


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_folder_whose_entries_others_can_rename_is_refused(tmp_path: Path, shared: Path, mode: int) -> None:
    shared.chmod(mode)
    with pytest.raises(RunError, match=rf"{shared} has the mode {mode:o}; allowed: .*sticky"):
        check_local_scratch([], 1)


@as_root
def test_a_folder_for_temporary_files_of_another_user_is_refused(shared: Path) -> None:
    os.chown(shared, 12345, -1)
    with pytest.raises(RunError, match=rf"{shared} belongs to the user 12345"):
        check_local_scratch([], 1)


def test_the_next_run_clears_what_a_dead_one_left(tmp_path: Path, own: Path) -> None:
    for run in ("run-0", "run-1"):
        make_local_scratch(get_local_scratch(tmp_path / "out", run) / "stage/a")
    make_local_scratch(get_local_scratch(tmp_path / "other", "run-0"))
    with open_output_dir(Layout(tmp_path / "out"), "run-2"):
        assert [path.name for path in own.iterdir()] == [scratch._make_folder_name(tmp_path / "other")]


def test_probes_of_the_dead_go_and_those_of_the_living_stay(own: Path) -> None:
    with probe_scratch() as living:
        (living / "file").touch()
        dead = living.parent / "dead"
        (dead / "deep").mkdir(parents=True)
        with probe_scratch() as second:
            assert sorted(living.parent.iterdir()) == sorted([living, second])
        assert (living / "file").exists()
    assert list((own / "probes").iterdir()) == []


def test_a_killed_probe_holds_no_lock(own: Path) -> None:
    load = "import os; from tasks.engine.running.scratch import probe_scratch"
    code = f"{load}\nwith probe_scratch(): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    (left,) = (own / "probes").iterdir()
    with probe_scratch() as living:
        assert not left.exists()
        descriptor = os.open(living, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
