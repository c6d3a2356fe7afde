"""Read landmark files of every format."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa

from tasks.landmarks.formats import islr, npy, npz, pose
from tasks.landmarks.formats.file import LandmarkFile

READERS: Mapping[str, Callable[[Path], LandmarkFile]] = {
    module.SUFFIX: module.read for module in (npz, npy, pose, islr)
}
_DAMAGE = (KeyError, TypeError, ValueError, EOFError, MemoryError, OverflowError, struct.error, pa.ArrowException)


def read_landmarks(path: Path) -> LandmarkFile:
    """Read the landmarks in ``path`` (.npz, .npy, .pose or .parquet); values that the format lacks are NaN.

    npz is exact. pose stores float32 pixels. npy and parquet store no irises and no visibility of hands and face (1 if
    the point is present); parquet stores no visibility of the pose (NaN). Raises OSError if a file or its side file
    cannot be read, ValueError if it is not a landmark file.
    """
    reader = READERS.get(path.suffix)
    if reader is None:
        raise ValueError(f"{path} is not a landmark file; the name must end in {', '.join(READERS)}")
    try:
        return reader(path)
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged or not a landmark file of Headrace: {error}; extract it again") from error
