"""Metadata of a landmark file, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tasks.engine.contract.bounded import parse_json, read_at_most
from tasks.landmarks.formats.file import LandmarkFile
from tasks.landmarks.points import SKELETONS
from tasks.landmarks.sequence import BadFrame, LandmarkSequence, Points

VERSION = 1
_MAX_SIDE_BYTES = 256 << 20  # a frame takes some 60 bytes


def describe(file: LandmarkFile) -> dict[str, Any]:
    """Return everything except the points. The longest fields are ``times_seconds`` and ``source`` (a list per part).

    ``raw_source`` is present if there are raw points: normalizing a sample without shoulders removes all its sources.
    """
    sequence = file.sequence
    metadata = {
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
        "source": _list_sources(sequence),
    }
    return {**metadata, "raw_source": _list_sources(file.raw)} if file.is_modified else metadata


def _list_sources(sequence: LandmarkSequence) -> dict[str, list[int]]:
    return {part.name: sequence.source[:, number].tolist() for number, part in enumerate(sequence.skeleton.parts)}


def restore(metadata: Mapping[str, Any], points: Points, raw: Points | None) -> LandmarkFile:
    """Return the file with this metadata. Raises KeyError, ValueError or TypeError if the metadata is invalid.

    raw  None if there are no raw points, because the sequence is unmodified
    """
    if metadata["format_version"] != VERSION:
        raise ValueError(f"format_version is {metadata['format_version']}, this version reads {VERSION}")
    sequence = _restore_sequence(metadata, points, metadata["source"])
    return LandmarkFile(
        name=metadata["name"],
        sequence=sequence,
        raw=sequence if raw is None else _restore_sequence(metadata, raw, metadata["raw_source"]),
        models=metadata["models"],
        normalize=metadata["normalize"],
        fill_gaps=metadata["fill_gaps"],
    )


def _restore_sequence(
    metadata: Mapping[str, Any], points: Points, sources_by_part: Mapping[str, Any]
) -> LandmarkSequence:
    skeleton = SKELETONS[metadata["model_kind"]]
    source = np.array([sources_by_part[part.name] for part in skeleton.parts], np.uint8).T
    shape = (metadata["frames"], skeleton.points, 4)
    if points.shape != shape or len(source) != len(points):
        raise ValueError(
            f"points of shape {points.shape} and sources of {len(source)} frames, but the metadata says {shape}"
        )
    return LandmarkSequence(
        kind=metadata["model_kind"],
        skeleton=skeleton,
        points=points,
        source=source,
        times_seconds=np.array(metadata["times_seconds"], np.float64),
        fps=metadata["fps"],
        width_px=metadata["width_px"],
        height_px=metadata["height_px"],
        bad_frames=tuple(BadFrame(**frame) for frame in metadata["bad_frames"]),
    )


def read_side_file(path: Path) -> dict[str, Any]:
    """Read the metadata that :func:`write_side_file` wrote. Raises OSError, or ValueError for invalid files."""
    metadata: dict[str, Any] = parse_json(read_at_most(path, _MAX_SIDE_BYTES))
    return metadata


def write_side_file(path: Path, metadata: Mapping[str, Any]) -> None:
    """Write ``metadata`` as one JSON object, one line per field."""
    lines = [f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in metadata.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
