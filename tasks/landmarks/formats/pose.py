"""`.pose`: the exchange format of sign-language processing, written with the package pose-format.

Components, points, their order, colours and units match pose-format's own MediaPipe extractor with
``refine_face_landmarks``, without POSE_WORLD_LANDMARKS: x and y in pixels, z in the model's unit (image widths),
confidence is the visibility. A missing point has confidence 0, which masks it. The limbs of the face are the mesh and
the irises. With ``--normalize shoulders`` all coordinates are in shoulder widths, as after ``Pose.normalize``. The
format cannot store other data, so it is in a side file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.landmarks.formats.face_mesh import read_face_limbs
from tasks.landmarks.formats.file import RAW_SUFFIX, SIDE_SUFFIX, LandmarkFile
from tasks.landmarks.formats.metadata import describe, read_side_file, restore, write_side_file
from tasks.landmarks.formats.npy import read_raw
from tasks.landmarks.points import SKELETONS, Part
from tasks.landmarks.sequence import Points

SUFFIX = ".pose"
# Confidence 0 means missing. A fully hidden point gets the smallest confidence instead.
_HIDDEN = np.finfo(np.float32).tiny
_COLOURS = {"pose_landmarks": (255, 0, 0), "face_landmarks": (128, 0, 0)}


def plan_files(file: LandmarkFile) -> dict[str, Callable[[Path], None]]:
    """Return the writers of the sample's files by suffix."""
    writers: dict[str, Callable[[Path], None]] = {
        SUFFIX: lambda path: _write(file, path),
        SIDE_SUFFIX: lambda path: write_side_file(path, describe(file)),
    }
    if file.is_modified:
        writers[RAW_SUFFIX] = lambda path: np.save(path, file.raw.points, allow_pickle=False)
    return writers


def _write(file: LandmarkFile, path: Path) -> None:
    from pose_format import Pose, PoseHeader
    from pose_format.numpy import NumPyPoseBody
    from pose_format.pose_header import PoseHeaderDimensions

    sequence = file.sequence
    size = PoseHeaderDimensions(sequence.width_px, sequence.height_px)
    header = PoseHeader(
        version=0.2, dimensions=size, components=[_create_component(part) for part in sequence.skeleton.parts]
    )
    data = sequence.points[..., :3] * _get_scale(file.normalize, size.width, size.height)
    np.nan_to_num(data, copy=False)
    body = NumPyPoseBody(sequence.fps, data[:, None], _compute_confidence(sequence.points)[:, None])
    with path.open("wb") as stream:
        Pose(header, body).write(stream)


def _get_scale(normalize: str, width: int, height: int) -> NDArray[np.float32]:
    """Return the factors for x, y and z in the file."""
    return np.array((width, height, 1) if normalize == "none" else (1, 1, 1), np.float32)


def _compute_confidence(points: Points) -> NDArray[np.float32]:
    """Return float32 [frames, points]: the visibility, above 0 for every point that is present."""
    is_present = ~np.isnan(points[..., 0])
    return np.where(is_present, np.maximum(points[..., 3], _HIDDEN), 0).astype(np.float32)


def _create_component(part: Part) -> Any:
    from pose_format.pose_header import PoseHeaderComponent
    from pose_format.utils.openpose import hand_colors

    limbs = read_face_limbs() if part.name == "face_landmarks" else part.limbs
    colours = [_COLOURS[part.name]] if part.name in _COLOURS else hand_colors
    points = [name.upper() for name in part.point_names]
    return PoseHeaderComponent(part.name.upper(), points, list(limbs), colours, "XYZC")


def read(path: Path) -> LandmarkFile:
    """Read ``path`` and its side files. Raises OSError, KeyError, ValueError or struct.error for invalid files."""
    from pose_format import Pose

    metadata = read_side_file(path.with_suffix(SIDE_SUFFIX))
    body = Pose.read(path.read_bytes()).body
    scale = _get_scale(metadata["normalize"], metadata["width_px"], metadata["height_px"])
    is_present = body.confidence[:, 0] > 0
    points = np.full((*is_present.shape, 4), np.nan, np.float32)
    points[is_present, :3] = (body.data.data[:, 0] / scale)[is_present]
    points[is_present, 3] = np.where(body.confidence[:, 0] == _HIDDEN, 0, body.confidence[:, 0])[is_present]
    if points.shape[1] != SKELETONS[metadata["model_kind"]].points:
        raise ValueError(f"{path.name} has {points.shape[1]} points, but its side file describes another model")
    return restore(metadata, points, read_raw(path, metadata))
