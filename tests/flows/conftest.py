"""Share fixtures between tests of deployed flows.

service      a real Prefect server that lives as long as the session
checkout     a folder with everything that `prefect deploy` needs: prefect.yaml and the demos' input
deployed     a real Prefect server with all deployments of a checkout without demos, and that checkout
slow_videos  a folder of videos that keep a slot busy for some seconds each
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.demo_data import CLIPS, find_clip
from tests.flows.service import ROOT, Service, run_service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path]) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("server")
    with run_service(folder, make_home(folder / "home")) as running:
        yield running


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkout(tmp_path_factory.mktemp("checkout"), *DEMOS)


DEMOS = ("demo_data.py", "demo_stars.py", "demo_signs.py", "demo_tapes.py", "demo_overlays.py")


def make_checkout(folder: Path, *demos: str) -> Path:
    """Create the files of a checkout that deployments need in ``folder``, with the input of ``demos``."""
    shutil.copy(ROOT / "prefect.yaml", folder)
    for script in demos:
        subprocess.run([sys.executable, ROOT / "examples" / script, folder / "demo"], check=True, capture_output=True)
    return folder


@dataclass(frozen=True)
class Deployed:
    """Server with all deployments of ``folder``."""

    service: Service
    folder: Path


UI_URL = "http://ui.example"  # notifications link to it


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path]) -> Iterator[Deployed]:
    folder = make_checkout(tmp_path_factory.mktemp("deployed"))
    settings = {"PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1", "PREFECT_UI_URL": UI_URL}
    with run_service(folder, make_home(folder / "home"), **settings) as service:
        service.run_prefect("work-pool", "create", "headrace", "--type", "process", cwd=folder)
        service.run_prefect("deploy", "--all", cwd=folder)
        yield Deployed(service, folder)


@pytest.fixture(scope="session")
def slow_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slow")
    first = shutil.copy(find_clip(CLIPS["bunny.mp4"]), folder / "video-0.mp4")
    for number in range(1, 8):
        (folder / f"video-{number}.mp4").hardlink_to(first)
    return folder
