"""Types of the dataset's columns, stored as JSON so that they can enter a part's key.

A type is ``"null"``, ``"bool"``, ``"int64"``, ``"float64"`` or ``"string"``; ``[type]`` is a list and ``{name: type}``
a struct. Types are inferred over all splits together, so that a column that is empty in one split has the same type as
in the others. ``datasets`` refuses to load splits whose types differ as one dataset.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.json

Type: TypeAlias = str | list[Any] | dict[str, Any]

# Provenance of one frame. The types of fields that the frames stage adds later are inferred.
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
    "size_bytes": "int64",
    "sha256": "string",
    "phash": "string",
    "sar": "string",
    "color": "string",
    "interlaced": "bool",
}
# A frame that could not be read; frame_index is null if it is beyond the end of a truncated file.
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
    "left_out_frames": "int64",
    "offset_seconds": "float64",
    "shot_seconds": ["float64"],
}
_FIRST_BATCH_BYTES = 10 << 20  # datasets infers the types of a metadata.jsonl from these first bytes
_ARROW = {"null": pa.null(), "bool": pa.bool_(), "int64": pa.int64(), "float64": pa.float64(), "string": pa.string()}


class MixedTypesError(ValueError):
    """Values of different types in one column. The message names them; the caller prepends the location."""


def infer_type(value: Any) -> Type:
    """Return the type of a JSON value. Raises MixedTypesError for lists of mixed values and integers beyond 64 bits."""
    if isinstance(value, Mapping):
        return {name: infer_type(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        inner: Type = "null"
        for element in value:
            inner = merge_types(inner, infer_type(element))
        return [inner]
    return _infer_scalar_type(value)


def merge_types(left: Type, right: Type) -> Type:
    """Return the type that can hold the values of both types. Raises MixedTypesError if there is none."""
    if right in (left, "null"):
        return left
    if left == "null":
        return right
    if {str(left), str(right)} == {"int64", "float64"}:
        return "float64"
    if isinstance(left, list) and isinstance(right, list):
        return [merge_types(left[0], right[0])]
    if isinstance(left, dict) and isinstance(right, dict):
        return {name: merge_types(left.get(name, "null"), right.get(name, "null")) for name in {**left, **right}}
    raise MixedTypesError(f"{_describe_type(right)} where others have {_describe_type(left)}")


def infer_column_types(rows: Iterable[Mapping[str, Any]], declared: Mapping[str, Type]) -> dict[str, Type]:
    """Return the type of every column of ``rows``, declared columns first. Raises MixedTypesError."""
    types = dict(declared)
    for row in rows:
        for name, value in row.items():
            types[name] = merge_types(types.get(name, "null"), infer_type(value))
    return types


def build_arrow_schema(types: Mapping[str, Type]) -> pa.Schema:
    """Return the Arrow schema of columns of these types."""
    return pa.schema([pa.field(name, _convert_to_arrow(kind)) for name, kind in types.items()])


def list_features(types: Mapping[str, Type]) -> list[dict[str, Any]]:
    """Return the types as the list of features that ``datasets`` reads under ``dataset_info`` in the dataset card."""
    return [{"name": name, **_describe_feature(kind)} for name, kind in types.items()]


def iterate_field_names(kind: Type) -> Iterator[str]:
    """Yield every field name of a struct in ``kind``, at any depth."""
    if isinstance(kind, list):
        yield from iterate_field_names(kind[0])
    elif isinstance(kind, dict):
        yield from kind
        for inner in kind.values():
            yield from iterate_field_names(inner)


def has_empty_struct(kind: Type) -> bool:
    """Return True if ``kind`` contains an object without fields; Parquet has no such column."""
    if isinstance(kind, list):
        return has_empty_struct(kind[0])
    return isinstance(kind, dict) and (not kind or any(map(has_empty_struct, kind.values())))


def has_consistent_types(texts: Iterable[bytes]) -> bool:
    """Return True if Arrow's JSON Lines reader infers the same types from each of ``texts``.

    Return False if it infers a date or time: it would convert text that looks like a date.
    """
    try:
        schemas = [pa.json.read_json(io.BytesIO(_cut_first_batch(text))).schema for text in texts]
    except pa.ArrowException:
        return False
    return all(schema.equals(schemas[0]) and not any(map(_has_times, schema.types)) for schema in schemas)


def _cut_first_batch(text: bytes) -> bytes:
    end = text.find(b"\n", _FIRST_BATCH_BYTES)
    return text if end < 0 else text[: end + 1]


def _has_times(kind: pa.DataType) -> bool:
    inner = [kind.field(number).type for number in range(kind.num_fields)]
    return bool(pa.types.is_temporal(kind)) or any(map(_has_times, inner))


def _infer_scalar_type(value: Any) -> Type:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise MixedTypesError("a whole number beyond 64 bits")
        return "int64"
    return "float64" if isinstance(value, float) else "string"


def _convert_to_arrow(kind: Type) -> pa.DataType:
    if isinstance(kind, list):
        return pa.list_(_convert_to_arrow(kind[0]))
    if isinstance(kind, dict):
        return pa.struct([pa.field(name, _convert_to_arrow(inner)) for name, inner in kind.items()])
    return _ARROW[kind]


def _describe_feature(kind: Type) -> dict[str, Any]:
    if isinstance(kind, dict):
        return {"struct": list_features(kind)}
    if isinstance(kind, list):
        inner = _describe_feature(kind[0])
        return {"list": inner.get("dtype") or inner.get("struct") or inner}
    return {"dtype": kind}


def _describe_type(kind: Type) -> str:
    if isinstance(kind, list):
        return "a list" if kind[0] == "null" else f"a list of {_describe_types(kind[0])}"
    if isinstance(kind, dict):
        return "an object"
    return {"bool": "true or false", "int64": "a whole number", "float64": "a number", "string": "text"}.get(kind, kind)


def _describe_types(kind: Type) -> str:
    if isinstance(kind, list):
        return "lists"
    if isinstance(kind, dict):
        return "objects"
    return {"bool": "true and false", "int64": "whole numbers", "float64": "numbers", "string": "text"}.get(kind, kind)
