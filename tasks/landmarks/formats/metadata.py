"""What every file of landmarks says of itself, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tasks.landmarks.formats.file import LandmarkFile
from tasks.landmarks.points import SKELETONS
from tasks.landmarks.sequence import BadFrame, LandmarkSequence, Points

VERSION = 1


def describe(file: LandmarkFile) -> dict[str, Any]:
    """Everything but the points: ``times_seconds`` and ``source`` (a list of numbers a part) are the longest of it.

    ``raw_source`` is there where raw points are: normalisation takes a sample without shoulders away altogether.
    """
    sequence = file.sequence
    described = {
        "format_version": VERSION,
        "name": file.title or file.name,
        "model_kind": sequence.kind,
        "models": dict(sorted(file.models.items())),
        "fps": sequence.fps,
        "frames": sequence.frames,
        "width_px": sequence.width_px,
        "height_px": sequence.height_px,
        "normalize": file.normalize,
        "fill_gaps": file.fill_gaps,
        "bad_frames": [asdict(frame) for frame in sequence.bad_frames],
        "parts": [{"name": part.name, "start": part.start, "points": part.points} for part in sequence.skeleton.parts],
        "times_seconds": sequence.times_seconds.tolist(),
        "source": _by_part(sequence),
    }
    return {**described, "raw_source": _by_part(file.raw)} if file.differs else described


def _by_part(sequence: LandmarkSequence) -> dict[str, list[int]]:
    return {part.name: sequence.source[:, number].tolist() for number, part in enumerate(sequence.skeleton.parts)}


def restore(described: Mapping[str, Any], points: Points, raw: Points | None) -> LandmarkFile:
    """The file of which ``described`` was said. Raises KeyError, ValueError or TypeError where that is damaged.

    raw  None where it was not written: nothing was changed
    """
    if described["format_version"] != VERSION:
        raise ValueError(f"format_version is {described['format_version']}, this program reads {VERSION}")
    sequence = _sequence(described, points, described["source"])
    return LandmarkFile(
        name=described["name"],
        sequence=sequence,
        raw=sequence if raw is None else _sequence(described, raw, described["raw_source"]),
        models=described["models"],
        normalize=described["normalize"],
        fill_gaps=described["fill_gaps"],
    )


def _sequence(described: Mapping[str, Any], points: Points, by_part: Mapping[str, Any]) -> LandmarkSequence:
    skeleton = SKELETONS[described["model_kind"]]
    source = np.array([by_part[part.name] for part in skeleton.parts], np.uint8).T
    shape = (described["frames"], skeleton.points, 4)
    if points.shape != shape or len(source) != len(points):
        raise ValueError(f"points of shape {points.shape} and sources of {len(source)} frames, described as {shape}")
    return LandmarkSequence(
        kind=described["model_kind"],
        skeleton=skeleton,
        points=points,
        source=source,
        times_seconds=np.array(described["times_seconds"], np.float64),
        fps=described["fps"],
        width_px=described["width_px"],
        height_px=described["height_px"],
        bad_frames=tuple(BadFrame(**frame) for frame in described["bad_frames"]),
    )


def write_side_file(path: Path, described: Mapping[str, Any]) -> None:
    """Write ``described`` as one JSON object, a line a field."""
    lines = [f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in described.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
