"""Fixtures for the tests of the frames stage.

clip    a 2 s video of 50 frames, 160x90, one keyframe per second, generated once per session
stage   runs the frames stage on a video in a private folder
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import StageResult, Workspace
from tasks.frames.params import FramesParams
from tasks.frames.stage import FramesStage

Limits = dict[str, tuple[float | None, float | None]]


@dataclass(frozen=True)
class StageRun:
    """A stage's result and the files that it wrote, by path."""

    result: StageResult
    files: dict[str, bytes]

    def get_sample(self, name: str) -> dict[str, Any]:
        return next(sample for sample in self.result.detail["samples"] if sample["id"] == name)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=2", "-c:v", "libx264", "-g", "25"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *source, str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., StageRun]:
    def run(video: Path, samples: dict[str, list[float]], limits: Limits | None = None, **params: Any) -> StageRun:
        folder = tmp_path_factory.mktemp("run")
        work = Workspace(folder / "outputs", folder / "scratch", folder)
        rows = [{"id": name, "support_seconds": seconds} for name, seconds in samples.items()]
        for row in rows:
            row |= dict(zip(("start", "end"), (limits or {}).get(str(row["id"]), ()), strict=False))
        frames = FramesStage(FramesParams(**params))
        frames.open()
        result = frames.run(Item("v", {"video": video.name, "samples": rows}, (str(video),)), work)
        files = {path.relative_to(work.outputs).as_posix(): path.read_bytes() for path in work.outputs.rglob("*.*")}
        return StageRun(result, files)

    return run
