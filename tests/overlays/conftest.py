"""Real clips with overlays and exact ground truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.overlay_truth.clips import get_clip
from benchmarks.overlay_truth.drawing import Kind, Mark
from benchmarks.overlay_truth.marks import Marked, mark_clip

MarkClip = Callable[[str, Kind, float, int], Marked]


@pytest.fixture(scope="session")
def marked_clip(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> MarkClip:
    """Return a function that puts an overlay on a clip: ``marked_clip(name, kind, opacity, frames)``, cached."""
    clips: dict[tuple[str, Kind, float, int], Marked] = {}

    def make(name: str, kind: Kind, opacity: float, frames: int) -> Marked:
        key = (name, kind, opacity, frames)
        if key not in clips:
            folder = tmp_path_factory.mktemp("marked")
            clips[key] = mark_clip(get_clip(name), Mark(kind), opacity, frames, folder, shared_data / "video")
        return clips[key]

    return make


@pytest.fixture(scope="session")
def opaque_logo(marked_clip: MarkClip) -> Marked:
    """Return twelve frames of a moving scene, 640x272, yuv420p, under a logo that is opaque except at its edges."""
    return marked_clip("bikes", "logo", 1.0, 12)
