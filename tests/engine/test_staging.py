"""Test inputs with symlinks, pipes and loops: identity, size, and copies in local scratch."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.engine.contract.execution import Identity
from tasks.engine.planning.identity import identify_input
from tasks.engine.running.staging import copy_input, measure_inputs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Create a folder with a file, a nested file, and two symlinks to itself: 2 ** 40 paths lead to each file."""
    root = tmp_path / "input"
    (root / "within").mkdir(parents=True)
    (root / "a.png").write_bytes(b"first")
    (root / "within" / "b.png").write_bytes(b"second file")
    for name in ("loop", "another loop"):
        (root / name).symlink_to(".")
    (root / "within" / "up").symlink_to("..")
    return root


@pytest.mark.parametrize("identity", ["stat", "content"])
def test_identity_of_a_folder_with_loops_ends(folder: Path, identity: Identity) -> None:
    before = identify_input(str(folder), identity)
    assert identify_input(str(folder), identity) == before
    (folder / "within" / "b.png").write_bytes(b"third")
    assert identify_input(str(folder), identity) != before


def test_identity_of_folders_that_link_to_each_other_in_pairs_ends(tmp_path: Path) -> None:
    """There is no loop, but 2 ** 30 paths lead from the first to the last folder."""
    for number in range(30):
        (tmp_path / str(number)).mkdir()
        for name in ("left", "right"):
            (tmp_path / str(number) / name).symlink_to(f"../{number + 1}")
    (tmp_path / "30").mkdir()
    (tmp_path / "30" / "a.png").write_bytes(b"first")
    before = identify_input(str(tmp_path / "0"), "content")
    (tmp_path / "30" / "a.png").write_bytes(b"other")
    assert identify_input(str(tmp_path / "0"), "content") != before


def test_identity_of_a_folder_does_not_depend_on_its_path(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    assert identify_input(str(tmp_path / "copy"), "content") == identify_input(str(folder), "content")


@pytest.mark.parametrize("identity", ["stat", "content"])
def test_identity_of_a_pipe_needs_no_writer(folder: Path, identity: Identity) -> None:
    os.mkfifo(folder / "pipe.png")
    assert identify_input(str(folder / "pipe.png"), identity)[0] == "special"
    assert identify_input(str(folder), identity)


def test_identity_of_very_deep_folders_ends(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("a", dir_fd=descriptor)
        inner = os.open("a", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    try:
        assert identify_input(str(tmp_path), "stat")
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "a"], check=True)  # Python cannot remove so many levels


def test_size_of_a_folder_with_loops_counts_each_file_once(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    (folder / "broken.png").symlink_to("nothing")
    (folder / "device.png").symlink_to("/dev/zero")
    assert measure_inputs(str(folder)) == len(b"first") + len(b"second file")
    assert measure_inputs(str(folder / "a.png")) == len(b"first")
    assert measure_inputs(str(folder / "broken.png")) == 0


def test_copy_has_the_visible_content_of_the_original(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.write_bytes(b"beside")
    (folder / "linked.png").symlink_to("../elsewhere.png")
    (folder / "broken.png").symlink_to("nothing")
    os.mkfifo(folder / "pipe.png")
    copy = tmp_path / "scratch" / "copy"
    copy.parent.mkdir()
    copy_input(str(folder), str(copy))
    assert (copy / "a.png").read_bytes() == b"first"
    assert (copy / "within" / "b.png").read_bytes() == b"second file"
    assert (copy / "linked.png").read_bytes() == b"beside"
    assert not (copy / "linked.png").is_symlink()
    assert (copy / "broken.png").is_symlink()
    assert not (copy / "broken.png").exists()
    assert (copy / "pipe.png").is_fifo()
    assert (copy / "loop").is_symlink()


def test_copy_of_a_linked_folder_has_its_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    copy_input(str(tmp_path / "link"), str(tmp_path / "copy"))
    assert (tmp_path / "copy" / "a.png").read_bytes() == b"first"
    assert measure_inputs(str(tmp_path / "link")) == measure_inputs(str(folder))


def test_copy_of_a_file_is_a_plain_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"first")
    copy_input(str(tmp_path / "a.png"), str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == b"first"
    assert not (tmp_path / "copy").is_symlink()
