"""Test that the compose file and the Dockerfile name existing settings, files and services. Starts no container."""

from __future__ import annotations

import importlib.metadata
import json
import re
from typing import Any

import prefect.settings
import pytest
import yaml
from compose_spec import PyCompose

from deployments.pool import POOL
from scripts.build_image import read_steps
from tests.deployments.composed import SECRETS, read_services
from tests.flows.service import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deployments" / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "deployments" / "Dockerfile").read_text(encoding="utf-8")


def test_file_conforms_to_the_specification() -> None:
    content = {**COMPOSE, "services": read_services(SECRETS)}
    assert set(PyCompose.from_json(json.dumps(content)).service_names()) == set(SERVICES)
    content["services"]["web"]["restrt"] = "no"
    with pytest.raises(ValueError, match="restrt"):
        PyCompose.from_json(json.dumps(content))


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
    assert {entry["work_pool"]["name"] for entry in entries} == {POOL}
    assert SERVICES["worker"]["command"][3:5] == ["--pool", POOL]


@pytest.mark.parametrize("name", sorted(SECRETS.keys() - {"HEADRACE_WEB_METRICS_TOKEN", "HEADRACE_WEB_VIEWERS"}))
def test_secrets_have_no_default(name: str) -> None:
    for value in ("", None):
        with pytest.raises(KeyError, match=f"{name}: set"):
            read_services({key: text for key, text in {**SECRETS, name: value}.items() if text is not None})


def test_file_contains_no_password() -> None:
    """Every variable whose name says that it is secret comes from the environment."""
    secret = re.compile(r"PASSWORD|AUTH|TOKEN|USERS$|SECRET")
    own = [(key, value) for service in SERVICES.values() for key, value in service.get("environment", {}).items()]
    given = [value for key, value in own if secret.search(key)]
    assert len(given) > 5
    assert [value for value in given if not re.fullmatch(r"\$\{\w+:[?-][^}]*\}", value)] == []
    urls = [value for _, value in own if re.search(r"//[^/]*:.*@", value)]
    assert urls
    assert [url for url in urls if not re.search(r":\$\{\w+:\?[^}]*\}@", url)] == []


def test_lasting_services_restart() -> None:
    assert {name: service["restart"] for name, service in SERVICES.items() if name != "deploy"} == dict.fromkeys(
        SERVICES.keys() - {"deploy"}, "unless-stopped"
    )


def test_volumes_hold_uploads_results_and_databases() -> None:
    mounts = {
        name: [volume.split(":")[:2] for volume in service.get("volumes", [])] for name, service in SERVICES.items()
    }
    named = {source for pairs in mounts.values() for source, _ in pairs if not source.startswith(".")}
    assert named == set(COMPOSE["volumes"])
    folder = SERVICES["web"]["environment"]["HEADRACE_WEB_FOLDER"]
    assert ["uploads", folder] in mounts["web"]
    assert ["uploads", folder] in mounts["worker"]  # at the same path
    assert ["../data", "/app/data"] in mounts["worker"]


def test_dockerfile_copies_existing_files() -> None:
    copied = [name for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]]
    assert {"flows", "tasks", "prefect.yaml", "requirements.lock"} <= set(copied)
    assert sorted(name for name in copied if not (ROOT / name).exists()) == []


def test_steps_of_the_dockerfile_can_run_in_a_chroot() -> None:
    """`make image` knows every instruction."""
    steps = list(read_steps(DOCKERFILE))
    assert {step.name for step in steps} == {"FROM", "ENV", "RUN", "WORKDIR", "COPY"}
    assert steps[0].text.startswith("python:3.")
    assert [step.text for step in steps if "\\" in step.text or "#" in step.text] == []


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
