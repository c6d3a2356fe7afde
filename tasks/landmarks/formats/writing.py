"""Writing the landmarks of one sample in the chosen format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tasks.landmarks.formats import npy, npz, pose
from tasks.landmarks.formats.file import RAW_SUFFIX, LandmarkFile
from tasks.landmarks.params import LandmarkFormat

__all__ = ["LandmarkFile", "clashes", "write_landmarks"]

Contents = Mapping[str, Callable[[Path], None]]
_FORMATS: Mapping[LandmarkFormat, Callable[[LandmarkFile], Contents]] = {
    "npz": npz.contents,
    "npy": npy.contents,
    "pose": pose.contents,
}


def _contents(file: LandmarkFile, format: LandmarkFormat) -> Contents:
    if format == "parquet":
        from tasks.landmarks.formats import islr  # pyarrow: 40 MB, in the children of those who ask for it

        return islr.contents(file)
    return _FORMATS[format](file)


def write_landmarks(
    file: LandmarkFile, format: LandmarkFormat, output: Callable[[str], Path], folder: str
) -> list[str]:
    """Write ``folder/NAME.ext`` and the side files of that format; their relative paths, the landmarks first.

    output  gives the place to write to for a relative path, its folder made (``Workspace.output``)

    The same file gives the same bytes.
    """
    written = []
    for suffix, write in _contents(file, format).items():
        relative = f"{folder}/{file.name}{suffix}"
        write(output(relative))
        written.append(relative)
    return written


def clashes(names: Iterable[str], format: LandmarkFormat) -> list[tuple[str, str]]:
    """Pairs of samples of one split of which the second's landmarks would lie where the first's side file does.

    Only `.npy` has side files with the suffix of the landmarks: ``a.mask.npy`` is the mask of ``a``, or ``a.mask``.
    """
    if format != "npy":
        return []
    known = {name.lower(): name for name in names}
    endings = [ending.removesuffix(npy.SUFFIX) for ending in (npy.MASK_SUFFIX, RAW_SUFFIX)]
    pairs = ((name, known.get(folded + ending)) for folded, name in known.items() for ending in endings)
    return sorted((name, other) for name, other in pairs if other is not None)
