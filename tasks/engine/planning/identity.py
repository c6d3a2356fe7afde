"""The key of an item: what its result depends on, and nothing else."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.engine.contract.execution import Identity
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage
from tasks.engine.store.files import file_sha256

_MAX_DEPTH = 200  # of folders within each other: no collection has more, and recursion ends somewhere


def canonical(value: Any) -> bytes:
    """``value`` as JSON with one spelling: sorted names, no blanks, ASCII. Raises ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def stage_digest(stage: Stage) -> bytes:
    """32 bytes that stand for the stage's name, version, parameters and models."""
    parts = [stage.name, stage.version, stage.params.model_dump(mode="json"), dict(stage.model_digests())]
    return hashlib.sha256(canonical(parts)).digest()


def item_key(stage: bytes, item: Item, identity: Identity) -> str:
    """Return sha256 over a :func:`stage_digest`, the item's id, payload and refusal, and the identity of its inputs."""
    inputs = [input_identity(path, identity) for path in item.inputs]
    refusal = [item.refusal] if item.refusal else []
    return hashlib.sha256(stage + canonical([item.id, item.payload, inputs, *refusal])).hexdigest()


def input_identity(path: str, identity: Identity) -> list[Any]:
    """Size and modification time in nanoseconds (``stat``), or size and sha256 (``content``), of a file or folder.

    The path itself stays out, so that a collection can move. A missing input is an identity of its own: the item
    runs and says so. A folder that symlinks lead to again is listed once, so that a loop ends. Of a pipe or
    a device only its kind counts.
    """
    return _identity(path, _content_of if identity == "content" else _times_of, {})


def input_states(item: Item) -> tuple[str, ...]:
    """Return 16 digits for each input of ``item`` that differ after any change of it.

    They differ as well if its content, size and modification time were changed and restored, because nobody can set
    the time of a status change. They also differ after changes that leave the content as it is, such as a new owner.
    """
    states = (_identity(path, _state_of, {}) for path in item.inputs)
    return tuple(hashlib.sha256(canonical(state)).hexdigest()[:16] for state in states)


def _times_of(_: str, status: os.stat_result) -> list[Any]:
    return [status.st_size, status.st_mtime_ns]


def _content_of(path: str, status: os.stat_result) -> list[Any]:
    return [status.st_size, file_sha256(Path(path))]


def _state_of(_: str, status: os.stat_result) -> list[Any]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


Describe = Callable[[str, os.stat_result], list[Any]]


def _identity(path: str, describe: Describe, listed: dict[tuple[int, int], int]) -> list[Any]:
    """``describe`` gives the identity of a plain file; ``listed`` numbers the folders so far by device and inode."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            return _folder_identity(path, status, describe, listed)
        return describe(path, status) if stat.S_ISREG(status.st_mode) else ["special", stat.S_IFMT(status.st_mode)]
    except OSError as error:
        return ["unreadable", error.errno]


def _folder_identity(
    path: str, status: os.stat_result, describe: Describe, listed: dict[tuple[int, int], int]
) -> list[Any]:
    place = status.st_dev, status.st_ino
    if place in listed:
        return ["listed", listed[place]]
    if path.count(os.sep) > _MAX_DEPTH:
        return ["unreadable", errno.ENAMETOOLONG]
    listed[place] = len(listed)
    return [[name, *_identity(os.path.join(path, name), describe, listed)] for name in sorted(os.listdir(path))]
