"""Identities of inputs, word by word: they enter every key, so a changed one makes every item run again."""

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
from tasks.engine.planning.plan import plan_stage
from tasks.engine.store.layout import Layout
from tasks.engine.store.records import RecordStore


def identity_of(path: Path) -> list[object]:
    return identity.identify_input(str(path), "content")


def test_a_pipe_counts_by_its_kind(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert identity_of(tmp_path / "pipe") == ["special", stat.S_IFIFO]


def test_a_missing_input_counts_by_its_error(tmp_path: Path) -> None:
    assert identity_of(tmp_path / "missing") == ["unreadable", errno.ENOENT]


def test_a_folder_counts_once_and_then_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/again").symlink_to(tmp_path / "sub")
    (tmp_path / "sub/up").symlink_to(tmp_path)
    assert identity_of(tmp_path) == [["sub", ["again", "listed", 1], ["up", "listed", 0]]]


def test_folders_nested_too_deep_are_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr(identity, "_MAX_DEPTH", str(tmp_path).count("/") + 1)
    assert identity_of(tmp_path) == [["a", ["b", "unreadable", errno.ENAMETOOLONG]]]


def test_canonical_json_has_one_spelling() -> None:
    assert identity.canonicalize({"b": [1, 2.5, None], "a": "ä"}) == b'{"a":"\\u00e4","b":[1,2.5,null]}'


def test_a_key_hashes_id_payload_inputs_and_refusal_if_there_is_one() -> None:
    keys = [identity.compute_item_key(b"stage", Item("a", {"x": 1}, refusal=text), "stat") for text in ("", "broken")]
    hashed = (b'stage["a",{"x":1},[]]', b'stage["a",{"x":1},[],"broken"]')
    assert keys == [hashlib.sha256(content).hexdigest() for content in hashed]


def test_states_are_sixteen_digits_for_each_input(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    item = Item("a", inputs=(str(tmp_path / "a"), str(tmp_path / "missing")))
    there, missing = identity.read_input_states(item)
    assert [len(state) for state in (there, missing)] == [16, 16]
    assert int(there, 16) != int(missing, 16)
    (tmp_path / "a").chmod(0o600)
    assert identity.read_input_states(item)[0] != there
    assert identity.read_input_states(item)[1] == missing == hashlib.sha256(b'["unreadable",2]').hexdigest()[:16]


class PathParams(BaseModel):
    """Parameters that JSON has no type for."""

    folder: Path = Path("models")


class PlainStage(Stage):
    """A stage that is never run."""

    name = "plain"
    version = 1

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Never called."""
        raise NotImplementedError


def test_parameters_enter_the_digest_of_a_stage_as_json() -> None:
    hashed = hashlib.sha256(b'["plain",1,{"folder":"models"},{}]')
    assert identity.compute_stage_digest(PlainStage(PathParams())) == hashed.digest()


@pytest.mark.parametrize("option", ["stat", "content"])
def test_a_plan_knows_inputs_by_the_option_that_was_given(tmp_path: Path, option: Identity) -> None:
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
