"""Start the services of compose.yaml without containers: its commands, variables and health checks, as processes.

A folder replaces the image's ``/app``; 127.0.0.1 and free ports replace hosts and ports. PostgreSQL, whose image brings
its own command, is the machine's.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine.processes import wait_for_exit, wait_until
from tests.flows.postgres import find_postgres, run_postgres
from tests.flows.service import ROOT, RUN_SECONDS, Program, Service, build_environment, find_free_port, start_program

COMPOSE = ROOT / "deployments" / "compose.yaml"
PORTS = ("5432", "6379", "4200", "8080", "4280")  # of PostgreSQL, Redis, the server, the worker's health check, the web
SECRETS = {
    "PREFECT_API_AUTH_STRING": "headrace:secret-of-the-server",
    "POSTGRES_PASSWORD": "secret-of-the-database",
    "REDIS_PASSWORD": "secret-of-redis",
    "HEADRACE_WEB_USERS": "anna:token-of-anna-0123456789,bert:token-of-bert-0123456789",
    "HEADRACE_WEB_METRICS_TOKEN": "token-of-metrics-0123456789",
    "HEADRACE_WEB_VIEWERS": "bert",
}
_VARIABLE = re.compile(r"\$\{(\w+):([?+-])([^}]*)\}")


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``${NAME:?message}``, ``${NAME:-default}`` and ``${NAME:+text}`` as compose does.

    Raises KeyError with the message.
    """

    def replace(found: re.Match[str]) -> str:
        name, sign, rest = found.groups()
        if value := variables.get(name):
            return rest if sign == "+" else value
        if sign == "?":
            raise KeyError(f"{name}: {rest}")
        return rest if sign == "-" else ""

    return _VARIABLE.sub(replace, text)


def read_services(variables: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the services of the file with ``variables`` in place."""
    content = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    services: dict[str, dict[str, Any]] = _map_texts(content, lambda text: interpolate(text, variables))
    return services


def _map_texts(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {key: _map_texts(child, change) for key, child in value.items()}
    if isinstance(value, list):
        return [_map_texts(child, change) for child in value]
    return change(value) if isinstance(value, str) else value


@dataclass
class Composed:
    """The services, started one by one. ``settings`` are variables of the test, such as shorter intervals."""

    folder: Path
    settings: Mapping[str, str]
    stack: contextlib.ExitStack
    ports: Mapping[str, str]
    services: Mapping[str, Mapping[str, Any]]
    programs: dict[str, Program] = field(default_factory=dict)

    @property
    def service(self) -> Service:
        """The Prefect server."""
        password = SECRETS["PREFECT_API_AUTH_STRING"]
        return Service(f"http://127.0.0.1:{self.ports['4200']}/api", self.folder / "home", password)

    def start(self, *names: str) -> None:
        """Start services after those that they depend on, and wait until they are healthy or, without a check, done."""
        for name in names:
            for other, condition in self.services[name].get("depends_on", {}).items():
                assert condition["condition"] in {"service_healthy", "service_completed_successfully"}
                assert other in self.programs or other == "postgres", f"{name} is started before {other}"
            if name == "postgres":
                self._start_postgres()
            else:
                self.programs[name] = self._start_program(name)
            self._wait_until_healthy(name)

    def _start_postgres(self) -> None:
        programs, environment = find_postgres(), self.services["postgres"]["environment"]
        if programs is None:
            pytest.skip("no PostgreSQL or no Redis: apt-get install postgresql redis-server")
        given = int(self.ports["5432"]), environment["POSTGRES_PASSWORD"]
        url = self.stack.enter_context(run_postgres(programs, *given)).replace("+asyncpg", "")
        create = [programs / "psql", url, "--command", f"CREATE DATABASE {environment['POSTGRES_DB']}"]
        subprocess.run(create, check=True, capture_output=True)
        assert f"//{environment['POSTGRES_USER']}:" in url

    def _start_program(self, name: str) -> Program:
        command = list(self.services[name]["command"])
        if name == "redis":  # the image has its own folder and port
            command += ["--port", self.ports["6379"], "--bind", "127.0.0.1", "--dir", str(self.folder)]
        return self.stack.enter_context(
            start_program(command, self.folder, self._build_environment(name), signal.SIGTERM)
        )

    def _build_environment(self, name: str) -> dict[str, str]:
        own = {**self.services[name].get("environment", {}), **self.settings}
        postgres = find_postgres()
        path = [str(Path(sys.executable).parent), *([str(postgres)] if postgres else []), os.environ["PATH"]]
        home = self.folder / f"home-{name}"
        return build_environment(home, uuid.uuid4().hex, PATH=os.pathsep.join(path), **own)

    def _wait_until_healthy(self, name: str) -> None:
        if name == "deploy":  # its end is awaited, as its dependants do
            assert self.services[name]["restart"] == "on-failure"
            assert wait_for_exit(self.programs[name].process, RUN_SECONDS) == 0, self.programs[name].log.read_text()
        elif check := self.services[name].get("healthcheck"):
            wait_until(lambda: self.is_healthy(name, check["test"]), f"a healthy {name}", RUN_SECONDS, 0.5)

    def is_healthy(self, name: str, test: list[str], **variables: str) -> bool:
        """Run a health check as it is written."""
        if program := self.programs.get(name):
            assert program.process.poll() is None, program.log.read_text()
        command = ["sh", "-c", test[1]] if test[0] == "CMD-SHELL" else test[1:]
        environment = {**self._build_environment(name), **variables}
        ran = subprocess.run(command, check=False, env=environment, cwd=self.folder, capture_output=True)
        return ran.returncode == 0


@contextlib.contextmanager
def compose(folder: Path, **settings: str) -> Iterator[Composed]:
    """Yield the services of compose.yaml in ``folder``, none of them started; end all with the block."""
    if shutil.which("redis-server") is None:
        pytest.skip("no PostgreSQL or no Redis: apt-get install postgresql redis-server")
    ports = {port: str(find_free_port()) for port in PORTS}
    copy_sources(folder)
    services = _map_texts(read_services(SECRETS), lambda text: localize(text, folder, ports))
    for environment in (service.get("environment", {}) for service in services.values()):
        hosts = {key for key, value in environment.items() if key.endswith("_HOST") and value in services}
        environment.update(dict.fromkeys(hosts, "127.0.0.1"))
    with contextlib.ExitStack() as stack:
        yield Composed(folder, settings, stack, ports, services)


def copy_sources(folder: Path) -> None:
    """Copy what the Dockerfile copies, except what only its build needs."""
    for name in ("flows", "tasks", "deployments"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("data", "uploads"):
        (folder / name).mkdir(exist_ok=True)


def localize(text: str, folder: Path, ports: Mapping[str, str]) -> str:
    """Replace the container's folder, hosts and ports."""
    text = re.sub(r"^0\.0\.0\.0$", "127.0.0.1", text)
    text = re.sub(r"^/app\b", str(folder), text)
    text = re.sub(r"(?<=[@/])(postgres|redis|server)(?=:\d)", "127.0.0.1", text)
    return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: ports[found[1]], text)
