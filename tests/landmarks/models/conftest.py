"""Fixtures for the tests of the model files.

server   serves model files over HTTP
content  bytes of a small model file, and ``file``, its catalogue entry
clock    clock that advances only when the code sleeps
fetcher  creates fetchers with a private cache that use ``clock``
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.downloads.cache import Pace
from tasks.landmarks.models.catalogue import OFFICIAL_BASE, ModelFile
from tasks.landmarks.models.fetching import ModelFetcher
from tasks.landmarks.models.settings import ModelSettings
from tests.landmarks.models.server import ModelServer

PATH = "/small/small/float16/1/small.task"


@dataclass
class Clock:
    """A clock that advances only by waiting; its random number is always one half."""

    seconds: float = 1_800_000_000.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.seconds += seconds


@pytest.fixture(autouse=True)
def clear_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide this machine's variables and cache from every test."""
    for name in ("HEADRACE_MODEL_DIR", "HEADRACE_MODEL_URL", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def server(content: bytes) -> Iterator[ModelServer]:
    model_server = ModelServer({PATH: content})
    running = model_server.start()
    yield model_server
    model_server.released.set()
    running.shutdown()
    running.server_close()


@pytest.fixture(scope="session")
def content() -> bytes:
    return random.Random(1).randbytes(400_001)


@pytest.fixture(scope="session")
def file(content: bytes) -> ModelFile:
    digest = hashlib.sha256(content).hexdigest()
    return ModelFile("small.task", OFFICIAL_BASE + PATH, len(content), digest, "hands")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fetcher(server: ModelServer, clock: Clock, tmp_path: Path) -> Callable[..., ModelFetcher]:
    def create_fetcher(**changes: Any) -> ModelFetcher:
        settings = {"cache": tmp_path / "cache" / "models", "base_url": server.url, "stall_seconds": 10.0, **changes}
        return ModelFetcher(ModelSettings(**settings), Pace(lambda: clock.seconds, clock.sleep, lambda: 0.5))

    return create_fetcher
