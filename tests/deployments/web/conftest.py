"""Share fixtures between tests of the upload service.

start_web   a function that starts a real service process in a folder, and stops it with its block
web         such a service, with a Prefect server and without a worker
served_web  a service whose runs are executed
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployments.web.client import Web, start_web
from tests.flows.service import ROOT, Service, start_program


@pytest.fixture(scope="module")
def service(prefect_api: str, prefect_home: Path) -> Service:
    return Service(prefect_api, prefect_home)


@pytest.fixture(scope="module")
def web(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with start_web(tmp_path_factory.mktemp("web"), service) as running:
        yield running


@pytest.fixture(scope="session")
def deployments(prefect_api: str, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Serve all deployments, as ``deployments/serve.py`` does."""
    service = Service(prefect_api, prefect_home)
    variables = service.build_environment(PREFECT_RUNNER_POLL_FREQUENCY="1")
    command = [sys.executable, ROOT / "deployments" / "serve.py"]
    with start_program(command, tmp_path_factory.mktemp("serve"), variables) as program:
        program.wait_for_text("polling for scheduled runs")
        yield


@pytest.fixture(scope="module")
def served_web(deployments: None, service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with start_web(tmp_path_factory.mktemp("served"), service) as running:
        yield running
