"""A Prefect API for the time of one run, where the user has none.

Its process imports the server while the flow's process imports Prefect, and starts it on our word. It listens on a
socket that is bound before it starts, so that no port is guessed, and ends when our end of its pipe closes, however we
ended.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

import httpx

from tasks.engine.errors import RunError

_START_SECONDS = 120.0  # the first start of a home creates the database
_STOP_SECONDS = 10.0

# What a server for one run does not need: it schedules nothing and watches over no other work.
_SERVICES_OFF = (
    "CANCELLATION_CLEANUP",
    "CLEANUP_RECONCILER",
    "EVENT_LOGGER",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "SCHEDULER",
    "TRIGGERS",
)


class LocalApi:
    """A Prefect server on a free port of this host. Use it as a context; it is gone afterwards."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        port = self._socket.getsockname()[1]
        self.ui_url = f"http://127.0.0.1:{port}"
        self.url = f"{self.ui_url}/api"
        self._process: subprocess.Popen[bytes] | None = None
        self._started = False

    def __enter__(self) -> Self:
        """Let the server's process import what it needs; :meth:`start` lets it start."""
        descriptor = self._socket.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tasks.launcher.api_server", str(descriptor)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=(descriptor,),
            start_new_session=True,  # Ctrl+C is for the flow, which still has its last words to send
            env=_server_environment(self.url, self.ui_url),
        )
        return self

    def start(self) -> None:
        """Tell the server to start, and everything that this process starts where it is."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._started = True
        self._process.stdin.write(b"start\n")
        self._process.stdin.flush()
        os.environ["PREFECT_API_URL"] = self.url

    def wait(self) -> None:
        """Return when the server answers. Raises RunError where it does not."""
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        with httpx.Client(timeout=5, trust_env=False) as client:  # one: each sets TLS up for itself, which costs
            while time.monotonic() < deadline and self._process.poll() is None:
                try:
                    client.get(f"{self.url}/health").raise_for_status()
                except httpx.HTTPError:
                    time.sleep(0.05)
                else:
                    self._socket.close()  # or the kernel would take calls for a server that has died, and let them wait
                    return
        raise RunError(
            "the local Prefect API did not start; its own words are above. "
            "Give an API that runs, by PREFECT_API_URL, or mend the database in the Prefect home"
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server's process, whether it was started or not."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._socket.close()
        if not self._started:  # it has touched nothing yet
            self._process.kill()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _server_environment(url: str, ui_url: str) -> dict[str, str]:
    off = {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in _SERVICES_OFF}
    return {
        **off,
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
        **os.environ,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_URL": url,
        "PREFECT_UI_API_URL": url,
        "PREFECT_UI_URL": ui_url,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path[1:])),
    }
