"""`.npz`: all data as named arrays. ``numpy.load`` opens it without pickle.

The file is uncompressed: deflate would save a third of the size but take ten times as long (50 instead of 5 ms of CPU
for 140 frames), again in every epoch of a training.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tasks.engine.contract.bounded import parse_json
from tasks.landmarks.formats.file import LandmarkFile
from tasks.landmarks.formats.metadata import describe, restore
from tasks.media.arrays import read_arrays

SUFFIX = ".npz"
_AS_ARRAYS = {"times_seconds", "source", "raw_source"}


def plan_files(file: LandmarkFile) -> dict[str, Callable[[Path], None]]:
    """Return the writers of the sample's files by suffix."""
    return {SUFFIX: lambda path: _write(file, path)}


def _write(file: LandmarkFile, path: Path) -> None:
    metadata = describe(file)
    metadata["point_names"] = {part.name: part.point_names for part in file.sequence.skeleton.parts}
    for name in _AS_ARRAYS & metadata.keys():
        del metadata[name]
    # The archive's dates are the earliest of zip, so that the same arrays give the same bytes.
    np.savez(
        path, allow_pickle=False, **_collect_arrays(file), metadata=np.array(json.dumps(metadata, ensure_ascii=False))
    )


def _collect_arrays(file: LandmarkFile) -> dict[str, Any]:
    sequence = file.sequence
    arrays = {"landmarks": sequence.points, "mask": ~np.isnan(sequence.points[..., 0]), "source": sequence.source}
    if file.is_modified:
        arrays |= {"raw": file.raw.points, "raw_source": file.raw.source}
    return {**arrays, "times_seconds": sequence.times_seconds}


def read(path: Path) -> LandmarkFile:
    """Read a sample from ``path``, exactly. Raises OSError, KeyError, TypeError or ValueError for invalid files."""
    arrays = read_arrays(path)
    metadata = parse_json(str(arrays["metadata"]))
    metadata["times_seconds"] = arrays["times_seconds"]
    names = [part["name"] for part in metadata["parts"]]
    for name in ("source", "raw_source"):
        metadata[name] = dict(zip(names, arrays[name].T, strict=True)) if name in arrays else None
    return restore(metadata, arrays["landmarks"], arrays.get("raw"))
