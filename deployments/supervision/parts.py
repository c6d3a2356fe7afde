"""The parts of `headrace serve`: their commands, environments, and checks that they work."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from deployments.pool import POOL
from deployments.supervision.addresses import Address, Api
from deployments.supervision.folder import USER, StateFolder

_ANSWER_SECONDS = 5.0
# Settings of Prefect that users may change. All others, such as addresses and profiles, belong to other servers.
_KEPT = (
    "PREFECT_FLOWS_",
    "PREFECT_LOGGING_",
    "PREFECT_SERVER_CONCURRENCY_",
    "PREFECT_SERVER_DEPLOYMENTS_",
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD",
    "PREFECT_SERVER_LOGGING_",
    "PREFECT_SERVER_SERVICES_",
    "PREFECT_WORKER_",
)


@dataclass(frozen=True)
class Part:
    """A program of the tree.

    name         as it is shown, such as "Prefect server"
    key          name of its log file
    environment  variables in addition to those of this process
    is_ready     returns True once it works; it may block for some seconds
    ends         it does its work and ends with exit code 0, before the parts after it start
    stop_signal  the signal that ends it
    """

    name: str
    key: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    is_ready: Callable[[], bool] = lambda: True
    ends: bool = False
    stop_signal: signal.Signals = signal.SIGTERM


@dataclass(frozen=True)
class Site:
    """All that the parts must know. ``working_folder`` is where relative paths of deployments start."""

    working_folder: Path
    state: StateFolder
    web: Address
    prefect: Address
    password: str = field(repr=False)

    @property
    def api(self) -> Api:
        """The API of the Prefect server."""
        return Api(f"{self.prefect.local_url}/api", self.password)


def build_parts(site: Site) -> list[Part]:
    """Return the parts in the order in which they start."""
    python = (sys.executable, "-P")  # without the working folder on the path, in which modules would hide others
    prefect, client = (*python, "-m", "prefect"), _build_client_environment(site)
    listen = ("--host", site.prefect.host, "--port", str(site.prefect.port))
    inbox = {"HEADRACE_INBOX_STATE": str(site.state.inbox)}
    web = _build_web_environment(site)
    return [
        Part(
            "Prefect server",
            "server",
            (*prefect, "server", "start", *listen),
            {**client, **_build_server_environment(site)},
            lambda: _answers(f"{site.api.url}/ready"),
        ),
        Part("registration of the deployments", "register", (*python, "-m", "deployments.register"), client, ends=True),
        # A stopped worker would mark its runs as crashed. Killed, it leaves them as they are, and they continue.
        Part(
            "worker",
            "worker",
            (*prefect, "worker", "start", "--pool", POOL, "--type", "process", "--name", "serve", "--limit", "1"),
            client,
            lambda: _has_worker(site.api),
            stop_signal=signal.SIGKILL,
        ),
        Part("inbox", "inbox", (*python, "-m", "deployments.inbox"), {**client, **inbox}),
        Part(
            "upload service",
            "web",
            (*python, "-m", "deployments.web"),
            {**client, **web},
            lambda: _answers(f"{site.web.local_url}/health"),
        ),
    ]


def build_base_environment() -> dict[str, str]:
    """Return the variables of this process without those that belong to another Prefect server."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("PREFECT_") or name.startswith(_KEPT)
    }


def _build_client_environment(site: Site) -> dict[str, str]:
    return {
        "PYTHONUNBUFFERED": "1",
        "PREFECT_HOME": str(site.state.prefect_home),
        "PREFECT_API_URL": site.api.url,
        "PREFECT_API_AUTH_STRING": site.password,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_UI_URL": site.prefect.public_url,
        "HEADRACE_WEB_URL": site.web.public_url,  # runs link to it
        "PREFECT_WORKER_QUERY_SECONDS": os.environ.get("PREFECT_WORKER_QUERY_SECONDS", "2"),
    }


def _build_server_environment(site: Site) -> dict[str, str]:
    return {
        "PREFECT_SERVER_API_AUTH_STRING": site.password,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{site.state.prefect_home / 'prefect.db'}",
        "PREFECT_UI_API_URL": f"{site.prefect.public_url}/api",
        # In the server's memory, leases end with it, and Prefect cancels the runs that hold them.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    }


def _build_web_environment(site: Site) -> dict[str, str]:
    return {
        "HEADRACE_WEB_FOLDER": str(site.state.uploads),
        "HEADRACE_WEB_USERS": "",
        "HEADRACE_WEB_USERS_FILE": str(site.state.users),
        "HEADRACE_WEB_HOST": site.web.host,
        "HEADRACE_WEB_PORT": str(site.web.port),
        "HEADRACE_WEB_OUTPUTS": str(site.working_folder),
        "HEADRACE_WEB_VIEWERS": USER,
        "HEADRACE_WEB_PREFECT_UI": site.prefect.public_url,
    }


def _has_worker(api: Api) -> bool:
    try:
        answer = httpx.get(f"{api.url}/work_pools/{POOL}", auth=api.auth, timeout=_ANSWER_SECONDS, trust_env=False)
        return bool(answer.raise_for_status().json()["status"] == "READY")
    except httpx.HTTPError:
        return False


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=_ANSWER_SECONDS, trust_env=False).is_success
    except httpx.HTTPError:
        return False
