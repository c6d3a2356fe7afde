"""What tests of whole runs share.

prefect_home  a Prefect home for the session
clips           three real videos
truncated_clip  the first half of one of them
prefect_api   the address of a real Prefect API that lives as long as the session
bench         a folder to run flows in: in this process (quick) or in one of their own (for signals)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.demo_data import CLIPS, clip_path
from tasks.launcher.api import LocalApi
from tests.runs.bench import Bench, send_last_words


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prefect-home")


@pytest.fixture(scope="session")
def prefect_api(prefect_home: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(prefect_home))
        patch.setenv("PREFECT_API_URL", "")  # the API sets it: have it taken back afterwards
        patch.delenv("PREFECT_API_URL")
        with LocalApi() as api:
            api.start()
            api.wait()
            yield api.url
            send_last_words()


@pytest.fixture(scope="session")
def clips() -> list[Path]:
    return [clip_path(name) for name in CLIPS.values()]


@pytest.fixture(scope="session")
def truncated_clip(clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "damaged.mp4"
    path.write_bytes(clips[0].read_bytes()[: clips[0].stat().st_size // 2])
    return path


@pytest.fixture
def bench(tmp_path: Path, prefect_home: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, prefect_home, prefect_api, monkeypatch)
