"""Test file access in one folder: reads, writes and removals, symlinks that are never followed, and paths in errors."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from pathlib import Path

import pytest

from tasks.engine.contract.errors import RunError
from tasks.engine.store import tree as tree_module
from tasks.engine.store.tree import Tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def tree(root: Path) -> Tree:
    return Tree(root)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the paths that were synced to disk."""
    paths: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: paths.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
    return paths


def fill(folder: Path, *list_names: str) -> None:
    for name in list_names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def list_names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def refuse(code: int) -> object:
    def raise_error(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return raise_error


def test_names_and_folders_are_sorted_without_symlinks_as_folders(tree: Tree, root: Path) -> None:
    fill(root, "t-b/file", "t-a/within/file", "t-file")
    (root / "t-link").symlink_to(root / "t-a")
    assert tree.names() == ["t-a", "t-b", "t-file", "t-link"]
    assert tree.folders() == ["t-a", "t-b"]
    assert tree.folders("t-a") == ["within"]
    assert tree.names("t-missing") == []
    assert tree.folders("t-missing") == []
    assert [tree.is_folder(name) for name in ("t-a", "t-file", "t-link", "t-missing")] == [True, False, False, False]


def test_status_does_not_follow_symlinks(tree: Tree, root: Path) -> None:
    fill(root, "t-a/file")
    (root / "t-link").symlink_to("t-a/file")
    (root / "t-broken").symlink_to("nowhere")
    status = tree.status("t-a/file")
    assert status is not None
    assert status.st_size == len("t-a/file")
    for link in ("t-link", "t-broken"):
        status = tree.status(link)
        assert status is not None
        assert status.st_ino == (root / link).lstat().st_ino
    assert tree.status("t-a/file/below") is None
    assert tree.status("t-missing/file") is None


def test_symlink_is_refused(tree: Tree, root: Path) -> None:
    fill(root, "t-a/file")
    (root / "t-a/link").symlink_to(root)
    tree.refuse_link("t-a/file")
    tree.refuse_link("t-a/missing")
    with pytest.raises(RunError) as refused:
        tree.refuse_link("t-a/link")
    text = (
        f"{root}/t-a/link is a symlink, and symlinks inside an output folder are not followed; "
        "replace it with a folder (a bind mount will do), or give another --output-dir"
    )
    assert str(refused.value) == text
    with pytest.raises(RunError) as refused:
        tree.names("t-a/link/deeper")
    assert str(refused.value) == text


@pytest.mark.parametrize("path", ["../t", "/t", "t/../../t", "t//t", "t/."])
def test_path_outside_the_folder_is_refused(tree: Tree, path: str) -> None:
    with pytest.raises(RunError) as refused:
        tree.unlink(path)
    assert str(refused.value) == f"{path!r} is not a path inside the output folder; it was left alone"


def test_too_large_file_is_not_read(tree: Tree, root: Path) -> None:
    fill(root, "t-a/file")
    assert tree.read("t-a/file", 8) == b"t-a/file"
    with pytest.raises(OSError, match=re.escape(f"{root}/t-a/file has more than 7 bytes")):
        tree.read("t-a/file", 7)
    with pytest.raises(FileNotFoundError) as missing:
        tree.read("t-missing", 7)
    assert str(missing.value) == f"[Errno {errno.ENOENT}] No such file or directory: {str(root / 't-missing')!r}"
    os.mkfifo(root / "t-pipe")
    with pytest.raises(OSError, match=re.escape(f"{root}/t-pipe is not a plain file")):
        tree.read("t-pipe", 7)


def test_checksum_covers_all_chunks(tree: Tree, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "_CHUNK_BYTES", 3)
    fill(root, "t-a/file")
    assert tree.sha256("t-a/file") == hashlib.sha256(b"t-a/file").hexdigest()


@pytest.mark.parametrize("path", ["t-missing", "t-missing/file", "t-a/missing"])
def test_read_error_names_the_path(tree: Tree, root: Path, path: str) -> None:
    fill(root, "t-a/file")
    with pytest.raises(FileNotFoundError) as refused:
        tree.read(path, 100)
    named = path if path == "t-a/missing" else "t-missing"
    assert refused.value.filename == str(root / named)


def test_written_file_is_complete_and_synced(tree: Tree, root: Path, synced: list[str]) -> None:
    (root / "t-a").mkdir()
    former = os.umask(0o002)
    try:
        tree.write("t-a/file", b"content")
    finally:
        os.umask(former)
    assert (root / "t-a/file").read_bytes() == b"content"
    assert (root / "t-a/file").stat().st_mode & 0o777 == 0o664
    assert len(synced) == 1
    assert re.fullmatch(rf"{root}/t-a/\.file\.[0-9a-f]{{12}}\.tmp", synced[0])
    assert list_names(root) == ["t-a", "t-a/file"]
    tree.write("t-a/file", b"other", durable=False)
    assert (root / "t-a/file").read_bytes() == b"other"
    assert len(synced) == 1


def test_failed_write_names_its_target_and_leaves_no_file(
    tree: Tree, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(root, "t-file")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse(errno.EIO))
        with pytest.raises(OSError, match="Input/output error") as refused:
            tree.write("t-file", b"new")
    assert (refused.value.filename, refused.value.filename2) == (str(root / "t-file"), None)
    assert list_names(root) == ["t-file"]
    assert (root / "t-file").read_text() == "t-file"
    (root / "t-a").mkdir()
    with pytest.raises(OSError, match="directory") as refused:
        tree.write("t-a", b"new")
    assert (refused.value.filename, refused.value.filename2) == (str(root / "t-a"), None)
    assert list_names(root) == ["t-a", "t-file"]


def test_files_and_folders_are_synced(tree: Tree, root: Path, synced: list[str]) -> None:
    fill(root, "t-a/file")
    tree.sync("t-a/file")
    tree.sync_folder("t-a")
    tree.sync_folder()
    assert synced == [f"{root}/t-a/file", f"{root}/t-a", str(root)]


def test_unsupported_folder_sync_is_ignored(tree: Tree, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "t-a").mkdir()
    monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL))
    tree.sync_folder("t-a")
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output error") as refused:
        tree.sync_folder("t-a")
    assert refused.value.filename == str(root / "t-a")


