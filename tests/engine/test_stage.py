"""Test the workspace of an item, published files, and the ids and input folder of items."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from tasks.engine.contract import items
from tasks.engine.contract.items import Item, find_input_root, make_distinct_ids, make_safe_id
from tasks.engine.contract.stage import Needs, NoParams, Stage, StageResult, Workspace, get_published_file


class PlainStage(Stage):
    """Stage with the defaults of all stages."""

    name = "plain"
    version = 1

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Return an empty result."""
        return StageResult()


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "outputs", tmp_path / "scratch", tmp_path / "out", {"/in/a.mp4": "/scratch/0.mp4"})


def test_stage_defaults() -> None:
    stage = PlainStage(NoParams())
    assert stage.needs() == Needs(256 * 2**20)
    assert stage.needs().max_slots is None
    assert stage.model_digests() == {}
    assert stage.params == NoParams()


def test_folder_of_an_output_is_created(work: Workspace) -> None:
    for _ in range(2):
        assert work.output("a/b/c.txt") == work.outputs / "a/b/c.txt"
    assert (work.outputs / "a/b").is_dir()


@pytest.mark.parametrize("path", ["/a", "../a", "a/../../b"])
def test_outputs_must_stay_in_the_output_folder(work: Workspace, path: str) -> None:
    with pytest.raises(ValueError, match=f"^an output path must stay in the output folder: '{path}'$"):
        work.output(path)
    assert not work.outputs.exists()


def test_inputs_are_read_from_staged_copies(work: Workspace) -> None:
    assert work.input("/in/a.mp4") == Path("/scratch/0.mp4")
    assert work.input("/in/b.mp4") == Path("/in/b.mp4")


def test_published_files_must_be_in_the_output_folder(tmp_path: Path) -> None:
    root = tmp_path / "out"
    (root / "sub").mkdir(parents=True)
    (root / "sub/inside").symlink_to(root)
    (root / "sub/outside").symlink_to(tmp_path)
    assert get_published_file(root, "sub/inside/a.txt") == root / "sub/inside/a.txt"
    for path in ("../a.txt", "sub/outside/a.txt", str(root / "a.txt"), "../outer"):
        with pytest.raises(PermissionError) as raised:
            get_published_file(root, path)
        assert raised.value.errno == errno.EPERM
        assert raised.value.strerror == "leads out of the output folder"
        assert raised.value.filename == path


def test_input_root_is_the_common_folder_of_all_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [Item("a", inputs=("/in/a/1.mp4", "/in/a/2.mp4")), Item("b", inputs=("/in/b/c/1.mp4",))]
    assert find_input_root(both) == Path("/in")
    assert find_input_root(both[:1]) == Path("/in/a")
    assert find_input_root([Item("c")]) is None

    def fail(_: object) -> str:
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(os.path, "commonpath", fail)
    assert find_input_root(both) is None


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("Gürtel 1", "Gurtel-1-"),
        ("con.txt", "con-txt-"),
        ("..a..b..", "a..b-"),
        ("-_x y__z_-", "x-y__z-"),
        ("中文", ""),
        ("x" * 121, "x" * 103 + "-"),
    ],
)
def test_derived_ids_have_sixteen_digits_of_the_digest(text: str, readable: str) -> None:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    assert make_safe_id(text) == f"{readable}{digest}"


def test_names_that_share_all_candidates_get_a_digest() -> None:
    first, second = make_distinct_ids(["a", "A"])
    assert (first, second) == (items._append_digest("a"), items._append_digest("A"))
    assert first.startswith("a-")
