"""`.npz`: everything, as named arrays. ``numpy.load`` opens it, without pickle.

Not compressed: deflate takes a third off the size and ten times as long (50 against 5 ms of CPU for 140 frames), and
every epoch of a training would pay for it again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tasks.landmarks.formats.file import LandmarkFile
from tasks.landmarks.formats.metadata import describe, restore

SUFFIX = ".npz"
_AS_ARRAYS = {"times_seconds", "source", "raw_source"}


def contents(file: LandmarkFile) -> dict[str, Callable[[Path], None]]:
    """What is to be written, by suffix."""
    return {SUFFIX: lambda path: _write(file, path)}


def _write(file: LandmarkFile, path: Path) -> None:
    described = describe(file)
    described["point_names"] = {part.name: part.point_names for part in file.sequence.skeleton.parts}
    for name in _AS_ARRAYS & described.keys():
        del described[name]
    # The dates in the archive are zip's earliest: the same arrays give the same bytes.
    np.savez(path, allow_pickle=False, **_arrays(file), metadata=np.array(json.dumps(described, ensure_ascii=False)))


def _arrays(file: LandmarkFile) -> dict[str, Any]:
    sequence = file.sequence
    arrays = {"landmarks": sequence.points, "mask": ~np.isnan(sequence.points[..., 0]), "source": sequence.source}
    if file.differs:
        arrays |= {"raw": file.raw.points, "raw_source": file.raw.source}
    return {**arrays, "times_seconds": sequence.times_seconds}


def read(path: Path) -> LandmarkFile:
    """What ``path`` holds, exactly. Raises KeyError, ValueError or zipfile.BadZipFile for anything else."""
    # numpy leaves a file open that it opened itself and found to be no archive.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        described = json.loads(str(arrays["metadata"]))
        described["times_seconds"] = arrays["times_seconds"]
        names = [part["name"] for part in described["parts"]]
        for name in ("source", "raw_source"):
            described[name] = dict(zip(names, arrays[name].T, strict=True)) if name in arrays else None
        return restore(described, arrays["landmarks"], arrays.get("raw"))
