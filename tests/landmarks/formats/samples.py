"""Samples as the stage writes them: one per model, with every kind of missing data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tasks.landmarks.formats.writing import LandmarkFile, write_landmarks
from tasks.landmarks.params import LandmarkFormat
from tasks.landmarks.points import SKELETONS, ModelKind
from tasks.landmarks.sequence import BadFrame, LandmarkSequence, Source

FRAMES = 12
BAD, FILLED, RESCUED, EMPTY = 3, 5, 6, 9
DIGESTS = {"holistic_landmarker.task": "e2" * 32, "hand_landmarker.task": "fb" * 32}


def create_raw(kind: ModelKind, frames: int = FRAMES) -> LandmarkSequence:
    """Return raw landmarks: no parts in frames 3 (unreadable) and 9, the last part missing in 5 and rescued in 6."""
    skeleton = SKELETONS[kind]
    random = np.random.default_rng([frames, skeleton.points])
    points = random.uniform(-0.2, 1.2, (frames, skeleton.points, 4)).astype(np.float32)
    points[..., 3] = 1
    source = np.full((frames, len(skeleton.parts)), Source.DETECTED, np.uint8)
    if pose := skeleton.find_part("pose_landmarks"):
        points[:, pose.span, 3] = random.uniform(0, 1, (frames, pose.points))
        points[1, pose.start, 3] = 0  # present but fully hidden
    points[0, skeleton.parts[-1].start, :3] = 0  # present in the corner, unlike the zeros of a missing point
    source[[BAD, EMPTY]] = Source.MISSING
    source[FILLED, -1], source[RESCUED, -1] = Source.MISSING, Source.RESCUED
    for number, part in enumerate(skeleton.parts):
        points[source[:, number] == Source.MISSING, part.span] = np.nan
    times = np.arange(frames) * 1001 / 30000
    bad = (BadFrame(BAD, "images0004.png", "truncated: „Übung“"),)
    return LandmarkSequence(kind, skeleton, points, source, times, 30000 / 1001, 210, 260, bad)


def fill_last_part(raw: LandmarkSequence) -> LandmarkSequence:
    """Fill the last part in frame 5 from its neighbors."""
    points, source = raw.points.copy(), raw.source.copy()
    span = raw.skeleton.parts[-1].span
    points[FILLED, span] = (points[FILLED - 1, span] + points[FILLED + 1, span]) / 2
    source[FILLED, -1] = Source.FILLED
    return replace(raw, points=points, source=source)


def create_sample(
    kind: ModelKind = "holistic", frames: int = FRAMES, name: str = "01April_2010.avi_pid0"
) -> LandmarkFile:
    """Return a sample with default parameters: unfilled, not normalized."""
    raw = create_raw(kind, frames)
    return LandmarkFile(name, raw, raw, DIGESTS, "none", 0)


def create_modified_sample(kind: ModelKind = "holistic") -> LandmarkFile:
    """Return a filled and normalized sample."""
    raw = create_raw(kind)
    sequence = fill_last_part(raw)
    points = sequence.points.copy()
    points[..., :3] = points[..., :3] * np.float32(3.7) - np.float32(1.1)
    return LandmarkFile("a", replace(sequence, points=points), raw, DIGESTS, "shoulders", 2)


def write_into(folder: Path, file: LandmarkFile, format: LandmarkFormat) -> list[Path]:
    """Write a sample like the stage, under ``folder/landmarks``; return its files, the landmarks first."""

    def output(relative: str) -> Path:
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    return [folder / relative for relative in write_landmarks(file, format, output, "landmarks")]
