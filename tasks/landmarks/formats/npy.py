"""`.npy`: the classic flat vector per frame, float32 [frames, columns], with a mask and a side file.

Holistic has 1662 columns: pose 33 x (x, y, z, visibility), face 468 x (x, y, z) (no irises), left hand 21 x (x, y, z)
and right hand 21 x (x, y, z), as in the tutorials that concatenate MediaPipe's results. Other models have the same
blocks for their parts. Missing values are NaN; ``numpy.nan_to_num`` gives the zeros of those tutorials.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.landmarks.formats.file import RAW_SUFFIX, SIDE_SUFFIX, LandmarkFile
from tasks.landmarks.formats.metadata import describe, read_side_file, restore, write_side_file
from tasks.landmarks.points import FACE_POINTS_WITHOUT_IRISES, SKELETONS, Part, Skeleton
from tasks.landmarks.sequence import LandmarkSequence, Points, Source

SUFFIX = ".npy"
MASK_SUFFIX = ".mask.npy"
_VALUES = ("x", "y", "z", "visibility")


def plan_files(file: LandmarkFile) -> dict[str, Callable[[Path], None]]:
    """Return the writers of the sample's files by suffix."""
    writers: dict[str, Callable[[Path], None]] = {
        SUFFIX: lambda path: np.save(path, flatten(file.sequence), allow_pickle=False),
        MASK_SUFFIX: lambda path: np.save(path, file.sequence.source != Source.MISSING, allow_pickle=False),
        SIDE_SUFFIX: lambda path: write_side_file(
            path, {**describe(file), "blocks": list_blocks(file.sequence.skeleton)}
        ),
    }
    if file.is_modified:
        writers[RAW_SUFFIX] = lambda path: np.save(path, file.raw.points, allow_pickle=False)
    return writers


def list_blocks(skeleton: Skeleton) -> list[dict[str, Any]]:
    """Return the columns of each part: from ``start`` to ``stop`` (exclusive), ``points`` times ``values``."""
    layout: list[dict[str, Any]] = []
    start = 0
    for part in skeleton.parts:
        points, values = _get_block_shape(part)
        stop = start + points * values
        layout.append(
            {"part": part.name, "start": start, "stop": stop, "points": points, "values": list(_VALUES[:values])}
        )
        start = stop
    return layout


def _get_block_shape(part: Part) -> tuple[int, int]:
    """Return the number of the part's points in the vector, and the number of values per point."""
    points = FACE_POINTS_WITHOUT_IRISES if part.name == "face_landmarks" else part.points
    return points, 4 if part.name == "pose_landmarks" else 3


def flatten(sequence: LandmarkSequence) -> NDArray[np.float32]:
    """Return float32 [frames, columns] with the columns of :func:`list_blocks`."""
    columns = []
    for part in sequence.skeleton.parts:
        points, values = _get_block_shape(part)
        columns.append(sequence.points[:, part.start : part.start + points, :values].reshape(sequence.frames, -1))
    return np.concatenate(columns, axis=1)


def unflatten(vectors: NDArray[np.float32], skeleton: Skeleton) -> Points:
    """Return float32 [frames, points, 4] from one vector per frame.

    Irises are NaN, and visibility is 1 for parts without it. Raises ValueError for vectors of another skeleton.
    """
    columns = list_blocks(skeleton)[-1]["stop"]
    if vectors.ndim != 2 or vectors.shape[1] != columns:
        raise ValueError(f"an array of shape {vectors.shape}, but a frame has {columns} columns")
    points = np.full((len(vectors), skeleton.points, 4), np.nan, np.float32)
    for part, block in zip(skeleton.parts, list_blocks(skeleton), strict=True):
        count, values = block["points"], len(block["values"])
        view = points[:, part.start : part.start + count]
        view[..., :values] = vectors[:, block["start"] : block["stop"]].reshape(-1, count, values)
        if values == 3:
            view[..., 3] = np.where(np.isnan(view[..., 0]), np.nan, 1)
    return points


def read(path: Path) -> LandmarkFile:
    """Read ``path`` and its side files. Raises OSError, KeyError or ValueError for invalid files."""
    metadata = read_side_file(path.with_suffix(SIDE_SUFFIX))
    points = unflatten(np.load(path, allow_pickle=False), SKELETONS[metadata["model_kind"]])
    return restore(metadata, points, read_raw(path, metadata))


def read_raw(path: Path, metadata: dict[str, Any]) -> Points | None:
    """Read float32 [frames, points, 4] from the side file of ``path``; None if the parameters need no raw points."""
    if metadata["fill_gaps"] == 0 and metadata["normalize"] == "none":
        return None
    raw: Points = np.load(path.with_suffix(RAW_SUFFIX), allow_pickle=False)
    return raw
