"""`.parquet`: the layout of Kaggle's "Isolated Sign Language Recognition" (ISLR): 543 rows per frame, one per point.

Columns, types and order match its files, so that code that reshapes ``x, y, z`` to [frames, 543, 3] works: face 468 (no
irises), left hand 21, pose 33, right hand 21; a missing point is NaN, and so are the parts that a model does not
detect. The layout has no visibility. All other data is in the file's metadata under the key ``headrace``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.engine.contract.bounded import parse_json
from tasks.landmarks.formats.file import RAW_SUFFIX, LandmarkFile
from tasks.landmarks.formats.metadata import describe, restore
from tasks.landmarks.formats.npy import read_raw
from tasks.landmarks.points import FACE_POINTS_WITHOUT_IRISES, SKELETONS, PartName, Skeleton
from tasks.landmarks.sequence import Points
from tasks.media.arrays import MAX_UNPACKED_BYTES

SUFFIX = ".parquet"
METADATA_KEY = b"headrace"
LAYOUT: tuple[tuple[str, PartName, int], ...] = (
    ("face", "face_landmarks", FACE_POINTS_WITHOUT_IRISES),
    ("left_hand", "left_hand_landmarks", 21),
    ("pose", "pose_landmarks", 33),
    ("right_hand", "right_hand_landmarks", 21),
)
ROWS = sum(count for _, _, count in LAYOUT)
_FRAMES_PER_GROUP = 256  # limits the memory for long videos: a row takes about 100 bytes while it is written
_INDEXES = np.array([index for _, _, count in LAYOUT for index in range(count)], np.int16)


# pyarrow's own conversions import pandas if it is installed, which costs 47 MB per process.
def _build_number_array(values: NDArray[Any]) -> pa.Array:
    """Return ``values`` as an Arrow array; NaN stays NaN, as in ISLR's files."""
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def _build_string_array(values: Sequence[str]) -> pa.Array:
    encoded = [value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


_TYPES = _build_string_array([kind for kind, _, count in LAYOUT for _ in range(count)])
_ROW_NAMES = _build_string_array([f"{kind}-{index}" for kind, _, count in LAYOUT for index in range(count)])
_DASHES = _build_string_array(["-"] * ROWS)


def plan_files(file: LandmarkFile) -> dict[str, Callable[[Path], None]]:
    """Return the writers of the sample's files by suffix."""
    writers: dict[str, Callable[[Path], None]] = {SUFFIX: lambda path: _write(file, path)}
    if file.is_modified:
        writers[RAW_SUFFIX] = lambda path: np.save(path, file.raw.points, allow_pickle=False)
    return writers


def build_schema(frames: int) -> pa.Schema:
    """Return the columns. ``frame`` is int16 as in ISLR, or int32 if a sample has too many frames for int16."""
    return pa.schema(
        [
            ("frame", pa.int16() if frames <= np.iinfo(np.int16).max + 1 else pa.int32()),
            ("row_id", pa.string()),
            ("type", pa.string()),
            ("landmark_index", pa.int16()),
            *((axis, pa.float64()) for axis in "xyz"),
        ]
    )


def _write(file: LandmarkFile, path: Path) -> None:
    points, skeleton = file.sequence.points, file.sequence.skeleton
    metadata = json.dumps(describe(file), ensure_ascii=False).encode()
    columns = build_schema(len(points)).with_metadata({METADATA_KEY: metadata})
    # A dictionary for values that never repeat is useless; zstd files are half the size of Snappy's in the same time.
    options = {"compression": "zstd", "use_dictionary": ["frame", "type", "landmark_index"]}
    with pq.ParquetWriter(path, columns, **options) as writer:
        for start in range(0, len(points), _FRAMES_PER_GROUP):
            writer.write_table(_build_table(points[start : start + _FRAMES_PER_GROUP], skeleton, start, columns))


def _build_table(points: Points, skeleton: Skeleton, start: int, columns: pa.Schema) -> pa.Table:
    frames = len(points)
    numbers = np.repeat(np.arange(start, start + frames), ROWS)
    texts = _build_number_array(numbers).cast(pa.string())
    dashes = pa.concat_arrays([_DASHES] * frames)
    values = convert_to_rows(points, skeleton).astype(np.float64)
    arrays = [
        _build_number_array(numbers).cast(columns.field("frame").type),
        pc.binary_join_element_wise(texts, pa.concat_arrays([_ROW_NAMES] * frames), dashes),
        pa.concat_arrays([_TYPES] * frames),
        _build_number_array(np.tile(_INDEXES, frames)),
        *(_build_number_array(values[:, axis]) for axis in range(3)),
    ]
    return pa.Table.from_arrays(arrays, schema=columns)


def convert_to_rows(points: Points, skeleton: Skeleton) -> NDArray[np.float32]:
    """Convert float32 [frames, points, 4] to float32 [frames * 543, 3]."""
    rows = np.full((len(points), ROWS, 3), np.nan, np.float32)
    start = 0
    for _, name, count in LAYOUT:
        if part := skeleton.find_part(name):
            rows[:, start : start + count] = points[:, part.start : part.start + count, :3]
        start += count
    return rows.reshape(-1, 3)


def convert_from_rows(rows: NDArray[np.float32], skeleton: Skeleton) -> Points:
    """Convert float32 [frames * 543, 3] to float32 [frames, points, 4].

    Irises are NaN. Visibility is 1 for hands and face, NaN for the pose, because the layout does not store it.
    """
    frames = rows.reshape(-1, ROWS, 3)
    points = np.full((len(frames), skeleton.points, 4), np.nan, np.float32)
    start = 0
    for _, name, count in LAYOUT:
        if part := skeleton.find_part(name):
            view = points[:, part.start : part.start + count]
            view[..., :3] = frames[:, start : start + count]
            if name != "pose_landmarks":
                view[..., 3] = np.where(np.isnan(view[..., 0]), np.nan, 1)
        start += count
    return points


def read(path: Path) -> LandmarkFile:
    """Read a sample from ``path``. Raises OSError, KeyError, ValueError or pyarrow.ArrowException for invalid files."""
    rows, max_rows = pq.read_metadata(path).num_rows, MAX_UNPACKED_BYTES // 12
    if rows > max_rows:
        raise ValueError(f"it has {rows:,} rows; at most {max_rows:,} are read")
    table = pq.read_table(path, columns=["x", "y", "z"])
    metadata: dict[str, Any] = parse_json((table.schema.metadata or {})[METADATA_KEY])
    rows = np.stack([column.to_numpy() for column in table.columns], axis=1).astype(np.float32)
    return restore(metadata, convert_from_rows(rows, SKELETONS[metadata["model_kind"]]), read_raw(path, metadata))
