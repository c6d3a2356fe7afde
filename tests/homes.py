"""Create Prefect homes with an existing database: creating one takes a server several seconds."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tasks.launcher.api import SERVICES_OFF
from tests.engine.processes import wait_until

ROOT = Path(__file__).resolve().parents[1]


def copy_used_home(home: Path, shared: Path) -> Path:
    """Create ``home``, which must not exist, as a copy of a home that a server has used.

    ``shared`` is a folder of all processes of a test run: the first process starts the server, the others wait.
    """
    shared.mkdir(exist_ok=True)
    used, complete = shared / "home", shared / "complete"
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(used, ignore_errors=True)
            with run_api(used):
                pass
            complete.touch()
    shutil.copytree(used, home)
    return home


@dataclass(frozen=True)
class OpenServer:
    """Prefect server without a password. ``url`` is the address of its API."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def run_api(home: Path) -> Iterator[OpenServer]:
    """Start a Prefect server on the loopback with the home ``home``; stop it at the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.open_server", str(listener.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=(listener.fileno(),),
            cwd=ROOT,
            start_new_session=True,
            env=build_server_environment(home),
        )
    with process:
        try:
            wait_until(lambda: _is_answering(url) or process.poll() is not None, f"a server at {url}", 120)
            assert process.poll() is None, "the server ended"
            yield OpenServer(url, process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def build_server_environment(home: Path) -> dict[str, str]:
    """Return the environment of a server with the home ``home``, without Prefect settings of this process."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    services = {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in SERVICES_OFF}
    return {**own, **services, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


def _is_answering(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def find_shared_folder(own: Path) -> Path:
    """Return the folder for homes of a test run, next to or in the temporary folder ``own`` of a process."""
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "prefect-homes"
