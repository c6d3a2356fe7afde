"""Compute the key of an item: a digest of everything that affects its result."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tasks.engine.contract.execution import Identity
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage
from tasks.engine.store.files import hash_file
from tasks.engine.store.mirrors import find_remote_input, has_mirrors, identify_remote_input

_MAX_DEPTH = 200  # of nested folders; real collections stay far below, and recursion must end


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonicalize(value: Any) -> bytes:
    """Return ``value`` as canonical JSON: sorted names, no blanks, ASCII. Raises ValueError for NaN and infinities."""
    return _canonical.encode(value).encode()


def compute_stage_digest(stage: Stage) -> bytes:
    """Return a digest of the stage's name, version, parameters and models (32 bytes)."""
    parts = [stage.name, stage.version, *describe_params(stage).values()]
    return hashlib.sha256(canonicalize(parts)).digest()


def describe_params(stage: Stage) -> dict[str, Any]:
    """Return the stage's parameters and the digests of its models."""
    return {"params": stage.params.model_dump(mode="json"), "models": dict(stage.model_digests())}


def hash_short(value: Any) -> str:
    """Return the first 16 digits of the sha256 of a JSON value: enough to notice a change, not for a key."""
    return hashlib.sha256(canonicalize(value)).hexdigest()[:16]


def compute_item_key(stage: bytes, item: Item, identity: Identity) -> str:
    """Return a sha256 of the stage digest, the item's id, payload and refusal, and the identity of its inputs."""
    return _hash_key(stage, item, [identify_input(path, identity) for path in item.inputs])


def _hash_key(stage: bytes, item: Item, inputs: list[list[Any]]) -> str:
    refusal = [item.refusal] if item.refusal else []
    return hashlib.sha256(stage + canonicalize([item.id, item.payload, inputs, *refusal])).hexdigest()


class Identified(NamedTuple):
    """The key of an item, and functions that only items need that are not done.

    read_states  returns the states of the inputs before the key was computed
    hash_inputs  returns a digest of the identities of the inputs
    """

    key: str
    read_states: Callable[[], tuple[str, ...]]
    hash_inputs: Callable[[], str]


def identify_item(stage: bytes, item: Item, identity: Identity) -> Identified:
    """Return the key of ``item`` with the states and the identities of its inputs.

    Same results as :func:`compute_item_key` and :func:`read_input_states`, in half of the time if all inputs are files:
    both come from one reading of each file's status, and only items that are not done need the states.
    """
    is_plain = identity == "stat" and not has_mirrors()
    statuses = _read_file_statuses(item.inputs) if is_plain else None
    if statuses is None:
        states = read_input_states(item)
        inputs = [identify_input(path, identity) for path in item.inputs]
        return Identified(_hash_key(stage, item, inputs), lambda: states, lambda: hash_short(inputs))
    inputs = [_read_times("", status) for status in statuses]
    key = _hash_key(stage, item, inputs)
    return Identified(
        key,
        lambda: tuple(_hash_state(_read_state("", status)) for status in statuses),
        lambda: hash_short(inputs),
    )


def _read_file_statuses(paths: Sequence[str]) -> list[os.stat_result] | None:
    """Return the status of each input; None unless all are plain files."""
    try:
        statuses = [os.stat(path) for path in paths]
    except OSError:
        return None
    return statuses if all(stat.S_ISREG(status.st_mode) for status in statuses) else None


def identify_input(path: str, identity: Identity) -> list[Any]:
    """Return the identity of a file or folder: size and mtime in ns (``stat``), or size and sha256 (``content``).

    The path is not part of it, so that a collection can move. A missing input has an identity too: the item runs and
    reports it. Each folder is listed once, so that symlink loops end. For a pipe or a device only the kind counts. An
    input in a store is identified by sizes and ETags.
    """
    if has_mirrors() and (remote := find_remote_input(path)):
        return identify_remote_input(remote)
    return _identify(path, _hash_content if identity == "content" else _read_times, {})


def read_input_states(item: Item) -> tuple[str, ...]:
    """Return a 16-digit state for each input of ``item``; any change of the input changes it.

    This includes changes of content, size and mtime that were reverted, because no program can set the ctime. It also
    includes changes that do not affect the content, such as a new owner.
    """
    return tuple(_hash_state(_identify(path, _read_state, {})) for path in item.inputs)


def _hash_state(state: list[Any]) -> str:
    return hashlib.sha256(canonicalize(state)).hexdigest()[:16]


def _read_times(_: str, status: os.stat_result) -> list[Any]:
    return [status.st_size, status.st_mtime_ns]


def _hash_content(path: str, status: os.stat_result) -> list[Any]:
    return [status.st_size, hash_file(Path(path))]


def _read_state(_: str, status: os.stat_result) -> list[Any]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


Describe = Callable[[str, os.stat_result], list[Any]]


def _identify(path: str, describe: Describe, listed: dict[tuple[int, int], int]) -> list[Any]:
    """Identify a file with ``describe``, or a folder; ``listed`` numbers the visited folders by device and inode."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            return _identify_folder(path, status, describe, listed)
        return describe(path, status) if stat.S_ISREG(status.st_mode) else ["special", stat.S_IFMT(status.st_mode)]
    except OSError as error:
        return ["unreadable", error.errno]


def _identify_folder(
    path: str, status: os.stat_result, describe: Describe, listed: dict[tuple[int, int], int]
) -> list[Any]:
    place = status.st_dev, status.st_ino
    if place in listed:
        return ["listed", listed[place]]
    if path.count(os.sep) > _MAX_DEPTH:
        return ["unreadable", errno.ENAMETOOLONG]
    listed[place] = len(listed)
    return [[name, *_identify(os.path.join(path, name), describe, listed)] for name in sorted(os.listdir(path))]
