"""Writing the landmarks of one sample in the chosen format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tasks.landmarks.formats import islr, npy, npz, pose
from tasks.landmarks.formats.file import LandmarkFile
from tasks.landmarks.params import LandmarkFormat

__all__ = ["LandmarkFile", "write_landmarks"]

Contents = Mapping[str, Callable[[Path], None]]
_FORMATS: Mapping[LandmarkFormat, Callable[[LandmarkFile], Contents]] = {
    "npz": npz.contents,
    "npy": npy.contents,
    "pose": pose.contents,
    "parquet": islr.contents,
}


def write_landmarks(
    file: LandmarkFile, format: LandmarkFormat, output: Callable[[str], Path], folder: str
) -> list[str]:
    """Write ``folder/NAME.ext`` and the side files of that format; their relative paths, the landmarks first.

    output  gives the place to write to for a relative path, its folder made (``Workspace.output``)

    The same file gives the same bytes.
    """
    written = []
    for suffix, write in _FORMATS[format](file).items():
        relative = f"{folder}/{file.name}{suffix}"
        write(output(relative))
        written.append(relative)
    return written
