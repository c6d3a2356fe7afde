"""A Prefect API for the time of one run, where the user has none.

Its process imports the server while the flow's process imports Prefect, and starts it on our word. It listens on a
socket that is bound before it starts, so that no port is guessed, and ends when our end of its pipe closes, however we
ended.

It is private: it listens on the loopback, requires a password that is new for each run, refuses pages of other sites,
and has its own database and Prefect home, which are removed with it. The password is in the server's environment and in
a file, both readable by the user alone, and never on a command line.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tasks.engine.contract.errors import RunError
from tasks.launcher.api_folder import PrivateFolder, remove_dead_folders

_START_SECONDS = 120.0  # the first start creates the database
_STOP_SECONDS = 10.0
_USER = "headrace"
_SERVER_ERROR_CHARACTERS = 300

# Services that the server of a single run does not need, such as the scheduler.
SERVICES_OFF = (
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

# Prefect's settings that the server of a run takes over from its user. All others, such as databases, message brokers,
# origins and profiles, belong to the user's own servers.
_SETTINGS_KEPT = ("PREFECT_LOGGING_", "PREFECT_SERVER_LOGGING_", "PREFECT_SERVER_SERVICES_")


class LocalApi:
    """A Prefect server on a free port of this host. Use it as a context; it is gone afterwards.

    ``url`` and ``ui_url`` are its addresses, ``auth_string`` is the password for both, ``password_file`` holds it, and
    ``home`` is a Prefect home for the processes of the run.
    """

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        port = self._socket.getsockname()[1]
        self.ui_url = f"http://127.0.0.1:{port}"
        self.url = f"{self.ui_url}/api"
        self.auth_string = f"{_USER}:{secrets.token_urlsafe(24)}"
        self._folder: PrivateFolder | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started = False

    @property
    def home(self) -> Path:
        """A Prefect home that goes with the run."""
        assert self._folder is not None
        return self._folder.path

    @property
    def password_file(self) -> Path:
        """The file with the password; only the user can read it."""
        return self.home / "password"

    def __enter__(self) -> Self:
        """Start the server's process and its imports; :meth:`start` starts the server. Raises RunError."""
        remove_dead_folders()
        try:
            self._folder = PrivateFolder()
        except RunError:
            self._socket.close()
            raise
        try:
            self._process = self._begin(self._folder)
        except OSError as error:
            self._socket.close()
            self._folder.remove()
            raise RunError(
                f"the run's own Prefect server cannot be started: {error}; free memory and disk space, or name a server"
                " by PREFECT_API_URL"
            ) from None
        return self

    def _begin(self, folder: PrivateFolder) -> subprocess.Popen[bytes]:
        with folder.create_private(self.password_file.name) as stream:
            stream.write(f"{self.auth_string}\n".encode())
        descriptor = self._socket.fileno()
        with folder.create_private("server.log") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "tasks.launcher.api_server", str(descriptor)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(descriptor, folder.lock),
                cwd=folder.path,
                start_new_session=True,  # Ctrl+C is for the flow, which still has its last words to send
                env=_server_environment(self),
            )

    def start(self) -> None:
        """Tell the server to start."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._started = True
        try:
            self._process.stdin.write(b"start\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # it has died; wait() says why
            pass

    def wait(self) -> None:
        """Return when the server answers. Raises RunError if it does not."""
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
            f"the run's own Prefect server did not start: {self._last_error()}; name a server by PREFECT_API_URL, or"
            " free memory and disk space and give the same command again"
        )

    def _last_error(self) -> str:
        """Return the last line that the server has logged, or its exit code."""
        assert self._process is not None
        lines = (self.home / "server.log").read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        code = self._process.poll()
        ended = f"no answer within {_START_SECONDS:g} s" if code is None else f"exit code {code}"
        return last[-_SERVER_ERROR_CHARACTERS:] or ended

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server's process, whether it was started or not, and remove its folder."""
        assert self._folder is not None
        try:
            self._stop()
        finally:
            self._socket.close()
            self._folder.remove()

    def _stop(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        if not self._started:  # it has not changed any file yet
            self._process.kill()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _server_environment(api: LocalApi) -> dict[str, str]:
    """Return the environment of the server's process."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PREFECT_") or name.startswith(_SETTINGS_KEPT)
    }
    return {
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
        **{f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in SERVICES_OFF},
        **own,
        "PREFECT_HOME": str(api.home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///prefect.db",  # in the current folder
        "PREFECT_SERVER_API_AUTH_STRING": api.auth_string,
        "PREFECT_API_AUTH_STRING": api.auth_string,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": api.ui_url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_URL": api.url,
        "PREFECT_UI_API_URL": api.url,
        "PREFECT_UI_URL": api.ui_url,
        "PYTHONPATH": os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path[1:] if folder),
    }
