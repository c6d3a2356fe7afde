"""Describe the parts of which the key of an item was made, so that a later run can explain a change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from tasks.engine.contract.execution import Identity
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage
from tasks.engine.planning.identity import canonicalize, describe_params, hash_short
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.store.layout import Layout

_MAX_OUTLINE_BYTES = 4096
_MAX_LENGTH = 32  # of lists that an outline contains
_MAX_TEXT = 200
_MAX_PARAMS_BYTES = 2**20


@dataclass(frozen=True)
class Basis:
    """The parts of which a key was made, to explain later why an item runs again. Never decides whether it runs.

    identity  how changed inputs were detected
    inputs    digest of the identities of the inputs
    params    digest of the stage's parameters and models; the file ``.headrace/params/<stage>/<digest>.json`` has them
    payload   digest of the payload and the refusal
    outline   the payload as JSON without its long parts; empty if even that is long
    """

    identity: Identity
    inputs: str
    params: str
    payload: str
    outline: str = ""


_BASIS = TypeAdapter(Basis)


def read_basis(text: str) -> Basis | None:
    """Return the basis in a record; None if there is none, or if no run wrote it."""
    try:
        return _BASIS.validate_json(text) if text else None
    except ValidationError:
        return None


class BasisMaker:
    """Describes the keys of one stage's items."""

    def __init__(self, stage: Stage, identity: Identity) -> None:
        self._identity = identity
        self._params = hash_short(describe_params(stage))

    def describe(self, planned: PlannedItem) -> str:
        """Return the parts of an item's key as JSON, for its record."""
        item = planned.item
        outline = write_outline(item.payload)
        basis = Basis(self._identity, planned.inputs, self._params, hash_payload(item), outline)
        return _BASIS.dump_json(basis).decode()


def hash_payload(item: Item) -> str:
    """Return a digest of the payload and the refusal."""
    return hash_short([item.payload, item.refusal])


def write_outline(payload: Any) -> str:
    """Return the payload as JSON, with digests in place of long lists and texts; empty if it is long nevertheless."""
    text = canonicalize(_shorten(payload))
    return text.decode() if len(text) <= _MAX_OUTLINE_BYTES else ""


def _shorten(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _MAX_TEXT else f"sha256:{hash_short(value)}"
    if isinstance(value, list | tuple):
        return [_shorten(each) for each in value] if len(value) <= _MAX_LENGTH else f"sha256:{hash_short(value)}"
    if isinstance(value, dict):
        return {name: _shorten(each) for name, each in value.items()}
    return value


def write_params(layout: Layout, stage: Stage) -> None:
    """Write the stage's parameters to the output folder, for later explanations. Raises OSError as the system does."""
    described = describe_params(stage)
    folder = layout.relative(layout.params(stage.name))
    path = f"{folder}/{hash_short(described)}.json"
    content = canonicalize(described)
    if len(content) > _MAX_PARAMS_BYTES or layout.tree.status(path):
        return
    with layout.tree.opened(folder, make=True):
        layout.tree.write(path, content, durable=False)


def read_params(layout: Layout, stage: str, digest: str) -> Any:
    """Return the parameters that :func:`write_params` wrote; None if they are missing or damaged."""
    if PurePosixPath(digest).name != digest:  # a record may be forged
        return None
    path = f"{layout.relative(layout.params(stage))}/{digest}.json"
    try:
        return from_json(layout.tree.read(path, _MAX_PARAMS_BYTES))
    except (OSError, ValueError):
        return None