def test_move_creates_folders_and_replaces_the_target(tree: Tree, root: Path) -> None:
    fill(root, "t-from/file", "t-from/other", "t-to/there")
    tree.move("t-from/file", "t-new/deep/file")
    tree.move("t-from/other", "t-to/there")
    assert (root / "t-new/deep/file").read_text() == "t-from/file"
    assert (root / "t-to/there").read_text() == "t-from/other"
    fill(root, "t-from/file")
    (root / "t-to/taken").mkdir()
    with pytest.raises(IsADirectoryError) as refused:
        tree.move("t-from/file", "t-to/taken")
    text = f"[Errno {errno.EISDIR}] Is a directory: {str(root / 't-to/taken')!r}"
    assert (str(refused.value), refused.value.filename2) == (text, None)


def test_new_folder_has_the_given_mode(tree: Tree, root: Path) -> None:
    former = os.umask(0)
    try:
        tree.make("t-a/private", mode=0o700)
        tree.make("t-a/open")
    finally:
        os.umask(former)
    assert (root / "t-a/private").stat().st_mode & 0o777 == 0o700
    assert (root / "t-a/open").stat().st_mode & 0o777 == 0o777
    with pytest.raises(FileExistsError) as refused:
        tree.make("t-a/open")
    assert refused.value.filename == str(root / "t-a/open")


def test_root_is_created_only_if_allowed(tmp_path: Path) -> None:
    with Tree(tmp_path / "t-one/two").opened("a", make=True):
        assert (tmp_path / "t-one/two/a").is_dir()
    with pytest.raises(FileNotFoundError), Tree(tmp_path / "t-other", makes_root=False).opened("a", make=True):
        pass
    with pytest.raises(FileNotFoundError), Tree(tmp_path / "t-other").opened("a"):
        pass
    assert not (tmp_path / "t-other").exists()


