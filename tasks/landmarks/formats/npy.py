"""`.npy`: the classic flat vector a frame, float32 [frames, columns], with a mask and a side file.

Holistic has 1662 columns: pose 33 x (x, y, z, visibility), face 468 x (x, y, z) (no irises), left hand 21 x (x, y, z),
right hand likewise: the vector of the tutorials that concatenate MediaPipe's results. Other models have the blocks of
their own parts in the same way. Missing is NaN: ``numpy.nan_to_num`` makes the zeros that those tutorials use.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.landmarks.formats.file import RAW_SUFFIX, SIDE_SUFFIX, LandmarkFile
from tasks.landmarks.formats.metadata import describe, restore, write_side_file
from tasks.landmarks.points import FACE_POINTS_WITHOUT_IRISES, SKELETONS, Part, Skeleton
from tasks.landmarks.sequence import LandmarkSequence, Points, Source

SUFFIX = ".npy"
MASK_SUFFIX = ".mask.npy"
_VALUES = ("x", "y", "z", "visibility")


def contents(file: LandmarkFile) -> dict[str, Callable[[Path], None]]:
    """What is to be written, by suffix."""
    made: dict[str, Callable[[Path], None]] = {
        SUFFIX: lambda path: np.save(path, flatten(file.sequence), allow_pickle=False),
        MASK_SUFFIX: lambda path: np.save(path, file.sequence.source != Source.MISSING, allow_pickle=False),
        SIDE_SUFFIX: lambda path: write_side_file(path, {**describe(file), "blocks": blocks(file.sequence.skeleton)}),
    }
    if file.differs:
        made[RAW_SUFFIX] = lambda path: np.save(path, file.raw.points, allow_pickle=False)
    return made


def blocks(skeleton: Skeleton) -> list[dict[str, Any]]:
    """Which columns are whose: from ``start`` to ``stop`` (exclusive), ``points`` times ``values``."""
    found: list[dict[str, Any]] = []
    start = 0
    for part in skeleton.parts:
        points, values = _shape(part)
        stop = start + points * values
        found.append(
            {"part": part.name, "start": start, "stop": stop, "points": points, "values": list(_VALUES[:values])}
        )
        start = stop
    return found


def _shape(part: Part) -> tuple[int, int]:
    """How many of the part's points, and how many values of each, are in the vector."""
    points = FACE_POINTS_WITHOUT_IRISES if part.name == "face_landmarks" else part.points
    return points, 4 if part.name == "pose_landmarks" else 3


def flatten(sequence: LandmarkSequence) -> NDArray[np.float32]:
    """float32 [frames, columns]; the columns are those of :func:`blocks`."""
    columns = []
    for part in sequence.skeleton.parts:
        points, values = _shape(part)
        columns.append(sequence.points[:, part.start : part.start + points, :values].reshape(sequence.frames, -1))
    return np.concatenate(columns, axis=1)


def unflatten(vectors: NDArray[np.float32], skeleton: Skeleton) -> Points:
    """float32 [frames, points, 4] of a vector a frame; irises are NaN, and visibility is 1 where none was kept.

    Raises ValueError for vectors of another skeleton.
    """
    columns = blocks(skeleton)[-1]["stop"]
    if vectors.ndim != 2 or vectors.shape[1] != columns:
        raise ValueError(f"an array of shape {vectors.shape}, where a frame has {columns} columns")
    points = np.full((len(vectors), skeleton.points, 4), np.nan, np.float32)
    for part, block in zip(skeleton.parts, blocks(skeleton), strict=True):
        count, values = block["points"], len(block["values"])
        here = points[:, part.start : part.start + count]
        here[..., :values] = vectors[:, block["start"] : block["stop"]].reshape(-1, count, values)
        if values == 3:
            here[..., 3] = np.where(np.isnan(here[..., 0]), np.nan, 1)
    return points


def read(path: Path) -> LandmarkFile:
    """What ``path`` and its side files hold. Raises OSError, KeyError or ValueError for anything else."""
    described = json.loads(path.with_suffix(SIDE_SUFFIX).read_text(encoding="utf-8"))
    points = unflatten(np.load(path, allow_pickle=False), SKELETONS[described["model_kind"]])
    return restore(described, points, read_raw(path, described))


def read_raw(path: Path, described: dict[str, Any]) -> Points | None:
    """float32 [frames, points, 4] out of the side file beside ``path``; None where the parameters need none."""
    if described["fill_gaps"] == 0 and described["normalize"] == "none":
        return None
    raw: Points = np.load(path.with_suffix(RAW_SUFFIX), allow_pickle=False)
    return raw
