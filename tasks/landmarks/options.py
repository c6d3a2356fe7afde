"""Which of the options go together, and with this machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tasks.engine.contract.errors import Problem, RunError
from tasks.landmarks.detection.binding import load_library
from tasks.landmarks.detection.trial import check_device
from tasks.landmarks.formats.writing import find_name_clashes
from tasks.landmarks.layouts.collection import Sample
from tasks.landmarks.normalization import normalization_problem
from tasks.landmarks.params import Device, LandmarkFormat, Normalization
from tasks.landmarks.points import ModelKind


def option_problems(kind: ModelKind, rescue_hands: bool, normalize: Normalization) -> list[Problem]:
    """Everything that a model of ``kind`` cannot be asked for."""
    found = [normalization_problem(kind, normalize), _rescue_problem(kind, rescue_hands)]
    return [problem for problem in found if problem]


def name_problems(samples: Iterable[Sample], format: LandmarkFormat) -> list[Problem]:
    """Samples whose files would lie in each other's place."""
    names: dict[str, list[str]] = {}
    for sample in samples:
        names.setdefault(sample.split, []).append(sample.name)
    pairs = [(split, *pair) for split, own in names.items() for pair in find_name_clashes(own, format)]
    return [
        Problem(f"--format {format}", f"samples {one} and {other} of {split}", "names apart", "rename one of them")
        for split, one, other in pairs
    ]


def machine_problems(kind: ModelKind, model: Path, device: Device) -> list[Problem]:
    """Why MediaPipe does not work on this machine, or not on that device; told before any sample is tried."""
    try:
        load_library()
    except RunError as error:
        given, _, advice = str(error).rpartition("; ")
        return [Problem("mediapipe", given, "a mediapipe that can be loaded", advice)]
    reason = check_device(kind, model, device) if device == "gpu" else None
    if reason is None:
        return []
    allowed = "gpu where OpenGL ES 3.1 runs on a real graphics card, else cpu"
    return [Problem("--device", f"gpu, but MediaPipe says: {reason}", allowed, "use --device cpu")]


def _rescue_problem(kind: ModelKind, rescue_hands: bool) -> Problem | None:
    if not rescue_hands or kind == "holistic":
        return None
    given = f"given with a model of the kind {kind}"
    return Problem("--rescue-hands", given, "--model holistic", "it looks around the wrists that this model finds")
