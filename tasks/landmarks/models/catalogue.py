"""The official model files, pinned to version 1 of each instead of the latest version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.landmarks.points import ModelKind

OFFICIAL_BASE = "https://storage.googleapis.com/mediapipe-models"


@dataclass(frozen=True)
class ModelFile:
    """One file published by MediaPipe: its name, URL, size, checksum and kind."""

    file_name: str
    url: str
    bytes: int
    sha256: str
    kind: ModelKind


def _describe_official(kind: ModelKind, task: str, name: str, size: int, sha256: str) -> ModelFile:
    return ModelFile(f"{name}.task", f"{OFFICIAL_BASE}/{task}/{name}/float16/1/{name}.task", size, sha256, kind)


CATALOGUE: Mapping[str, ModelFile] = {
    "holistic": _describe_official(
        "holistic",
        "holistic_landmarker",
        "holistic_landmarker",
        13_683_609,
        "e2dab61191e2dcd0a15f943d8e3ed1dce13c82dfa597b9dd39f562975a50c3f8",
    ),
    "hands": _describe_official(
        "hands",
        "hand_landmarker",
        "hand_landmarker",
        7_819_105,
        "fbc2a30080c3c557093b5ddfc334698132eb341044ccee322ccf8bcf3607cde1",
    ),
    "pose": _describe_official(
        "pose",
        "pose_landmarker",
        "pose_landmarker_full",
        9_398_198,
        "5134a3aad27a58b93da0088d431f366da362b44e3ccfbe3462b3827a839011b1",
    ),
    "pose-lite": _describe_official(
        "pose",
        "pose_landmarker",
        "pose_landmarker_lite",
        5_777_746,
        "59929e1d1ee95287735ddd833b19cf4ac46d29bc7afddbbf6753c459690d574a",
    ),
    "pose-heavy": _describe_official(
        "pose",
        "pose_landmarker",
        "pose_landmarker_heavy",
        30_664_242,
        "64437af838a65d18e5ba7a0d39b465540069bc8aae8308de3e318aad31fcbc7b",
    ),
    "face": _describe_official(
        "face",
        "face_landmarker",
        "face_landmarker",
        3_758_596,
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    ),
}
_BY_DIGEST = {file.sha256: (name, file) for name, file in CATALOGUE.items()}


def find_official(sha256: str) -> tuple[str, ModelFile] | None:
    """Return the catalogue's name and file with this digest; None if no official file has it."""
    return _BY_DIGEST.get(sha256)
