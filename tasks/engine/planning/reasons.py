"""Explain why an item must run: what changed since its record was written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.stage import Stage
from tasks.engine.planning.basis import Basis, hash_payload, read_basis, read_params, write_outline
from tasks.engine.planning.identity import describe_params, hash_short
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.store.outcomes import Record
from tasks.engine.store.records import RecordStore

_MAX_VALUE = 40  # characters of a value in a message
_MAX_CHANGES = 3  # that a reason lists; an explanation lists all
_DIGEST = re.compile(r"[0-9a-f]{64}|sha256:[0-9a-f]+")
_MISSING = object()
UNKNOWN = "unknown change"


@dataclass(frozen=True)
class Reason:
    """Why an item runs. ``text`` is the same for all items with the same cause, ``details`` is about this one."""

    text: str
    details: tuple[str, ...] = ()


NEW = Reason("new")


class Explainer:
    """Explains why items of one stage must run."""

    def __init__(self, stage: Stage, store: RecordStore, execution: Execution) -> None:
        self._stage = stage
        self._store = store
        self._execution = execution
        self._params = describe_params(stage)
        self._done = store.ids()
        self._failed = store.failed_ids()
        self._unfinished = store.unfinished_ids()

    def explain(self, planned: PlannedItem) -> Reason:
        """Return why ``planned`` must run."""
        item_id = planned.item.id
        record = self._store.get(item_id) if item_id in self._done else None
        if record is None:
            return self._explain_missing(item_id)
        if self._execution.refresh:
            return Reason("--refresh", tuple(self._list_changes(planned, record)))
        if record.key == planned.key:
            return self._explain_outputs(record)
        changes = list(self._list_changes(planned, record)) or [UNKNOWN]
        shown = changes[:_MAX_CHANGES]
        more = [f"{len(changes) - len(shown)} more changes"] if len(changes) > _MAX_CHANGES else []
        paths = planned.item.inputs[:_MAX_CHANGES] if "input changed" in changes else ()
        details = [f"input: {path}" for path in paths]
        return Reason(", ".join([*shown, *more]), (*changes, *details) if more or details else ())

    def _explain_missing(self, item_id: str) -> Reason:
        if item_id in self._failed:
            failure = self._store.get_failure(item_id)
            return Reason("failed before", (f"{failure.kind}: {failure.message}",) if failure else ())
        if item_id in self._unfinished:
            return Reason("unfinished", ("a run ended while its files were replaced",))
        return Reason("record unreadable") if item_id in self._done else NEW

    def _explain_outputs(self, record: Record) -> Reason:
        if record.dropped:
            return Reason("outputs removed after use, needed again")
        broken = [output for output in record.outputs if not self._store.is_intact(output, self._execution.verify)]
        missing = [output.path for output in broken if self._store.tree.status(output.path) is None]
        altered = [output.path for output in broken if output.path not in missing]
        texts = (["output missing"] if missing else []) + (["output altered"] if altered else [])
        details = [f"missing: {path}" for path in missing] + [f"altered: {path}" for path in altered]
        return Reason(", ".join(texts) or UNKNOWN, tuple(details))

    def _list_changes(self, planned: PlannedItem, record: Record) -> Iterator[str]:
        """Yield the parts of the key that differ from those of ``record``."""
        if record.version != self._stage.version:
            yield f"stage version changed from {record.version} to {self._stage.version}"
        basis = read_basis(record.basis)
        if basis is None:
            return
        if basis.identity != self._execution.identity:
            yield f"--identity changed from {basis.identity} to {self._execution.identity}"
        elif basis.inputs != planned.inputs:
            yield "input changed"
        if basis.params != hash_short(self._params):
            yield from self._list_params(basis)
        if basis.payload != hash_payload(planned.item):
            yield from _list_payload(basis, planned)

    def _list_params(self, basis: Basis) -> Iterator[str]:
        former = read_params(self._store.layout, self._stage.name, basis.params)
        if not isinstance(former, dict):
            yield "parameters changed"
            return
        for name, word in (("params", "parameter"), ("models", "model")):
            yield from _describe_all(list(list_differences(former.get(name), self._params[name])), word)


def _list_payload(basis: Basis, planned: PlannedItem) -> Iterator[str]:
    outline = write_outline(planned.item.payload)
    try:
        former = from_json(basis.outline) if basis.outline and outline else None
    except ValueError:
        former = None
    changes = list(list_differences(former, from_json(outline))) if isinstance(former, dict) else []
    if not changes:
        yield "its work changed"
        return
    results = [change for change in changes if _is_digest(change[1]) and _is_digest(change[2])]
    if results:
        yield "upstream changed"
    yield from _describe_all([change for change in changes if change not in results], "parameter")


def _describe_all(changes: Sequence[tuple[str, Any, Any]], word: str) -> Iterator[str]:
    """Yield changes in words, with the last part of each path if only one has it: ``crf`` for ``work.encoder.crf``."""
    names = Counter(path.rpartition(".")[2] for path, _, _ in changes)
    for path, old, new in changes:
        last = path.rpartition(".")[2]
        yield describe_change(last if names[last] == 1 else path, old, new, word)


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def list_differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield path, old value and new value of every leaf that differs between two JSON values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(old.keys() | new.keys()):
            inner = f"{path}.{name}" if path else str(name)
            yield from list_differences(old.get(name, _MISSING), new.get(name, _MISSING), inner)
    elif _is_list(old) and _is_list(new) and len(old) == len(new):
        for place, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from list_differences(before, after, f"{path}[{place}]")
    elif old != new:
        yield path, old, new


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def describe_change(path: str, old: Any, new: Any, word: str) -> str:
    """Return a change in words: ``parameter `crf` changed from 18 to 20``."""
    name = f"{word} `{path}`"
    if old is _MISSING or new is _MISSING:
        return f"{name} is {'new' if old is _MISSING else 'gone'}"
    before, after = _format_value(old), _format_value(new)
    if _is_digest(old) or _is_digest(new) or max(len(before), len(after)) > _MAX_VALUE:
        return f"{name} changed"
    return f"{name} changed from {before} to {after}"


def _format_value(value: Any) -> str:
    is_whole = isinstance(value, float) and value.is_integer()
    return f"{value:g}" if is_whole else to_json(value).decode()
