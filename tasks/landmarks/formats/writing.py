"""Write the landmarks of one sample in the chosen format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tasks.landmarks.formats import npy, npz, pose
from tasks.landmarks.formats.file import RAW_SUFFIX, LandmarkFile
from tasks.landmarks.params import LandmarkFormat

__all__ = ["LandmarkFile", "find_name_clashes", "write_landmarks"]

Contents = Mapping[str, Callable[[Path], None]]
_FORMATS: Mapping[LandmarkFormat, Callable[[LandmarkFile], Contents]] = {
    "npz": npz.plan_files,
    "npy": npy.plan_files,
    "pose": pose.plan_files,
}


def _plan_files(file: LandmarkFile, format: LandmarkFormat) -> Contents:
    if format == "parquet":
        from tasks.landmarks.formats import islr  # imports pyarrow (40 MB) only for this format

        return islr.plan_files(file)
    return _FORMATS[format](file)


def write_landmarks(
    file: LandmarkFile, format: LandmarkFormat, output: Callable[[str], Path], folder: str
) -> list[str]:
    """Write ``folder/NAME.ext`` and the format's side files; return their relative paths, the landmarks first.

    output  returns the path to write to for a relative path, and creates its folder (``Workspace.output``)

    The same landmarks give the same bytes.
    """
    written = []
    for suffix, write in _plan_files(file, format).items():
        relative = f"{folder}/{file.name}{suffix}"
        write(output(relative))
        written.append(relative)
    return written


def find_name_clashes(names: Iterable[str], format: LandmarkFormat) -> list[tuple[str, str]]:
    """Return pairs of samples of one split where the second's landmarks have the path of the first's side file.

    Only `.npy` has side files with the suffix of the landmarks: ``a.mask.npy`` is the mask of ``a``, or ``a.mask``.
    """
    if format != "npy":
        return []
    by_folded_name = {name.lower(): name for name in names}
    endings = [ending.removesuffix(npy.SUFFIX) for ending in (npy.MASK_SUFFIX, RAW_SUFFIX)]
    pairs = (
        (name, by_folded_name.get(folded + ending)) for folded, name in by_folded_name.items() for ending in endings
    )
    return sorted((name, other) for name, other in pairs if other is not None)
