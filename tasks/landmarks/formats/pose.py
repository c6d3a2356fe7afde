"""`.pose`: the exchange format of sign-language processing, by the package pose-format.

Components, points and their order, colours and units are those that pose-format's own MediaPipe extractor writes with
``refine_face_landmarks``, less POSE_WORLD_LANDMARKS: x and y in pixels, z as the model gives it (in picture widths),
confidence the visibility; a missing point has confidence 0, which is what masks it there. The limbs of the face are the
mesh and the irises. With ``--normalize shoulders`` all three are in shoulder widths, as after ``Pose.normalize``.
The format has no room for anything else, so the rest is in a side file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.landmarks.formats.face_mesh import face_limbs
from tasks.landmarks.formats.file import RAW_SUFFIX, SIDE_SUFFIX, LandmarkFile
from tasks.landmarks.formats.metadata import describe, restore, write_side_file
from tasks.landmarks.formats.npy import read_raw
from tasks.landmarks.points import SKELETONS, Part
from tasks.landmarks.sequence import Points

SUFFIX = ".pose"
# Confidence 0 says missing. A point that is there and wholly hidden says next to nothing instead.
_HIDDEN = np.finfo(np.float32).tiny
_COLOURS = {"pose_landmarks": (255, 0, 0), "face_landmarks": (128, 0, 0)}


def contents(file: LandmarkFile) -> dict[str, Callable[[Path], None]]:
    """What is to be written, by suffix."""
    made: dict[str, Callable[[Path], None]] = {
        SUFFIX: lambda path: _write(file, path),
        SIDE_SUFFIX: lambda path: write_side_file(path, describe(file)),
    }
    if file.differs:
        made[RAW_SUFFIX] = lambda path: np.save(path, file.raw.points, allow_pickle=False)
    return made


def _write(file: LandmarkFile, path: Path) -> None:
    from pose_format import Pose, PoseHeader
    from pose_format.numpy import NumPyPoseBody
    from pose_format.pose_header import PoseHeaderDimensions

    sequence = file.sequence
    size = PoseHeaderDimensions(sequence.width_px, sequence.height_px)
    header = PoseHeader(version=0.2, dimensions=size, components=[_component(part) for part in sequence.skeleton.parts])
    data = sequence.points[..., :3] * _scale(file.normalize, size.width, size.height)
    np.nan_to_num(data, copy=False)
    body = NumPyPoseBody(sequence.fps, data[:, None], _confidence(sequence.points)[:, None])
    with path.open("wb") as stream:
        Pose(header, body).write(stream)


def _scale(normalize: str, width: int, height: int) -> NDArray[np.float32]:
    """What x, y and z are multiplied with for the file."""
    return np.array((width, height, 1) if normalize == "none" else (1, 1, 1), np.float32)


def _confidence(points: Points) -> NDArray[np.float32]:
    """float32 [frames, points]: visibility, above 0 for every point that is there."""
    there = ~np.isnan(points[..., 0])
    return np.where(there, np.maximum(points[..., 3], _HIDDEN), 0).astype(np.float32)


def _component(part: Part) -> Any:
    from pose_format.pose_header import PoseHeaderComponent
    from pose_format.utils.openpose import hand_colors

    limbs = face_limbs() if part.name == "face_landmarks" else part.limbs
    colours = [_COLOURS[part.name]] if part.name in _COLOURS else hand_colors
    points = [name.upper() for name in part.point_names]
    return PoseHeaderComponent(part.name.upper(), points, list(limbs), colours, "XYZC")


def read(path: Path) -> LandmarkFile:
    """What ``path`` and its side files hold. Raises OSError, KeyError, ValueError or struct.error for anything else."""
    from pose_format import Pose

    described = json.loads(path.with_suffix(SIDE_SUFFIX).read_text(encoding="utf-8"))
    body = Pose.read(path.read_bytes()).body
    scale = _scale(described["normalize"], described["width_px"], described["height_px"])
    there = body.confidence[:, 0] > 0
    points = np.full((*there.shape, 4), np.nan, np.float32)
    points[there, :3] = (body.data.data[:, 0] / scale)[there]
    points[there, 3] = np.where(body.confidence[:, 0] == _HIDDEN, 0, body.confidence[:, 0])[there]
    if points.shape[1] != SKELETONS[described["model_kind"]].points:
        raise ValueError(f"{path.name} holds {points.shape[1]} points, its side file describes another model")
    return restore(described, points, read_raw(path, described))
