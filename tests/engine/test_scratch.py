"""Test local scratch in a shared folder: files placed there by others are neither used nor changed."""

from __future__ import annotations

import fcntl
import os
import shutil
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
from tasks.engine.running.lease import run_shard
from tasks.engine.running.scratch import (
    check_local_scratch,
    get_local_scratch,
    leave_local_scratch,
    make_local_scratch,
    probe_scratch,
    remove_local_scratch,
    sweep_local_scratch,
)
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.store.layout import Layout
from tests.engine.faults import FaultParams, FaultStage

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a folder for temporary files like /tmp."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def own(shared: Path) -> Path:
    """Return the path of this user's scratch."""
    return shared / f"headrace-{os.geteuid()}"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    folder = tmp_path / "victim"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/file").write_text("mine")
    return folder


def stage_item(tmp_path: Path) -> str:
    """Run an item with ``stage_inputs``; return the path of its input."""
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


def test_staged_inputs_are_in_a_private_folder(tmp_path: Path, own: Path) -> None:
    place = stage_item(tmp_path)
    assert place.startswith(f"{own}/")
    assert own.stat().st_mode & 0o777 == 0o700
    assert list(own.iterdir()) == []


def plant_link(own: Path, victim: Path) -> None:
    own.symlink_to(victim)


def plant_link_to_a_private_folder(own: Path, victim: Path) -> None:
    """Only the status of the link itself distinguishes it from a folder of this user."""
    victim.chmod(0o700)
    own.symlink_to(victim)


def plant_folder_of_another(own: Path, victim: Path) -> None:
    """Create the folder in advance as another user, writable for all."""
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


def plant_open_folder(own: Path, victim: Path) -> None:
    own.mkdir()
    own.chmod(0o755)


def plant_file(own: Path, victim: Path) -> None:
    own.write_text("")


PLANTED = [
    (plant_link, "is a symlink"),
    (plant_link_to_a_private_folder, "is a symlink"),
    pytest.param(plant_folder_of_another, f"belongs to the user {NOBODY}", marks=as_root),
    (plant_open_folder, "has the mode 755"),
    (plant_file, "is no folder"),
]
Plant = Callable[[Path, Path], None]


