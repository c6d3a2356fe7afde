"""Test the places of files in an output folder, and the removal of published files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.engine.contract.errors import RunError
from tasks.engine.store.layout import Layout, check_folders, is_output_path, remove_output, remove_outputs
from tasks.engine.store.tree import Tree


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_files_of_the_engine_are_at_documented_paths(layout: Layout, tmp_path: Path) -> None:
    """The paths are those of docs/outputs.md."""
    own = tmp_path / ".headrace"
    assert layout.state_folder == own
    assert layout.lock == own / "lock"
    assert layout.private == own / "private"
    assert layout.runs == own / "runs"
    assert layout.records("frames") == own / "records" / "frames"
    assert layout.failures("frames") == own / "failures" / "frames"
    assert layout.log("frames", "a") == own / "logs" / "frames" / "a.log"
    assert layout.tree == Tree(tmp_path)


def test_relative_path_has_forward_slashes(layout: Layout, tmp_path: Path) -> None:
    assert layout.relative(tmp_path / "a" / "b.txt") == "a/b.txt"
    with pytest.raises(ValueError, match="is not in the subpath"):
        layout.relative(tmp_path.parent / "elsewhere")


@pytest.mark.parametrize("path", ["a", "made/a.jpg", "frames/summary.json", "frames/.headrace", ".headrace-2/a"])
def test_stage_may_publish_ordinary_paths(path: str) -> None:
    assert is_output_path(path)


def test_empty_folders_of_a_removed_output_are_removed(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/b/c/file").touch()
    remove_output(layout, "a/b/c/file")
    assert list(tmp_path.iterdir()) == []


def test_file_of_the_engine_is_not_removed_as_an_output(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "summary.json").touch()
    remove_output(layout, "summary.json")
    assert (tmp_path / "summary.json").exists()


def test_removal_of_outputs_is_synced(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every remaining folder that lost a name is synced, including the output folder."""
    for name in ("a/kept", "a/gone", "b/c/gone"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
    remove_outputs(layout, ["a/gone", "b/c/gone", ".headrace/records/x"])
    assert sorted(synced) == [str(tmp_path), str(tmp_path / "a")]
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == ["a/kept"]


@pytest.mark.parametrize("folder", ["records", "failures", "logs"])
def test_symlink_in_place_of_a_stage_folder_is_refused(layout: Layout, tmp_path: Path, folder: str) -> None:
    (layout.state_folder / folder).mkdir(parents=True)
    check_folders(layout)
    (layout.state_folder / folder / "frames").symlink_to(tmp_path)
    with pytest.raises(RunError) as refused:
        check_folders(layout)
    link = layout.state_folder / folder / "frames"
    assert str(refused.value) == (
        f"{link} is a symlink, and symlinks inside an output folder are not followed; "
        "replace it with a folder (a bind mount will do), or give another --output-dir"
    )


@pytest.mark.parametrize("folder", ["private", "runs"])
def test_symlink_in_private_or_runs_is_left_to_the_sweep(layout: Layout, tmp_path: Path, folder: str) -> None:
    (layout.state_folder / folder).mkdir(parents=True)
    (layout.state_folder / folder / "linked").symlink_to(tmp_path)
    check_folders(layout)


@pytest.mark.parametrize("path", [".headrace/lock", ".HEADRACE/records/x", "Summary.json", "a/../b", ""])
def test_stage_may_not_publish_engine_files_or_outside_paths(path: str) -> None:
    assert not is_output_path(path)


@pytest.mark.parametrize("folder", ["", "records", "failures", "logs", "private", "runs"])
def test_symlink_in_place_of_an_engine_folder_is_refused(layout: Layout, tmp_path: Path, folder: str) -> None:
    path = layout.state_folder / folder
    path.parent.mkdir(exist_ok=True)
    (tmp_path / "elsewhere").mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=f"^{path} is a symlink"):
        check_folders(layout)
