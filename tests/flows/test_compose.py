"""Test that the compose file and the Dockerfile name existing settings, files and services. Starts no container."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Any

import prefect.settings
import pytest
import yaml

from tests.flows.service import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deployments" / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "deployments" / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SERVICES)
def test_services_depend_on_services_with_a_health_check(name: str) -> None:
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        if condition["condition"] == "service_healthy":
            assert SERVICES[other]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
        else:
            assert condition["condition"] == "service_completed_successfully"
            assert SERVICES[other]["restart"] == "on-failure"


def test_compose_uses_existing_prefect_settings() -> None:
    given = {name for service in SERVICES.values() for name in service.get("environment", {})}
    own = {name for name in given if name.startswith("PREFECT_") and not name.startswith("PREFECT_REDIS_")}
    assert own
    assert sorted(name for name in own if not hasattr(prefect.settings, name)) == []


def test_compose_addresses_name_its_services() -> None:
    values = [str(value) for service in SERVICES.values() for value in service.get("environment", {}).values()]
    hosts = {host for value in values for host in re.findall(r"(?://|@)([a-z]+):\d+", value)}
    assert hosts == {"postgres", "redis", "server"}


def test_compose_ports_are_on_the_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_and_prefect_yaml_use_the_same_work_pool() -> None:
    entries = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    assert {entry["work_pool"]["name"] for entry in entries} == {"headrace"}
    assert "work-pool create headrace --type process" in SERVICES["deploy"]["command"][-1]
    assert SERVICES["worker"]["command"][3:5] == ["--pool", "headrace"]


def test_dockerfile_copies_existing_files() -> None:
    copied = [name for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]]
    assert {"flows", "tasks", "prefect.yaml", "requirements.lock"} <= set(copied)
    assert sorted(name for name in copied if not (ROOT / name).exists()) == []


def test_server_lock_is_complete() -> None:
    """Prefect's Redis package is installed without its dependencies: the project's lock must have them."""
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"prefect", "redis", "pydocket"} <= locked
    assert "--hash=sha256:" in (ROOT / "deployments" / "server.lock").read_text(encoding="utf-8")


def test_installed_versions_match_the_server_lock() -> None:
    text = (ROOT / "deployments" / "server.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^\s\\]+)", text, re.MULTILINE))
    assert locked
    assert {name: importlib.metadata.version(name) for name in locked} == locked
