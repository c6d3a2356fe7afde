"""One watched run over the whole corpus, for all tests of this folder."""

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

from tests.hostile.corpus import Case, Targets, make_bases, make_pictures, make_videos
from tests.hostile.manifests import ManifestCase, make_listed, make_manifests
from tests.hostile.watch import Deed, strace

ROOT = Path(__file__).resolve().parents[2]
SEED = 20_240_229
_PATIENCE_SECONDS = 900.0


class Listener:
    """A TCP and a UDP port of this host that note everyone who calls."""

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
class Watched:
    """The corpus, what became of it, and what the processes did meanwhile."""

    folder: Path
    videos: list[Case]
    manifests: list[ManifestCase]
    results: dict[str, Any]
    deeds: list[Deed]
    targets: Targets
    listener: Listener
    outside_before: dict[str, Any] = field(repr=False)


@pytest.fixture(scope="session")
def listener() -> Listener:
    return Listener()


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory, listener: Listener, tracer: None) -> Watched:
    folder = tmp_path_factory.mktemp("hostile")
    outside = folder / "outside"
    outside.mkdir()
    (outside / "canary.txt").write_text("nobody may read this")
    targets = Targets(outside / "canary.txt", listener.port)
    bases = make_bases(folder / "bases", real_videos())
    videos = make_videos(folder / "videos", bases, targets, SEED)
    make_listed(folder / "listed", outside, (folder / "bases/end.mp4").read_bytes())
    manifests = make_manifests(folder / "manifests", targets, SEED)
    order = {
        "bases": [base.name for base in bases],
        "videos": [case.name for case in videos],
        "manifests": [case.name for case in manifests],
        "pictures": make_pictures(folder / "pictures", SEED),
    }
    (folder / "order.json").write_text(json.dumps(order), encoding="utf-8")
    before = snapshot(folder)
    (folder / "output/tmp").mkdir(parents=True)
    command = [sys.executable, "-m", "tests.hostile.runner", str(folder)]
    found = strace(command, folder / "trace", ROOT, environment(folder), _PATIENCE_SECONDS)
    results = json.loads((folder / "output/results.json").read_text(encoding="utf-8"))
    return Watched(folder, videos, manifests, results, found, targets, listener, before)


def real_videos() -> Path | None:
    """Real videos where there are any; the corpus is large enough without them."""
    videos = Path(os.environ.get("HEADRACE_SHARED") or ROOT.parent / "shared") / "data" / "video"
    return videos if videos.is_dir() else None


def environment(folder: Path) -> dict[str, str]:
    """That of the watched process: no proxies or credentials, nothing written beside the sources."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "LD_LIBRARY_PATH", "HOME"}}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder / "output/tmp")}


def snapshot(folder: Path) -> dict[str, Any]:
    """Every file, folder and link under ``folder`` with all that can change of it but the time of the last reading."""
    found = {}
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(parent, name)
            status = path.lstat()
            found[os.path.relpath(path, folder)] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino)
    return found
