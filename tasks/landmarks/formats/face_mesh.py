"""Connections of the face mesh, read from the installed mediapipe.

The package is parsed instead of imported: importing costs 60 MB and 0.6 s of CPU per process, parsing 0.04 s.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tasks.engine.contract.errors import RunError

Limb = tuple[int, int]
_MODULE = "tasks/python/vision/face_landmarker.py"
_CLASS = "FaceLandmarksConnections"
_LISTS = ("FACE_LANDMARKS_TESSELATION", "FACE_LANDMARKS_LEFT_IRIS", "FACE_LANDMARKS_RIGHT_IRIS")


@cache
def read_face_limbs() -> tuple[Limb, ...]:
    """Return pairs of points: the mesh's 2556 triangle sides, then the irises. Raises RunError without mediapipe."""
    try:
        connections = _parse_connections(_read_source())
        return tuple(limb for name in _LISTS for limb in connections[name])
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"the installed mediapipe does not list the connections of the face ({error}); install mediapipe 1.2, or"
            " use another format than pose"
        ) from error


def _read_source() -> str:
    spec = find_spec("mediapipe")  # finds the folder without importing the package
    if spec is None or spec.origin is None:
        raise FileNotFoundError("mediapipe is not installed")
    return (Path(spec.origin).parent / _MODULE).read_text(encoding="utf-8")


def _parse_connections(source: str) -> dict[str, list[Limb]]:
    """Return the class's lists of ``Connection(start, end)`` by name."""
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == _CLASS]
    members = [member for node in classes for member in node.body if isinstance(member, ast.AnnAssign)]
    return {
        ast.unparse(member.target): [_parse_limb(call) for call in member.value.elts]
        for member in members
        if isinstance(member.value, ast.List)
    }


def _parse_limb(call: ast.expr) -> Limb:
    if not isinstance(call, ast.Call):
        raise ValueError(f"{ast.unparse(call)} is not a connection")
    start, end = (ast.literal_eval(argument) for argument in call.args)
    return int(start), int(end)
