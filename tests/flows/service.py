"""Run a real Prefect server and its clients: programs in child processes, and the API over HTTP."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tasks.launcher.running_server import split_password
from tests.engine.processes import MARK, find_processes, wait_until, wait_until_gone

ROOT = Path(__file__).resolve().parents[2]
PREFECT = str(Path(sys.executable).with_name("prefect"))
RUN_SECONDS = 120.0
FINAL = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
# Shared because creating a client takes longer than a call; each call opens a new connection.
_CLIENT = httpx.Client(timeout=120, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


def build_environment(home: Path, mark: str, api: str | None = None, **more: str) -> dict[str, str]:
    """Return this environment with Prefect's settings replaced by ``home`` and, if given, ``api``."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    given = {"PREFECT_HOME": str(home), MARK: mark, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", **more}
    return {**own, **given} if api is None else {**own, **given, "PREFECT_API_URL": api}


@contextlib.contextmanager
def start_program(
    command: Sequence[object], cwd: Path, variables: Mapping[str, str], end: signal.Signals = signal.SIGINT
) -> Iterator[Program]:
    """Start a program in a child process; end it with the block and check that it leaves no process."""
    mark = variables[MARK]
    log = cwd / f"said-{uuid.uuid4().hex[:6]}"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    program = Program(process, log, mark)
    try:
        yield program
        if process.poll() is None:
            process.send_signal(end)
        program.wait()
        wait_until_gone(mark)
    finally:
        for pid in find_processes(mark):  # only if the test has failed
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True)
class Program:
    """Child process, its output file, and the mark that its descendants inherit."""

    process: subprocess.Popen[bytes]
    log: Path
    mark: str

    def wait_for_text(self, text: str) -> None:
        """Return when the program has printed ``words``."""
        wait_until(lambda: text in self.log.read_text() or self._has_ended(), f"{text!r} in {self.log.read_text()}")

    def _has_ended(self) -> bool:
        assert self.process.poll() is None, f"it ended: {self.log.read_text()}"
        return False

    def wait(self) -> int:
        """Return the exit code."""
        return self.process.wait(RUN_SECONDS)


