"""`.parquet`: the layout of Kaggle's "Isolated Sign Language Recognition" (ISLR): a row a point, 543 rows a frame.

Columns, types and order are those of its files, so that code which reshapes ``x, y, z`` to [frames, 543, 3] works:
face 468 (no irises), left hand 21, pose 33, right hand 21; a missing point is NaN. A model that does not look for a
part leaves its rows NaN. The layout has no visibility. Everything else is in the file's metadata, under ``headrace``.
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

from tasks.landmarks.formats.file import RAW_SUFFIX, LandmarkFile
from tasks.landmarks.formats.metadata import describe, restore
from tasks.landmarks.formats.npy import read_raw
from tasks.landmarks.points import FACE_POINTS_WITHOUT_IRISES, SKELETONS, PartName, Skeleton
from tasks.landmarks.sequence import Points

SUFFIX = ".parquet"
METADATA_KEY = b"headrace"
LAYOUT: tuple[tuple[str, PartName, int], ...] = (
    ("face", "face_landmarks", FACE_POINTS_WITHOUT_IRISES),
    ("left_hand", "left_hand_landmarks", 21),
    ("pose", "pose_landmarks", 33),
    ("right_hand", "right_hand_landmarks", 21),
)
ROWS = sum(count for _, _, count in LAYOUT)
_FRAMES_AT_ONCE = 256  # bounds the memory of a long video: a row costs some 100 bytes while it is made
_INDEXES = np.array([index for _, _, count in LAYOUT for index in range(count)], np.int16)


# pyarrow's own conversions import pandas where there is one: 47 MB in every child, for nothing.
def _numbers(values: NDArray[Any]) -> pa.Array:
    """``values`` as an Arrow array; NaN stays NaN, as in the files of ISLR."""
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def _strings(values: Sequence[str]) -> pa.Array:
    encoded = [value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


_TYPES = _strings([kind for kind, _, count in LAYOUT for _ in range(count)])
_ROW_NAMES = _strings([f"{kind}-{index}" for kind, _, count in LAYOUT for index in range(count)])
_DASHES = _strings(["-"] * ROWS)


def contents(file: LandmarkFile) -> dict[str, Callable[[Path], None]]:
    """What is to be written, by suffix."""
    made: dict[str, Callable[[Path], None]] = {SUFFIX: lambda path: _write(file, path)}
    if file.differs:
        made[RAW_SUFFIX] = lambda path: np.save(path, file.raw.points, allow_pickle=False)
    return made


def schema(frames: int) -> pa.Schema:
    """The columns. ``frame`` is an int16 as there, and an int32 where a sample has more frames than that can count."""
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
    described = json.dumps(describe(file), ensure_ascii=False).encode()
    columns = schema(len(points)).with_metadata({METADATA_KEY: described})
    # A dictionary of what never repeats only costs; zstd halves what Snappy leaves, in the same time.
    options = {"compression": "zstd", "use_dictionary": ["frame", "type", "landmark_index"]}
    with pq.ParquetWriter(path, columns, **options) as writer:
        for start in range(0, len(points), _FRAMES_AT_ONCE):
            writer.write_table(_table(points[start : start + _FRAMES_AT_ONCE], skeleton, start, columns))


def _table(points: Points, skeleton: Skeleton, start: int, columns: pa.Schema) -> pa.Table:
    frames = len(points)
    numbers = np.repeat(np.arange(start, start + frames), ROWS)
    texts = _numbers(numbers).cast(pa.string())
    dashes = pa.concat_arrays([_DASHES] * frames)
    values = rows_of(points, skeleton).astype(np.float64)
    arrays = [
        _numbers(numbers).cast(columns.field("frame").type),
        pc.binary_join_element_wise(texts, pa.concat_arrays([_ROW_NAMES] * frames), dashes),
        pa.concat_arrays([_TYPES] * frames),
        _numbers(np.tile(_INDEXES, frames)),
        *(_numbers(values[:, axis]) for axis in range(3)),
    ]
    return pa.Table.from_arrays(arrays, schema=columns)


def rows_of(points: Points, skeleton: Skeleton) -> NDArray[np.float32]:
    """float32 [frames * 543, 3] of float32 [frames, points, 4]."""
    rows = np.full((len(points), ROWS, 3), np.nan, np.float32)
    start = 0
    for _, name, count in LAYOUT:
        if part := skeleton.find_part(name):
            rows[:, start : start + count] = points[:, part.start : part.start + count, :3]
        start += count
    return rows.reshape(-1, 3)


def points_of(rows: NDArray[np.float32], skeleton: Skeleton) -> Points:
    """float32 [frames, points, 4] of float32 [frames * 543, 3].

    Irises are NaN. Visibility is 1 for hands and face; the pose's is NaN, since the layout does not keep it.
    """
    frames = rows.reshape(-1, ROWS, 3)
    points = np.full((len(frames), skeleton.points, 4), np.nan, np.float32)
    start = 0
    for _, name, count in LAYOUT:
        if part := skeleton.find_part(name):
            here = points[:, part.start : part.start + count]
            here[..., :3] = frames[:, start : start + count]
            if name != "pose_landmarks":
                here[..., 3] = np.where(np.isnan(here[..., 0]), np.nan, 1)
        start += count
    return points


def read(path: Path) -> LandmarkFile:
    """What ``path`` holds. Raises OSError, KeyError, ValueError or pyarrow.ArrowException for anything else."""
    table = pq.read_table(path, columns=["x", "y", "z"])
    described: dict[str, Any] = json.loads((table.schema.metadata or {})[METADATA_KEY])
    rows = np.stack([column.to_numpy() for column in table.columns], axis=1).astype(np.float32)
    return restore(described, points_of(rows, SKELETONS[described["model_kind"]]), read_raw(path, described))
