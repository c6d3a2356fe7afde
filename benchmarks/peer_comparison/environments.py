"""Create the environment of each peer under ``.bench/``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.peer_comparison.catalogue import Peer

_MARK = "installed.txt"


class NotInstallable(Exception):
    """A peer whose packages cannot be installed on this Python."""


def prepare_python(peer: Peer, folder: Path) -> Path:
    """Return the interpreter of a peer; create its environment if it is missing or for other requirements."""
    if not peer.packages:
        return Path(sys.executable)
    environment = folder / peer.name
    python, mark = environment / "bin/python", environment / _MARK
    requirements = "\n".join(peer.packages)
    if python.exists() and mark.exists() and mark.read_text() == requirements:
        return python
    _run_uv("venv", "--quiet", "--clear", "--python", sys.executable, str(environment))
    _run_uv("pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *peer.packages)
    mark.write_text(requirements)
    return python


def read_version(peer: Peer, python: Path) -> str:
    """Return the installed version of a peer's first package; an empty string without packages."""
    if not peer.packages:
        return ""
    name = peer.packages[0].split(">")[0].split("[")[0]
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def _run_uv(*words: str) -> None:
    process = subprocess.run([sys.executable, "-m", "uv", *words], capture_output=True, text=True, check=False)
    if process.returncode:
        raise NotInstallable(process.stderr.strip().splitlines()[-1] if process.stderr.strip() else "uv failed")
