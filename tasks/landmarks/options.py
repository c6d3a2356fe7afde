"""Check that options fit together and fit this machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tasks.engine.contract.errors import Problem, RunError
from tasks.landmarks.detection.binding import load_library
from tasks.landmarks.detection.trial import check_device
from tasks.landmarks.formats.writing import find_name_clashes
from tasks.landmarks.layouts.collection import Sample
from tasks.landmarks.normalization import check_normalization
from tasks.landmarks.params import Device, LandmarkFormat, Normalization
from tasks.landmarks.points import ModelKind


def check_options(kind: ModelKind, rescue_hands: bool, normalize: Normalization) -> list[Problem]:
    """Return a problem for each option that a model of ``kind`` does not support."""
    problems = [check_normalization(kind, normalize), _check_rescue(kind, rescue_hands)]
    return [problem for problem in problems if problem]


def check_names(samples: Iterable[Sample], format: LandmarkFormat) -> list[Problem]:
    """Return a problem for each pair of samples whose files would overwrite each other."""
    names: dict[str, list[str]] = {}
    for sample in samples:
        names.setdefault(sample.split, []).append(sample.name)
    pairs = [(split, *pair) for split, split_names in names.items() for pair in find_name_clashes(split_names, format)]
    return [
        Problem(
            f"--format {format}",
            f"samples {first} and {second} of {split}",
            "names without clashes",
            "rename one of them",
        )
        for split, first, second in pairs
    ]


def check_machine(kind: ModelKind, model: Path, device: Device) -> list[Problem]:
    """Return a problem if MediaPipe does not work on this machine or device, before any sample runs."""
    try:
        load_library()
    except RunError as error:
        given, _, advice = str(error).rpartition("; ")
        return [Problem("mediapipe", given, "a mediapipe that can be loaded", advice)]
    reason = check_device(kind, model, device) if device == "gpu" else None
    if reason is None:
        return []
    allowed = "gpu with OpenGL ES 3.1 on a graphics card, or cpu"
    return [Problem("--device", f"gpu, but MediaPipe reports: {reason}", allowed, "use --device cpu")]


def _check_rescue(kind: ModelKind, rescue_hands: bool) -> Problem | None:
    if not rescue_hands or kind == "holistic":
        return None
    given = f"given with a model of the kind {kind}"
    return Problem("--rescue-hands", given, "--model holistic", "the rescue needs the wrists of this model")
