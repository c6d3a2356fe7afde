"""What tests of deployed flows share.

service   a real Prefect server that lives as long as the session
checkout  a folder as `prefect deploy` finds it: prefect.yaml and the demos' input
slow      a folder of videos that keep a slot busy for some seconds each
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.service import ROOT, Service, running_service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(ROOT / "prefect.yaml", folder)
    for script in ("demo_data.py", "demo_stars.py", "demo_signs.py", "demo_tapes.py", "demo_overlays.py"):
        subprocess.run([sys.executable, ROOT / "examples" / script, folder / "demo"], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def slow(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slow")
    for number in range(8):
        (folder / f"video-{number}.mp4").hardlink_to(checkout / "demo" / "videos" / "bunny.mp4")
    return folder
