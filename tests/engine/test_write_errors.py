"""Test write errors: each is reported with its cause, and fails its item or stops the run."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.engine.contract.errors import BadInput, OutputBlocked, RunError
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.run import open_output_dir
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.lease import run_shard
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.store import write_errors
from tasks.engine.store.files import format_bytes
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Outcome
from tasks.engine.store.records import RecordStore
from tasks.engine.store.tree import Tree
from tasks.engine.store.write_errors import (
    check_is_no_folder,
    explain_no_writes,
    explain_write_error,
    explain_write_errors,
    find_full_disk,
    write_failure,
)
from tests.engine.plans import plan_stage
from tests.engine.test_ground import STAGE, small_disk

__all__ = ["small_disk"]


def run_items(output_dir: Path, items: list[Item]) -> list[Outcome]:
    """Run the unfinished items of ``items`` as one shard of a new run."""
    run_id = uuid.uuid4().hex
    planned = plan_stage(STAGE, items, RecordStore(Layout(output_dir), STAGE.name), Execution())
    context = RunContext(run_id, output_dir, Limits(60.0, 1 << 30))
    try:
        return run_shard(ShardOrder(context, STAGE, planned.todo), lambda _: None)
    finally:
        close_slots(run_id)
        shutil.rmtree(context.private, ignore_errors=True)


def create_error(code: int, path: Path | None = None, target: Path | None = None) -> OSError:
    """Return the error as the system raises it; ``target`` is the target of a rename."""
    named = [str(path)] if path else []
    return OSError(code, os.strerror(code), *named, *([None, str(target)] if target else []))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "the disk quota is exceeded; free some of the quota"),
        (errno.EROFS, "the filesystem is read-only; make it writable"),
        (errno.EACCES, "permission denied; change its permissions"),
        (errno.EPERM, "not permitted; change its owner"),
        (errno.EIO, "input/output error; check the disk"),
        (errno.ESTALE, "stale.*; mount it again"),
        (errno.EISDIR, "it is a folder.*; move or rename"),
        (errno.ENOTDIR, "a file is where a folder must be.*; move or rename"),
        (errno.EEXIST, "a file is where a folder must be.*; move or rename"),
        (errno.ENAMETOOLONG, "too long.*; give a shorter"),
        (errno.EMFILE, "too many files are open.*ulimit"),
        (errno.EXDEV, "link; check the folder"),
    ],
)
def test_write_error_names_its_cause(code: int, words: str, tmp_path: Path) -> None:
    error = explain_write_error(tmp_path, create_error(code))
    assert isinstance(error, RunError)
    with pytest.raises(RunError, match=f"cannot write to {tmp_path}: .*{words}.*run the same command again"):
        raise error
    if code not in (errno.ENOSPC, errno.EDQUOT):
        assert "space" not in str(error)
    assert "make room" not in str(error)


@pytest.mark.parametrize("code", [errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EACCES])
def test_obstacle_at_an_output_concerns_its_item(code: int, tmp_path: Path) -> None:
    own, path = tmp_path / ".headrace", tmp_path / "frames" / "a.jpg"
    renamed = write_failure(tmp_path, own, create_error(code, own / "private" / "a.jpg", path))
    assert isinstance(renamed, OutputBlocked)
    assert str(path) in str(renamed)
    assert isinstance(write_failure(tmp_path, own, create_error(code, path)), OutputBlocked)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE])
def test_unwritable_disk_concerns_the_run(code: int, tmp_path: Path) -> None:
    assert isinstance(write_failure(tmp_path, tmp_path / ".headrace", create_error(code, tmp_path / "a.jpg")), RunError)


def test_obstacle_in_an_engine_folder_concerns_the_run(tmp_path: Path) -> None:
    own = tmp_path / ".headrace"
    error = write_failure(tmp_path, own, create_error(errno.EISDIR, own / "records" / "a.json"))
    assert isinstance(error, RunError)
    assert str(own / "records" / "a.json") in str(error)


def test_folder_in_place_of_an_output_fails_only_its_item(tmp_path: Path) -> None:
    output = tmp_path / "out"
    items = [Item(name, {"do": "write"}) for name in ("a", "b", "c")]
    first = run_items(output, items)
    assert [outcome.outcome for outcome in first] == ["done"] * 3
    taken = output / first[1].outputs[0]
    taken.unlink()
    taken.mkdir()
    again = run_items(output, items)
    assert [(outcome.id, outcome.outcome, outcome.failure_kind) for outcome in again] == [("b", "failed", "error")]
    assert str(taken) in again[0].message
    assert "move or rename" in again[0].message
    assert taken.is_dir()
    taken.rmdir()
    assert [outcome.outcome for outcome in run_items(output, items)] == ["done"]


def test_file_in_place_of_a_folder_fails_only_its_item(tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = run_items(output, [Item("a", {"do": "write"})])
    assert done[0].outcome == "done"
    parent = output / "made" / "b"
    parent.write_text("in the way")
    again = run_items(output, [Item("b", {"do": "write"}), Item("c", {"do": "write"})])
    assert [outcome.outcome for outcome in again] == ["failed", "done"]
    assert f"cannot write {parent}: a file is where a folder must be" in again[0].message


def test_old_record_is_kept_if_a_folder_blocks_an_output(tmp_path: Path) -> None:
    """No file was replaced: the record is still valid, except for the missing file."""
    output = tmp_path / "out"
    first = run_items(output, [Item("a", {"do": "write"})])
    taken = output / first[0].outputs[-1]
    taken.unlink()
    taken.mkdir()
    run_items(output, [Item("a", {"do": "write"})])
    assert RecordStore(Layout(output), STAGE.name).get("a") is not None


@pytest.mark.parametrize("name", ["summary.json", "items.parquet", "failures.json", "report.html"])
def test_folder_in_place_of_a_run_file_is_refused_before_the_run(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(RunError, match=f"{name}.*move or rename"), open_output_dir(Layout(tmp_path), "run"):
        pass


def test_exceeded_quota_ends_the_run_with_its_own_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_quota_exceeded(descriptor: int) -> None:
        raise create_error(errno.EDQUOT)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", raise_quota_exceeded)
        with pytest.raises(RunError, match="the disk quota is exceeded") as refused:
            run_items(tmp_path / "out", [Item("a", {"do": "write"})])
    assert "full" not in str(refused.value)


def test_quota_reported_by_a_program_ends_the_run(tmp_path: Path) -> None:
    item = Item("a", {"do": "raise", "words": "ffmpeg: av_interleaved_write_frame(): Disk quota exceeded"})
    with pytest.raises(RunError, match="nothing more can be written: the disk quota is exceeded") as refused:
        run_items(tmp_path / "out", [item])
    assert "full" not in str(refused.value)


def test_missing_inodes_are_reported_as_such(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,nr_inodes=60", small_disk], check=True)
    items = [Item(f"item-{number:03d}", {"do": "write"}) for number in range(60)]
    with pytest.raises(RunError, match="no inodes left") as refused:
        run_items(small_disk / "out", items)
    assert "is full" not in str(refused.value)


def test_full_disk_is_named(tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    error = explain_no_writes(tmp_path, "a message", "the disk is full", None)
    assert f"{tmp_path} has" in str(error)
    assert f"{small_disk} has 1 MiB free" in str(error)


def test_full_disk_is_found_in_the_causes_of_an_error() -> None:
    error = BadInput("the file is damaged")
    error.__cause__ = create_error(errno.EDQUOT)
    assert find_full_disk(error) == "the disk quota is exceeded"
    assert find_full_disk(create_error(errno.EIO)) == ""
    assert find_full_disk(None) == ""


def test_error_outside_the_output_folder_is_not_explained(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), explain_write_errors(tmp_path / "out"):
        raise create_error(errno.EISDIR, tmp_path / "elsewhere")
    with pytest.raises(RunError, match="move or rename"), explain_write_errors(tmp_path / "out"):
        write_atomically_onto_a_folder(tmp_path / "out")


def write_atomically_onto_a_folder(folder: Path) -> None:
    (folder / "table.csv").mkdir(parents=True)
    Tree(folder).write("table.csv", b"text")


def test_a_full_disk_names_the_file_that_could_not_be_written(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left") as refused:
        Tree(small_disk).write("large", bytes(2 << 20))
    assert refused.value.filename == str(small_disk / "large")
    assert list(small_disk.iterdir()) == []


def test_an_obstacle_is_found_by_a_trial(small_disk: Path) -> None:
    assert write_errors.probe_write(small_disk) is None
    (small_disk / "large").write_bytes(bytes(900_000))
    obstacle = write_errors.probe_write(small_disk)
    assert obstacle is not None
    assert obstacle.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (812, "812 bytes"),
        (15 * 1024, "15 KiB"),
        (1.5 * 2**20, "1.5 MiB"),
        (3 * 2**30, "3 GiB"),
        (2**60, "1,048,576 TiB"),
    ],
)
def test_sizes_are_readable(size: float, text: str) -> None:
    assert format_bytes(size) == text


def test_an_item_that_is_refused_fails_alone_and_the_stage_never_sees_it(tmp_path: Path) -> None:
    items = [Item("a", {"do": "write"}, refusal="its name is not UTF-8; rename it"), Item("b", {"do": "write"})]
    first, second = run_items(tmp_path / "out", items)
    assert (first.failure_kind, first.message, first.attempts) == ("bad_input", "its name is not UTF-8; rename it", 1)
    assert second.outcome == "done"
    assert [outcome.outcome for outcome in run_items(tmp_path / "out", [Item("a", {"do": "write"})])] == ["done"]


def test_the_message_names_folder_path_cause_and_advice(tmp_path: Path) -> None:
    own = tmp_path / ".headrace"
    lock = create_error(errno.EIO, own / "lock")
    text = "the disk reports an input/output error"
    end = "check the disk or the mount or give another --output-dir, then run the same command again"
    assert str(explain_write_error(tmp_path, lock)) == f"cannot write to {tmp_path}: {text} ({own / 'lock'}); {end}"
    assert (
        str(explain_write_error(tmp_path, create_error(errno.EIO, tmp_path)))
        == f"cannot write to {tmp_path}: {text}; {end}"
    )
    assert str(explain_write_error(tmp_path, create_error(errno.EIO))) == f"cannot write to {tmp_path}: {text}; {end}"
    failed = write_failure(tmp_path, own, create_error(errno.EIO, tmp_path / "a.jpg"))
    assert str(failed) == f"cannot write to {tmp_path}: {text} ({tmp_path / 'a.jpg'}); {end}"
    inside = write_failure(tmp_path, own, lock)
    assert str(inside) == f"cannot write to {tmp_path}: {text} ({own / 'lock'}); {end}"
    blocked = write_failure(tmp_path, own, create_error(errno.EBUSY, tmp_path / "a.jpg"))
    assert str(blocked) == (
        f"cannot write {tmp_path / 'a.jpg'}: it is in use; "
        "close whatever uses it or give another --output-dir, then run the same command again"
    )


def test_an_error_without_a_number_is_told_in_its_own_words(tmp_path: Path) -> None:
    assert "no connection; check the folder or give another" in str(
        explain_write_error(tmp_path, OSError("no connection"))
    )


@pytest.mark.parametrize("named", ["nothing", "the output folder", "another folder"])
def test_what_is_not_at_the_path_of_an_output_concerns_the_run(named: str, tmp_path: Path) -> None:
    path = {"nothing": None, "the output folder": tmp_path, "another folder": tmp_path.parent / "elsewhere"}[named]
    error = write_failure(tmp_path, tmp_path / ".headrace", create_error(errno.EISDIR, path))
    assert isinstance(error, RunError)
    assert not isinstance(error, OutputBlocked)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_forbidden_output_concerns_its_item_while_the_folder_takes_files(
    allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, int]] = []

    def has_access(path: Path, mode: int) -> bool:
        asked.append((path, mode))
        return allowed

    monkeypatch.setattr(os, "access", has_access)
    error = write_failure(tmp_path, tmp_path / ".headrace", create_error(errno.EACCES, tmp_path / "a.jpg"))
    assert isinstance(error, OutputBlocked) is allowed
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]


def test_a_folder_in_the_place_of_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    check_is_no_folder(tmp_path / "missing")
    (tmp_path / "link").symlink_to(tmp_path)
    check_is_no_folder(tmp_path / "link")
    with pytest.raises(IsADirectoryError) as refused:
        check_is_no_folder(tmp_path)
    assert str(refused.value) == f"[Errno {errno.EISDIR}] Is a directory: {str(tmp_path)!r}"


def test_a_cause_names_the_file_and_is_found_in_words(tmp_path: Path) -> None:
    assert find_full_disk(create_error(errno.ENOSPC, tmp_path / "a")) == f"the disk is full ({tmp_path / 'a'})"
    assert find_full_disk(create_error(errno.EROFS)) == "the filesystem is read-only"
    assert find_full_disk(ValueError("ffmpeg: NO SPACE left on device")) == "the disk is full"
    assert find_full_disk(ValueError("no room")) == ""


def test_what_ends_a_run_for_want_of_room_says_why_and_where(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    monkeypatch.setattr(write_errors, "free_bytes", lambda place: 1024 if place == tmp_path else 2048)
    places = f"{tmp_path} has 1 KiB free, {small_disk} has 2 KiB free"
    space = "free some space or give another --output-dir, then run the same command again"
    assert str(explain_no_writes(tmp_path, "item a failed", "the disk is full", None)) == (
        f"nothing more can be written: the disk is full ({places}); item a failed; {space}"
    )
    mounted = "the filesystem is read-only ({}); item a failed; make it writable or give another --output-dir"
    again = "then run the same command again"
    assert str(explain_no_writes(tmp_path, "item a failed", "", create_error(errno.EROFS))) == (
        f"nothing more can be written: {mounted.format(places)}, {again}"
    )
    gone = tmp_path / "gone"
    assert f"({gone} has 2 KiB free)" in str(explain_no_writes(gone, "item a failed", "the disk is full", None))


@pytest.mark.parametrize(
    ("files", "free_files", "free_blocks", "none_left"),
    [
        (1000, 7, 1, True),
        (1, 0, 1, True),
        (1000, 8, 1, False),  # some inodes are free
        (1000, 7, 0, False),  # the disk is full as well
        (0, 0, 1, False),  # this filesystem counts none
    ],
)
def test_inodes_are_missing_only_if_the_filesystem_counts_them(
    files: int, free_files: int, free_blocks: int, none_left: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = SimpleNamespace(f_files=files, f_favail=free_files, f_bavail=free_blocks)

    def asked(folder: Path) -> SimpleNamespace:
        if folder != tmp_path:
            raise FileNotFoundError(folder)
        return status

    monkeypatch.setattr(os, "statvfs", asked)
    error = explain_write_error(tmp_path, create_error(errno.ENOSPC, tmp_path / "not-yet" / "a.jpg"))
    no_inodes = "the filesystem has no inodes left: it holds too many files"
    assert (f"{no_inodes} ({tmp_path / 'not-yet' / 'a.jpg'}); remove some files or give" in str(error)) is none_left
    assert ("the disk is full" in str(error)) is not none_left
    assert "no inodes" not in str(explain_write_error(tmp_path, create_error(errno.EIO, tmp_path / "a.jpg")))


def test_a_filesystem_that_cannot_be_asked_is_not_said_to_lack_inodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(folder)

    monkeypatch.setattr(os, "statvfs", refuse)
    assert "the disk is full" in str(explain_write_error(tmp_path, create_error(errno.ENOSPC, tmp_path / "a.jpg")))