def test_removal_of_a_missing_file_is_not_an_error(tree: Tree, root: Path) -> None:
    fill(root, "t-a/file", "t-a/kept")
    (root / "t-link").symlink_to(root / "t-a")
    for path in ("t-a/file", "t-link", "t-a/missing", "t-missing/file", "t-a/kept/below"):
        tree.unlink(path)
    assert list_names(root) == ["t-a", "t-a/kept"]
    with pytest.raises(OSError, match="directory") as refused:
        tree.unlink("t-a")
    assert refused.value.filename == str(root / "t-a")


def test_folder_is_removed_with_its_content_without_following_symlinks(tree: Tree, root: Path, tmp_path: Path) -> None:
    fill(tmp_path / "t-elsewhere", "precious")
    fill(root, "t-a/b/file", "t-a/file", "t-kept", "t-file")
    (root / "t-a/b/link").symlink_to(tmp_path / "t-elsewhere")
    (root / "t-link").symlink_to(tmp_path / "t-elsewhere")
    for path in ("t-a", "t-file", "t-link", "t-missing", "t-missing/file", "t-kept/below"):
        tree.remove(path)
    assert list_names(root) == ["t-kept"]
    assert list_names(tmp_path / "t-elsewhere") == ["precious"]


def test_concurrent_change_during_removal_is_not_an_error(
    tree: Tree, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(root, "t-a/one", "t-a/two")
    monkeypatch.setattr(os, "rmdir", refuse(errno.EBUSY))
    tree.remove("t-a")
    assert list_names(root) == ["t-a"]


def test_file_that_cannot_be_removed_is_an_error(tree: Tree, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root, "t-a/file")
    monkeypatch.setattr(os, "unlink", refuse(errno.EPERM))
    with pytest.raises(PermissionError):
        tree.remove("t-a/file")


def test_clear_keeps_the_folder_and_removes_other_entries_of_its_name(tree: Tree, root: Path, tmp_path: Path) -> None:
    fill(tmp_path / "t-elsewhere", "precious")
    fill(root, "t-a/b/file", "t-a/file", "t-file")
    (root / "t-link").symlink_to(tmp_path / "t-elsewhere")
    for folder in ("t-a", "t-file", "t-link", "t-missing"):
        tree.clear(folder)
    assert list_names(root) == ["t-a"]
    assert list_names(tmp_path / "t-elsewhere") == ["precious"]


def test_only_temporary_files_are_removed(tree: Tree, root: Path) -> None:
    left, folder = ".a.json.0123456789ab.tmp", ".b.0123456789ab.tmp"
    others = [".a.0123456789a.tmp", ".a.0123456789AB.tmp", "a.0123456789ab.tmp", ".0123456789ab.tmp", ".a.tmp"]
    for parent in ("", "t-a/"):
        fill(root, parent + left, *(parent + name for name in others))
        (root / parent / folder).mkdir()
    tree.remove_temporary()
    assert tree.names() == sorted([*others, folder, "t-a"])
    tree.remove_temporary("t-a")
    assert tree.names("t-a") == sorted([*others, folder])
    tree.remove_temporary("t-missing")


def test_only_empty_folders_are_removed(tree: Tree, root: Path) -> None:
    fill(root, "t-a/file")
    (root / "t-a/b").mkdir()
    tree.remove_empty("t-a/b")
    assert list_names(root) == ["t-a", "t-a/file"]
    with pytest.raises(OSError, match="not empty"):
        tree.remove_empty("t-a")


def test_file_descriptors_are_closed(tree: Tree, root: Path) -> None:
    fill(root, "t-a/b/file")
    before = count_descriptors()
    tree.read("t-a/b/file", 100)
    tree.names("t-a/b")
    tree.write("t-a/b/new", b"")
    with pytest.raises(FileNotFoundError):
        tree.read("t-a/missing/file", 100)
    assert count_descriptors() == before
    with tree.holding() as held:
        assert held.names("t-a") == ["b"]
        assert held.names("t-a/b") == ["file", "new"]
        assert count_descriptors() == before + 3
        held.names("t-a")
        assert count_descriptors() == before + 3
    assert count_descriptors() == before


def test_held_folders_stay_open_up_to_a_limit(tree: Tree, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "_MAX_HELD", 3)
    fill(root, "t-a/file", "t-b/file", "t-c/file")
    before = count_descriptors()
    with tree.holding() as held:
        assert held.read("t-a/file", 100) == b"t-a/file"
        (root / "t-a").rename(root / "t-moved")
        assert held.read("t-a/file", 100) == b"t-a/file"
        held.names("t-b")
        assert count_descriptors() == before + 3
        held.names("t-c")
        assert count_descriptors() == before + 2
        with held.opened("t-new", make=True):
            assert (root / "t-new").is_dir()
        with held.opened("t-c"):
            held.move("t-b/file", "t-new/file")  # more than the limit, but none of these is closed while in use
    assert count_descriptors() == before
    assert list_names(root / "t-new") == ["file"]


def test_deep_folder_is_held_without_the_folders_above_it(tree: Tree, root: Path) -> None:
    deep = "/".join(["t-a"] * 40)
    fill(root, f"{deep}/file")
    before = count_descriptors()
    with tree.holding() as held:
        assert held.status(f"{deep}/file")
        assert count_descriptors() == before + 1


@pytest.mark.parametrize("ways", ["remove", "clear", "remove_empty"])
def test_removed_folder_is_not_held_any_more(tree: Tree, root: Path, ways: str) -> None:
    fill(root, "t-a/b/c/file", "t-ab/file", "t-file")
    with tree.holding() as held:
        held.unlink("t-a/b/c/file")
        if ways == "clear":
            held.clear("t-a")
        else:
            getattr(held, ways)("t-a/b/c")
        held.move("t-file", "t-a/b/c/file")
        assert held.read("t-a/b/c/file", 100) == b"t-file"
    assert (root / "t-a/b/c/file").read_text() == "t-file"


def test_held_tree_refuses_symlinks(tree: Tree, root: Path, tmp_path: Path) -> None:
    fill(tmp_path / "t-elsewhere", "b/precious")
    fill(root, "t-file")
    (root / "t-link").symlink_to(tmp_path / "t-elsewhere")
    with tree.holding() as held:
        for folder in ("t-link", "t-link/b"):
            with pytest.raises(RunError, match="is a symlink"):
                held.move("t-file", f"{folder}/precious")
            with pytest.raises(RunError, match="is a symlink"):
                held.status(f"{folder}/precious")
    assert (tmp_path / "t-elsewhere/b/precious").read_text() == "b/precious"


def test_absolute_path_of_an_error_is_kept(root: Path) -> None:
    with pytest.raises(OSError, match="x") as refused, tree_module._name_errors(root, ""):
        raise OSError(errno.EIO, "x", "/already/named")
    assert refused.value.filename == "/already/named"
    with pytest.raises(OSError, match="x") as refused, tree_module._name_errors(root, ""):
        raise OSError(errno.EIO, "x", "relative", None, "other")
    assert (refused.value.filename, refused.value.filename2) == (str(root), None)


@pytest.mark.parametrize(("max_bytes", "expected"), [(3, b"nt\n"), (100, b"content\n"), (0, b"")])
def test_end_of_a_file_is_read(tree: Tree, root: Path, max_bytes: int, expected: bytes) -> None:
    (root / "log").write_bytes(b"content\n")
    assert tree.read_end("log", max_bytes) == expected
    (root / "link").symlink_to("log")
    with pytest.raises(OSError, match="link"):
        tree.read_end("link", max_bytes)
