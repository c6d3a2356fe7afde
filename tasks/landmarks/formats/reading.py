"""Reading landmarks back, from every format that is written."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa

from tasks.landmarks.formats import islr, npy, npz, pose
from tasks.landmarks.formats.file import LandmarkFile

READERS: Mapping[str, Callable[[Path], LandmarkFile]] = {
    module.SUFFIX: module.read for module in (npz, npy, pose, islr)
}
_DAMAGE = (KeyError, TypeError, ValueError, EOFError, struct.error, zipfile.BadZipFile, pa.ArrowException)


def read_landmarks(path: Path) -> LandmarkFile:
    """The landmarks in ``path`` (.npz, .npy, .pose or .parquet); what they lack is NaN.

    npz is exact. pose keeps float32 pixels. npy and parquet keep no irises and no visibility of hands and face (1 where
    the point is there); parquet keeps no visibility of the pose either (NaN). Raises OSError where a file or its side
    file cannot be read, ValueError where it is not a file of landmarks.
    """
    reader = READERS.get(path.suffix)
    if reader is None:
        raise ValueError(f"{path} is no file of landmarks: those end in {', '.join(READERS)}")
    try:
        return reader(path)
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged, or no landmarks of Headrace: {error}; extract it again") from error
