"""Share fixtures between tests of whole runs.

clips           three real videos
truncated_clip  the first half of one of them
bench           a folder for runs: in this process (fast) or in a child process (for signals)
"""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.demo_data import CLIPS, find_clip
from tests.runs.bench import Bench


@pytest.fixture(scope="session")
def clips() -> list[Path]:
    return [find_clip(name) for name in CLIPS.values()]


@pytest.fixture(scope="session")
def truncated_clip(clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "damaged.mp4"
    path.write_bytes(clips[0].read_bytes()[: clips[0].stat().st_size // 2])
    return path


@pytest.fixture
def bench(tmp_path: Path, prefect_home: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, prefect_home, prefect_api, monkeypatch)
