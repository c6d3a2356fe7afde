"""Compute the key of an item: a digest of everything that affects its result."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tasks.engine.contract.execution import Identity
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage
from tasks.engine.store.files import hash_file

_MAX_DEPTH = 200  # of nested folders; real collections stay far below, and recursion must end


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonicalize(value: Any) -> bytes:
    """Return ``value`` as canonical JSON: sorted names, no blanks, ASCII. Raises ValueError for NaN and infinities."""
    return _canonical.encode(value).encode()


def compute_stage_digest(stage: Stage) -> bytes:
    """Return a digest of the stage's name, version, parameters and models (32 bytes)."""
    parts = [stage.name, stage.version, stage.params.model_dump(mode="json"), dict(stage.model_digests())]
    return hashlib.sha256(canonicalize(parts)).digest()


def compute_item_key(stage: bytes, item: Item, identity: Identity) -> str:
    """Return a sha256 of the stage digest, the item's id, payload and refusal, and the identity of its inputs."""
    return _hash_key(stage, item, [identify_input(path, identity) for path in item.inputs])


def _hash_key(stage: bytes, item: Item, inputs: list[list[Any]]) -> str:
    refusal = [item.refusal] if item.refusal else []
    return hashlib.sha256(stage + canonicalize([item.id, item.payload, inputs, *refusal])).hexdigest()


def identify_item(stage: bytes, item: Item, identity: Identity) -> tuple[str, Callable[[], tuple[str, ...]]]:
    """Return the key of ``item``, and a function that returns the states of its inputs before the key was computed.

    Same results as :func:`compute_item_key` and :func:`read_input_states`, in half of the time if all inputs are files:
    both come from one reading of each file's status, and only items that are not done need the states.
    """
    statuses = _read_file_statuses(item.inputs) if identity == "stat" else None
    if statuses is None:
        states = read_input_states(item)
        return compute_item_key(stage, item, identity), lambda: states
    key = _hash_key(stage, item, [_read_times("", status) for status in statuses])
    return key, lambda: tuple(_hash_state(_read_state("", status)) for status in statuses)


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
    reports it. Each folder is listed once, so that symlink loops end. For a pipe or a device only the kind counts.
    """
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
