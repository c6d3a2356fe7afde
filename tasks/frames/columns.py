"""Types of the dataset's columns, kept as JSON so that they can enter a part's key.

A type is ``"null"``, ``"bool"``, ``"int64"``, ``"float64"`` or ``"string"``; ``[type]`` is a list of it and
``{name: type}`` a struct. They are found over all splits together: a column that is empty in one split has the same
type there as elsewhere, without which ``datasets`` would refuse to load the splits as one dataset.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.json

Type: TypeAlias = str | list[Any] | dict[str, Any]

# What one frame's provenance holds; more that the frames stage may add is found by inference.
FRAME: Type = {
    "path": "string",
    "source": "string",
    "requested_seconds": "float64",
    "actual_seconds": "float64",
    "pts": "int64",
    "time_base": "string",
    "frame_index": "int64",
    "keyframe_distance_frames": "int64",
    "width_px": "int64",
    "height_px": "int64",
    "sha256": "string",
}
# A frame that a sample should have got; frame_index is null if a truncated file lacks it.
BAD_FRAME: Type = {
    "source": "string",
    "requested_seconds": "float64",
    "frame_index": "int64",
    "reason": "string",
}
OWN: Mapping[str, Type] = {
    "id": "string",
    "video": "string",
    "split": "string",
    "support_seconds": ["float64"],
    "frames": [FRAME],
    "bad_frames": [BAD_FRAME],
    "outside_seconds": ["float64"],
    "repeated_seconds": ["float64"],
    "dropped_seconds": ["float64"],
}
_FIRST_BATCH_BYTES = 10 << 20  # as much as datasets reads to find the types of a metadata.jsonl
_ARROW = {"null": pa.null(), "bool": pa.bool_(), "int64": pa.int64(), "float64": pa.float64(), "string": pa.string()}


class MixedTypesError(ValueError):
    """Values that no one column can hold. The message says which, to follow after the place."""


def type_of(value: Any) -> Type:
    """The type of a JSON value. Raises MixedTypesError for lists of mixed values and integers beyond 64 bits."""
    if isinstance(value, Mapping):
        return {name: type_of(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        inner: Type = "null"
        for element in value:
            inner = merge(inner, type_of(element))
        return [inner]
    return _scalar_type(value)


def merge(one: Type, other: Type) -> Type:
    """The type that holds the values of both. Raises MixedTypesError where there is none."""
    if other in (one, "null"):
        return one
    if one == "null":
        return other
    if {str(one), str(other)} == {"int64", "float64"}:
        return "float64"
    if isinstance(one, list) and isinstance(other, list):
        return [merge(one[0], other[0])]
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: merge(one.get(name, "null"), other.get(name, "null")) for name in {**one, **other}}
    raise MixedTypesError(f"{_readable(other)} where others hold {_readable(one)}")


def column_types(rows: Iterable[Mapping[str, Any]], known: Mapping[str, Type]) -> dict[str, Type]:
    """The type of every column of ``rows``, those of ``known`` first. Raises MixedTypesError."""
    types = dict(known)
    for row in rows:
        for name, value in row.items():
            types[name] = merge(types.get(name, "null"), type_of(value))
    return types


def arrow_schema(types: Mapping[str, Type]) -> pa.Schema:
    """The Arrow schema of columns of these types."""
    return pa.schema([pa.field(name, _arrow(kind)) for name, kind in types.items()])


def features(types: Mapping[str, Type]) -> list[dict[str, Any]]:
    """The same as the list of features that a dataset's card holds under ``dataset_info`` for ``datasets``."""
    return [{"name": name, **_feature(kind)} for name, kind in types.items()]


def names_within(kind: Type) -> Iterator[str]:
    """Every field name of a struct in ``kind``, at any depth."""
    if isinstance(kind, list):
        yield from names_within(kind[0])
    elif isinstance(kind, dict):
        yield from kind
        for inner in kind.values():
            yield from names_within(inner)


def has_empty_struct(kind: Type) -> bool:
    """Whether an object without any field is in ``kind``: Parquet has no such column."""
    if isinstance(kind, list):
        return has_empty_struct(kind[0])
    return isinstance(kind, dict) and (not kind or any(map(has_empty_struct, kind.values())))


def read_alike(texts: Iterable[bytes]) -> bool:
    """Whether a reader of JSON Lines that guesses types, as Arrow's does, finds the same in each of ``texts``.

    It takes text that looks like a date for one: then it does not find what was written, and the answer is no.
    """
    try:
        schemas = [pa.json.read_json(io.BytesIO(_first_batch(text))).schema for text in texts]
    except pa.ArrowException:
        return False
    return all(schema.equals(schemas[0]) and not any(map(_has_times, schema.types)) for schema in schemas)


def _first_batch(text: bytes) -> bytes:
    end = text.find(b"\n", _FIRST_BATCH_BYTES)
    return text if end < 0 else text[: end + 1]


def _has_times(kind: pa.DataType) -> bool:
    inner = [kind.field(number).type for number in range(kind.num_fields)]
    return bool(pa.types.is_temporal(kind)) or any(map(_has_times, inner))


def _scalar_type(value: Any) -> Type:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise MixedTypesError("a whole number beyond 64 bits")
        return "int64"
    return "float64" if isinstance(value, float) else "string"


def _arrow(kind: Type) -> pa.DataType:
    if isinstance(kind, list):
        return pa.list_(_arrow(kind[0]))
    if isinstance(kind, dict):
        return pa.struct([pa.field(name, _arrow(inner)) for name, inner in kind.items()])
    return _ARROW[kind]


def _feature(kind: Type) -> dict[str, Any]:
    if isinstance(kind, dict):
        return {"struct": features(kind)}
    if isinstance(kind, list):
        inner = _feature(kind[0])
        return {"list": inner.get("dtype") or inner.get("struct") or inner}
    return {"dtype": kind}


def _readable(kind: Type) -> str:
    if isinstance(kind, list):
        return "a list" if kind[0] == "null" else f"a list of {_plural(kind[0])}"
    if isinstance(kind, dict):
        return "an object"
    return {"bool": "true or false", "int64": "a whole number", "float64": "a number", "string": "text"}.get(kind, kind)


def _plural(kind: Type) -> str:
    if isinstance(kind, list):
        return "lists"
    if isinstance(kind, dict):
        return "objects"
    return {"bool": "true and false", "int64": "whole numbers", "float64": "numbers", "string": "text"}.get(kind, kind)