@dataclass(frozen=True)
class Service:
    """Running Prefect server. ``url`` is the address of its API, ``password`` is USER:PASSWORD or empty."""

    url: str
    home: Path
    password: str = ""

    def build_environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a program that uses this server, with a new mark."""
        own = {"PREFECT_API_AUTH_STRING": self.password} if self.password else {}
        return build_environment(self.home, uuid.uuid4().hex, self.url, **own, **more)

    def run_prefect(self, *words: object, cwd: Path) -> str:
        """Run ``prefect`` with ``words``; return its output. Raises AssertionError if it fails."""
        command = [PREFECT, *(str(word) for word in words)]
        given: dict[str, Any] = {"cwd": cwd, "env": self.build_environment(), "stdin": subprocess.DEVNULL}
        ran = subprocess.run(command, check=False, capture_output=True, text=True, **given)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def post(self, path: str, **content: Any) -> httpx.Response:
        """Send ``content`` to the API."""
        return self._send("POST", path, json=content)

    def emit(self, event: Mapping[str, Any]) -> None:
        """Send an event."""
        self._send("POST", "/events", json=[dict(event)]).raise_for_status()

    def get(self, path: str) -> Any:
        """Read from the API."""
        return self._send("GET", path).raise_for_status().json()

    def delete(self, path: str) -> None:
        """Delete from the API."""
        self._send("DELETE", path).raise_for_status()

    def _send(self, method: str, path: str, **given: Any) -> httpx.Response:
        # On SQLite the server answers 503 to one of two concurrent writers; Prefect's client retries as well.
        answers: list[httpx.Response] = []

        def is_answered() -> bool:
            answers.append(_CLIENT.request(method, f"{self.url}{path}", auth=split_password(self.password), **given))
            return answers[-1].status_code != httpx.codes.SERVICE_UNAVAILABLE

        wait_until(is_answered, f"an answer to {method} {path}", RUN_SECONDS)
        return answers[-1]

    def find(self, kind: str, **filters: Any) -> list[dict[str, Any]]:
        """Return all objects of a kind, such as ``flow_runs``, that match ``filters``."""
        rows: list[dict[str, Any]] = self.post(f"/{kind}/filter", **filters).raise_for_status().json()
        return rows

    def get_deployment(self, name: str) -> dict[str, Any]:
        """Return the deployment ``flow/name``."""
        content: dict[str, Any] = self.get(f"/deployments/name/{name}")
        return content

    def trigger(self, name: str, **parameters: Any) -> str:
        """Start a run of a deployment with changed parameters; return its id."""
        response = self.request_run(name, **parameters)
        assert response.is_success, response.text
        return str(response.json()["id"])

    def request_run(self, name: str, **parameters: Any) -> httpx.Response:
        """Request a run; return the API's response."""
        return self.post(f"/deployments/{self.get_deployment(name)['id']}/create_flow_run", parameters=parameters)

    def get_state(self, run: str) -> dict[str, Any]:
        """Return the state of a flow run."""
        content: dict[str, Any] = self.get(f"/flow_runs/{run}")["state"]
        return content

    def wait_for_final_state(self, run: str) -> dict[str, Any]:
        """Return the state of a flow run once it has ended."""
        wait_until(lambda: self.get_state(run)["type"] in FINAL, f"the end of {run}", RUN_SECONDS, every_seconds=0.2)
        return self.get_state(run)

    def activate_schedule(self, name: str, parameters: dict[str, Any]) -> None:
        """Activate the schedule of the deployment ``name`` as the UI does: once per minute, with other parameters."""
        deployment = self.get_deployment(name)
        (schedule,) = deployment["schedules"]
        change = {"active": True, "schedule": {"cron": "* * * * *", "timezone": "UTC"}, "parameters": parameters}
        self._send(
            "PATCH", f"/deployments/{deployment['id']}/schedules/{schedule['id']}", json=change
        ).raise_for_status()

    def find_scheduled_runs(self, name: str) -> list[dict[str, Any]]:
        """Return the runs that the server's scheduler has created for the deployment ``name``, the earliest first."""
        only = {"deployments": {"id": {"any_": [self.get_deployment(name)["id"]]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return [row for row in self.find("flow_runs", **only) if row["auto_scheduled"]]

    def cancel(self, run: str) -> None:
        """Cancel a flow run as the UI does."""
        answer = self.post(f"/flow_runs/{run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
        assert answer.json()["status"] == "ACCEPT", answer.text

    def wait_for_task_runs(self, run: str) -> dict[str, str]:
        """Return the state names of a run's task runs by name, once the server has all of them."""
        wait_until(lambda: self._is_summarized(run), f"the last task run of {run}")
        return self._find_task_runs(run)

    def _is_summarized(self, run: str) -> bool:
        rows = self.find("task_runs", **_filter_by_run(run))
        is_over = all(row["state"] and row["state"]["type"] in ("COMPLETED", "CRASHED") for row in rows)
        return is_over and any(row["name"].startswith("summarize ") for row in rows)

    def _find_task_runs(self, run: str) -> dict[str, str]:
        rows = self.find("task_runs", **_filter_by_run(run))
        # The server creates a task run when its first event arrives; the state may arrive a moment later.
        return {row["name"]: row["state"]["name"] if row["state"] else "" for row in rows}

    def find_artifacts(self, run: str) -> dict[str, dict[str, Any]]:
        """Return a run's artifacts by key."""
        return {row["key"]: row for row in self.find("artifacts", **_filter_by_run(run))}


def _filter_by_run(run: str) -> dict[str, Any]:
    return {"flow_runs": {"id": {"any_": [run]}}}


@contextlib.contextmanager
def run_service(folder: Path, home: Path, *options: str, port: int | None = None, **settings: str) -> Iterator[Service]:
    """Run ``prefect server start`` in ``folder`` on ``port`` (default: a free one), with the home ``home``."""
    port = port or find_free_port()
    address = f"http://127.0.0.1:{port}"
    service = Service(f"{address}/api", home)
    variables = build_environment(service.home, uuid.uuid4().hex, PREFECT_UI_API_URL=service.url, **settings)
    command = [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", port, *options]
    with start_program(command, folder, variables, signal.SIGTERM) as server:
        wait_until(
            lambda: _is_answering(service.url) or server.process.poll() is not None, f"a server at {address}", 120
        )
        assert server.process.poll() is None, server.log.read_text()
        yield service


def _is_answering(url: str) -> bool:
    try:
        return _CLIENT.get(f"{url}/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


def find_free_port() -> int:
    """Return a free port of the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
