"""Test identities of inputs word by word: they are part of every key, so a change re-runs every item."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest
from pydantic import BaseModel

from tasks.engine.contract.execution import Execution, Identity
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Workspace
from tasks.engine.planning import identity
from tasks.engine.store.layout import Layout
from tasks.engine.store.records import RecordStore
from tests.engine.plans import plan_stage


def identify(path: Path) -> list[object]:
    return identity.identify_input(str(path), "content")


def test_pipe_is_identified_by_its_type(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert identify(tmp_path / "pipe") == ["special", stat.S_IFIFO]


def test_missing_input_is_identified_by_its_error(tmp_path: Path) -> None:
    assert identify(tmp_path / "missing") == ["unreadable", errno.ENOENT]


def test_repeated_folder_is_identified_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/again").symlink_to(tmp_path / "sub")
    (tmp_path / "sub/up").symlink_to(tmp_path)
    assert identify(tmp_path) == [["sub", ["again", "listed", 1], ["up", "listed", 0]]]


def test_too_deeply_nested_folders_are_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr(identity, "_MAX_DEPTH", str(tmp_path).count("/") + 1)
    assert identify(tmp_path) == [["a", ["b", "unreadable", errno.ENAMETOOLONG]]]


def test_canonical_json_is_unique() -> None:
    assert identity.canonicalize({"b": [1, 2.5, None], "a": "ä"}) == b'{"a":"\\u00e4","b":[1,2.5,null]}'


def test_key_hashes_id_payload_inputs_and_refusal() -> None:
    keys = [identity.compute_item_key(b"stage", Item("a", {"x": 1}, refusal=text), "stat") for text in ("", "broken")]
    hashed = (b'stage["a",{"x":1},[]]', b'stage["a",{"x":1},[],"broken"]')
    assert keys == [hashlib.sha256(content).hexdigest() for content in hashed]


@pytest.mark.parametrize("option", ["stat", "content"])
@pytest.mark.parametrize(
    "names", [(), ("file",), ("file", "other"), ("file", "missing"), ("folder", "file"), ("pipe",), ("link",)]
)
def test_item_is_identified_with_one_reading_as_with_two(
    tmp_path: Path, names: tuple[str, ...], option: Identity
) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("file", "other", "folder/inner"):
        (tmp_path / name).write_text(name)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("file")
    item = Item("a", {"x": 1}, tuple(str(tmp_path / name) for name in names), refusal="broken")
    key, get_states, _ = identity.identify_item(b"stage", item, option)
    assert key == identity.compute_item_key(b"stage", item, option)
    assert get_states() == identity.read_input_states(item)


@pytest.mark.parametrize("name", ["file", "folder"])
def test_states_of_an_identified_item_are_those_before_its_key(tmp_path: Path, name: str) -> None:
    """Otherwise a change after the key was computed would look planned."""
    (tmp_path / "folder").mkdir()
    for path in ("file", "folder/inner"):
        (tmp_path / path).write_text("before")
    item = Item("a", inputs=(str(tmp_path / name),))
    before = identity.read_input_states(item)
    get_states = identity.identify_item(b"stage", item, "stat").read_states
    (tmp_path / "file").write_text("afterwards")
    (tmp_path / "folder/inner").write_text("afterwards")
    assert get_states() == before


def test_input_states_have_sixteen_digits(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    item = Item("a", inputs=(str(tmp_path / "a"), str(tmp_path / "missing")))
    there, missing = identity.read_input_states(item)
    assert [len(state) for state in (there, missing)] == [16, 16]
    assert int(there, 16) != int(missing, 16)
    (tmp_path / "a").chmod(0o600)
    assert identity.read_input_states(item)[0] != there
    assert identity.read_input_states(item)[1] == missing == hashlib.sha256(b'["unreadable",2]').hexdigest()[:16]


class PathParams(BaseModel):
    """Parameters of a type that JSON lacks."""

    folder: Path = Path("models")


class PlainStage(Stage):
    """Stage that is never run."""

    name = "plain"
    version = 1

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Return None; never called."""
        raise NotImplementedError


def test_stage_digest_includes_parameters_as_json() -> None:
    hashed = hashlib.sha256(b'["plain",1,{"folder":"models"},{}]')
    assert identity.compute_stage_digest(PlainStage(PathParams())) == hashed.digest()


@pytest.mark.parametrize("option", ["stat", "content"])
def test_plan_identifies_inputs_as_the_option_says(tmp_path: Path, option: Identity) -> None:
    (tmp_path / "a").write_bytes(b"x")
    item = Item("a", inputs=(str(tmp_path / "a"),))
    stage = PlainStage(PathParams())
    (planned,) = plan_stage(
        stage, [item], RecordStore(Layout(tmp_path / "out"), "plain"), Execution(identity=option)
    ).todo
    inputs = [identity.identify_input(str(tmp_path / "a"), option)]
    content = identity.compute_stage_digest(stage) + identity.canonicalize(["a", {}, inputs])
    assert planned.key == hashlib.sha256(content).hexdigest()
    assert planned.states == identity.read_input_states(item)
