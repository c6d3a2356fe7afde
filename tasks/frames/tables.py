"""Tables with embedded images, as Parquet files and Lance datasets.

The column ``images`` holds the files of a sample's frames in time order. Its type is a list of the struct that
Hugging Face ``datasets`` uses for images, and the schema says so, so that ``load_dataset`` shows images.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.engine.contract.errors import Problem
from tasks.frames.columns import Type, build_arrow_schema

IMAGES = "images"
# Columns of clips and audio, by the columns with their figures; only if a row has such a file.
_MEDIA = {"clip_file": ("clip", "Video"), "audio_file": ("audio", "Audio")}
FILE_COLUMNS = frozenset({IMAGES, *(name for name, _ in _MEDIA.values())})
_FILE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
_MAX_BATCH_BYTES = 64 << 20  # of images in memory, and in a row group
_MAX_BATCH_ROWS = 1000
ReadFrame = Callable[[Mapping[str, Any]], bytes]


def list_media(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the figures of the clip and the audio file of a row, as far as they exist."""
    return [row[column] for column in _MEDIA if (row.get(column) or {}).get("path")]


def build_image_schema(types: Mapping[str, Type]) -> pa.Schema:
    """Return the schema of columns of these types after a column of images, and those of clips and audio if any."""
    features: dict[str, Any] = {IMAGES: {"feature": {"_type": "Image"}, "_type": "List"}}
    fields = [pa.field(IMAGES, pa.list_(_FILE))]
    for column, (name, feature) in _MEDIA.items():
        if column in types:
            features[name] = {"_type": feature}
            fields.append(pa.field(name, _FILE))
    described = json.dumps({"info": {"features": features}}, sort_keys=True)
    return pa.schema([*fields, *build_arrow_schema(types)], metadata={"huggingface": described})


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], types: Mapping[str, Type], read: ReadFrame) -> None:
    """Write ``rows`` with their images as a Parquet file, one row group per batch."""
    schema = build_image_schema(types)
    with pq.ParquetWriter(path, schema, compression="zstd", version="2.6") as writer:
        for batch in _make_batches(rows, schema, read):
            writer.write_batch(batch, row_group_size=max(1, batch.num_rows))


def write_lance(path: Path, rows: Sequence[Mapping[str, Any]], types: Mapping[str, Type], read: ReadFrame) -> None:
    """Write ``rows`` with their images as a Lance dataset, which is a folder."""
    import lance

    schema = build_image_schema(types)
    lance.write_dataset(_make_batches(rows, schema, read), str(path), schema=schema, mode="create")


def check_lance() -> list[Problem]:
    """Return a problem if the library that writes Lance is not installed."""
    if importlib.util.find_spec("lance") is not None:
        return []
    advice = "install it by pip install 'headrace[lance]'"
    return [Problem("--format lance", "needs the library pylance, which is missing", "an installed library", advice)]


def _make_batches(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, read: ReadFrame) -> Iterator[pa.RecordBatch]:
    pending: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        images = [_make_file(frame, read) for frame in row["frames"]]
        media = {_MEDIA[name][0]: _make_file(row[name], read) for name in _MEDIA if (row.get(name) or {}).get("path")}
        pending.append({IMAGES: images, **media, **row})
        size += sum(len(file["bytes"]) for file in [*images, *media.values()])
        if size >= _MAX_BATCH_BYTES or len(pending) >= _MAX_BATCH_ROWS:
            yield pa.RecordBatch.from_pylist(pending, schema=schema)
            pending, size = [], 0
    if pending:
        yield pa.RecordBatch.from_pylist(pending, schema=schema)


def _make_file(frame: Mapping[str, Any], read: ReadFrame) -> dict[str, Any]:
    path = PurePosixPath(frame["path"])
    return {"bytes": read(frame), "path": f"{path.parent.name}/{path.name}"}
