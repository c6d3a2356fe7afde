"""The key of an item: what its result depends on, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from tasks.engine.execution import Identity
from tasks.engine.files import file_sha256
from tasks.engine.items import Item
from tasks.engine.stage import Stage


def canonical(value: Any) -> bytes:
    """``value`` as JSON with one spelling: sorted names, no blanks, ASCII. Raises ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def stage_digest(stage: Stage) -> bytes:
    """32 bytes that stand for the stage's name, version, parameters and models."""
    parts = [stage.name, stage.version, stage.params.model_dump(mode="json"), dict(stage.model_digests())]
    return hashlib.sha256(canonical(parts)).digest()


def item_key(stage: bytes, item: Item, identity: Identity) -> str:
    """sha256 over a :func:`stage_digest`, the item's id and payload, and the identity of its inputs."""
    inputs = [input_identity(path, identity) for path in item.inputs]
    return hashlib.sha256(stage + canonical([item.id, item.payload, inputs])).hexdigest()


def input_identity(path: str, identity: Identity) -> list[Any]:
    """Size and modification time in nanoseconds (``stat``), or size and sha256 (``content``), of a file or folder.

    The path itself stays out, so that a collection can move. A missing input is an identity of its own: the item
    runs and says so.
    """
    try:
        if os.path.isdir(path):
            return [[entry, *input_identity(os.path.join(path, entry), identity)] for entry in sorted(os.listdir(path))]
        status = os.stat(path)
        if identity == "content":
            return [status.st_size, file_sha256(Path(path))]
    except OSError as error:
        return ["unreadable", error.errno]
    return [status.st_size, status.st_mtime_ns]
