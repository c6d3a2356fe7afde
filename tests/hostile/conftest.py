"""One traced run over the whole corpus, shared by all tests of this folder."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.corpus import Case, Targets, write_bases, write_images, write_videos
from tests.hostile.manifests import ManifestCase, write_manifests, write_video_folder
from tests.hostile.watch import Action, trace_command

ROOT = Path(__file__).resolve().parents[2]
SEED = 20_240_229
_TIMEOUT_SECONDS = 900.0


class Listener:
    """Listens on a TCP and a UDP port of this host and records every connection."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        for serve in (self._accept, self._receive):
            threading.Thread(target=serve, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._tcp.accept()
            with connection:
                connection.settimeout(1)
                self.calls.append("tcp")

    def _receive(self) -> None:
        while True:
            self._udp.recvfrom(1)
            self.calls.append("udp")


@dataclass(frozen=True)
class TracedRun:
    """The corpus, its results, and the system calls of the traced processes."""

    folder: Path
    videos: list[Case]
    manifests: list[ManifestCase]
    results: dict[str, Any]
    actions: list[Action]
    targets: Targets
    listener: Listener
    outside_before: dict[str, Any] = field(repr=False)


@pytest.fixture(scope="session")
def listener() -> Listener:
    return Listener()


@pytest.fixture(scope="session")
def traced_run(tmp_path_factory: pytest.TempPathFactory, listener: Listener, tracer: None) -> TracedRun:
    folder = tmp_path_factory.mktemp("hostile")
    outside = folder / "outside"
    outside.mkdir()
    (outside / "canary.txt").write_text("no process may read this file")
    targets = Targets(outside / "canary.txt", listener.port)
    bases = write_bases(folder / "bases", ROOT / "tests/data/video")
    videos = write_videos(folder / "videos", bases, targets, SEED)
    write_video_folder(folder / "listed", outside, (folder / "bases/end.mp4").read_bytes())
    manifests = write_manifests(folder / "manifests", targets, SEED)
    order = {
        "bases": [base.name for base in bases],
        "videos": [case.name for case in videos],
        "manifests": [case.name for case in manifests],
        "images": write_images(folder / "images", SEED),
    }
    (folder / "order.json").write_text(json.dumps(order), encoding="utf-8")
    before = take_snapshot(folder)
    (folder / "output/tmp").mkdir(parents=True)
    command = [sys.executable, "-m", "tests.hostile.runner", str(folder)]
    actions = trace_command(command, folder / "trace", ROOT, create_environment(folder), _TIMEOUT_SECONDS)
    results = json.loads((folder / "output/results.json").read_text(encoding="utf-8"))
    return TracedRun(folder, videos, manifests, results, actions, targets, listener, before)


def create_environment(folder: Path) -> dict[str, str]:
    """Return the environment of the traced process: no proxies or credentials, no bytecode next to the sources."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "LD_LIBRARY_PATH", "HOME"}}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder / "output/tmp")}


def take_snapshot(folder: Path) -> dict[str, Any]:
    """Return every file, folder and symlink under ``folder`` with all attributes except the access time."""
    entries = {}
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(parent, name)
            status = path.lstat()
            entries[os.path.relpath(path, folder)] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino)
    return entries