def list_all_files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize(("plant", "given"), PLANTED)
def test_planted_scratch_folder_is_refused_for_staged_inputs(
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
    assert list_all_files(victim) == [str(victim / "deep"), str(victim / "deep/file")]
    assert own.is_symlink() or own.is_file() or list(own.iterdir()) == []


@pytest.mark.parametrize(("plant", "given"), PLANTED)
def test_run_without_staging_ignores_a_planted_scratch_folder(
    tmp_path: Path, own: Path, victim: Path, plant: Plant, given: str
) -> None:
    """It contains folders with the name that the run would clear."""
    plant(own, victim)
    digest = scratch._make_folder_name(tmp_path / "out")
    target = victim if own.is_symlink() else own
    if target.is_dir():
        (target / digest / "run-0").mkdir(parents=True)
        (target / digest / "run-0/file").write_text("mine")
    before = list_all_files(tmp_path / "victim") + list_all_files(own)
    with open_output_dir(Layout(tmp_path / "out"), "run-1"):
        sweep_local_scratch(tmp_path / "out", but="run-1")
    assert list_all_files(tmp_path / "victim") + list_all_files(own) == before


def test_symlink_in_the_scratch_folder_is_removed_and_not_followed(tmp_path: Path, own: Path, victim: Path) -> None:
    """Others cannot place one there, but an item of this user could."""
    make_local_scratch(get_local_scratch(tmp_path / "out", "run-0"))
    digest = scratch._make_folder_name(tmp_path / "out")
    (own / digest / "run-2").symlink_to(victim)
    sweep_local_scratch(tmp_path / "out", but="run-0")
    assert [path.name for path in (own / digest).iterdir()] == ["run-0"]
    assert (victim / "deep/file").exists()


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_temporary_folder_without_sticky_bit_is_refused(tmp_path: Path, shared: Path, mode: int) -> None:
    shared.chmod(mode)
    with pytest.raises(RunError, match=rf"{shared} has the mode {mode:o}; allowed: .*sticky"):
        check_local_scratch([], 1)


@as_root
def test_temporary_folder_of_another_user_is_refused(shared: Path) -> None:
    os.chown(shared, 12345, -1)
    with pytest.raises(RunError, match=rf"{shared} belongs to the user 12345"):
        check_local_scratch([], 1)


def test_next_run_clears_scratch_of_a_dead_run(tmp_path: Path, own: Path) -> None:
    for run in ("run-0", "run-1"):
        make_local_scratch(get_local_scratch(tmp_path / "out", run) / "stage/a")
    make_local_scratch(get_local_scratch(tmp_path / "other", "run-0"))
    with open_output_dir(Layout(tmp_path / "out"), "run-2"):
        assert [path.name for path in own.iterdir()] == [scratch._make_folder_name(tmp_path / "other")]


def test_only_probe_folders_of_dead_processes_are_removed(own: Path) -> None:
    with probe_scratch() as living:
        (living / "file").touch()
        dead = living.parent / "dead"
        (dead / "deep").mkdir(parents=True)
        with probe_scratch() as second:
            assert sorted(living.parent.iterdir()) == sorted([living, second])
        assert (living / "file").exists()
    assert list((own / "probes").iterdir()) == []


def test_killed_probe_releases_its_lock(own: Path) -> None:
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


@pytest.mark.parametrize("free", [29, 30])
def test_largest_inputs_must_fit_together(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    for name, size in (("a", 5), ("b", 20), ("c", 4), ("d", 6)):
        (tmp_path / name).write_bytes(bytes(size))
    items = [Item("one", inputs=(str(tmp_path / "a"), str(tmp_path / "c")))]
    items += [Item(name, inputs=(str(tmp_path / name),)) for name in ("d", "b")]
    items += [Item("none")]
    asked: list[str] = []

    def usage(folder: str) -> object:
        asked.append(folder)
        return shutil._ntuple_diskusage(100, 0, free - 1)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    if free == 30:
        check_local_scratch(items, slots=2)
    else:
        with pytest.raises(RunError) as refused:
            check_local_scratch(items, slots=2)
        assert str(refused.value) == (
            f"--stage-inputs: 2 items at a time need 29 bytes of scratch, and {shared} has 28 bytes free; "
            "free some space, set TMPDIR, or use fewer --workers"
        )
    assert set(asked) == {str(shared)}


def test_scratch_folder_that_cannot_be_created_is_one_line(
    shared: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(RunError) as refused:
        check_local_scratch([], 1)
    assert str(refused.value) == f"cannot make {own}: Permission denied; set TMPDIR to a folder of your own"


def test_refusal_names_the_mode_and_what_is_allowed(own: Path, shared: Path) -> None:
    own.mkdir()
    own.chmod(0o750)
    with pytest.raises(RunError) as refused:
        check_local_scratch([], 1)
    assert str(refused.value) == (
        f"{own} has the mode 750; allowed: a folder of your own that nobody else can enter (mode 700); "
        "remove it, or set TMPDIR to a folder of your own"
    )
    shared.chmod(0o777)
    with pytest.raises(RunError) as refused:
        check_local_scratch([], 1)
    assert str(refused.value) == (
        f"{shared} has the mode 777; allowed: a folder whose entries only their owners can rename (the sticky bit); "
        "remove it, or set TMPDIR to a folder of your own"
    )


def test_only_copies_of_the_item_are_removed(tmp_path: Path, own: Path) -> None:
    place = get_local_scratch(tmp_path / "out", "run-1")
    remove_local_scratch(place / "a")
    assert not own.exists(), "no folder is created only to remove another"
    for item_id in "ab":
        make_local_scratch(place / item_id)
    remove_local_scratch(place / "a")
    assert [path.name for path in place.iterdir()] == ["b"]
    leave_local_scratch(tmp_path / "out", "run-2")
    assert place.exists()
    leave_local_scratch(tmp_path / "out", "run-1")
    assert list(own.iterdir()) == []


def test_scratch_under_another_tmpdir_is_accepted(tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker may have another TMPDIR than the flow."""
    place = get_local_scratch(tmp_path / "out", "run-1")
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    make_local_scratch(place)
    assert place.is_dir()
    assert place.is_relative_to(own)


HOST_MAP, CONTAINER_MAP = "         0          0 4294967295\n", "         0     100000      65536\n"


@pytest.mark.parametrize(
    ("uid_map", "overflow", "user", "trusted"),
    [
        (HOST_MAP, "65534\n", 0, True),
        (HOST_MAP, "65534\n", 1000, True),  # this user
        (HOST_MAP, "65534\n", 1, False),
        (HOST_MAP, "65534\n", 65534, False),  # another user of this machine
        (CONTAINER_MAP, "65534\n", 65534, True),  # root outside the container
        (CONTAINER_MAP, "65534\n", 1, False),
        (CONTAINER_MAP, "unknown", 65534, False),
        (None, "65534\n", 65534, False),
    ],
)
def test_folders_of_root_are_trusted_in_and_outside_containers(
    monkeypatch: pytest.MonkeyPatch, uid_map: str | None, overflow: str, user: int, trusted: bool
) -> None:
    texts = {"/proc/self/uid_map": uid_map, "/proc/sys/kernel/overflowuid": overflow}

    def read(path: Path) -> str:
        text = texts.get(str(path))
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert scratch._is_trusted(user) is trusted


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o755, 0o1777, 0o1775])
def test_temporary_folder_with_sticky_bit_is_used(shared: Path, own: Path, mode: int) -> None:
    shared.chmod(mode)
    check_local_scratch([], 1)
    assert own.stat().st_mode & 0o777 == 0o700
