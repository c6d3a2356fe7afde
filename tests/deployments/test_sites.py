"""Flows run on schedule and on request on each kind of site, with the versions that the locks ship.

Three sites start together, each with its own server, and wait for their schedules together:

sqlite   `prefect server start`, and a worker
compose  the commands of compose.yaml: PostgreSQL, Redis, server, services, worker, inbox and upload service
serve    `prefect server start`, and `python deployments/serve.py`
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.demo_data import CLIPS, find_clip
from tests.deployments.composed import Composed, compose
from tests.deployments.web.client import Web
from tests.engine.processes import wait_until
from tests.flows.conftest import make_checkout
from tests.flows.service import (
    PREFECT,
    ROOT,
    RUN_SECONDS,
    Service,
    run_service,
    start_program,
)

DEPLOYMENT = "dataset-prep/default"
SCHEDULED = "dataset-prep/nightly"
SITES = ("sqlite", "compose", "serve")
_MINUTE_SECONDS = 60.0
_RETENTION_SECONDS = 5

# Shorter intervals than the defaults, so that the tests need not wait.
QUICK = {
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
}
VARIABLES = {
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_WORKER_PREFETCH_SECONDS": "1",
    "PREFECT_RUNNER_POLL_FREQUENCY": "1",
}


@dataclass(frozen=True)
class Site:
    """Server in ``folder`` with a worker or `serve.py`.

    ``late`` is a run due before the worker started; empty without one. ``composed`` has the services of compose.yaml.
    """

    service: Service
    folder: Path
    late: str
    composed: Composed | None = None

    @property
    def scheduled_output(self) -> Path:
        """Return the output folder of the scheduled runs."""
        return self.folder / "scheduled"

    def build_parameters(self, output: Path) -> dict[str, Any]:
        """Return the parameters of a run that takes a second or two."""
        return {"manifest": None, "videos_dir": str(self.folder / "videos"), "output_dir": str(output), "max_frames": 1}

    def wait_for_scheduled_run(self) -> dict[str, Any]:
        """Return the first scheduled run of SCHEDULED once it has ended."""

        def is_due() -> bool:
            return bool(self.service.find_scheduled_runs(SCHEDULED))

        wait_until(is_due, "a run created by the scheduler", _MINUTE_SECONDS, every_seconds=0.2)
        run = str(self.service.find_scheduled_runs(SCHEDULED)[0]["id"])
        started = ("PENDING", "RUNNING", "COMPLETED", "FAILED", "CRASHED")
        wait_until(
            lambda: self.service.get_state(run)["type"] in started, "its start", 2 * _MINUTE_SECONDS, every_seconds=0.2
        )
        self.service.wait_for_final_state(run)
        content: dict[str, Any] = self.service.get(f"/flow_runs/{run}")
        return content


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path]) -> Iterator[dict[str, Site]]:
    """Start all sites with active schedules."""
    starts = {"sqlite": start_with_worker, "compose": start_composed, "serve": start_with_serve}
    entered: list[AbstractContextManager[Site]] = []
    for name in SITES:
        folder = make_checkout(tmp_path_factory.mktemp(name), *(["demo_data.py"] if name == "compose" else []))
        (folder / "videos").mkdir()
        shutil.copy(find_clip(CLIPS["bunny.mp4"]), folder / "videos" / "bunny.mp4")
        entered.append(starts[name](folder, make_home))
    with ThreadPoolExecutor(len(entered)) as threads:  # the threads mostly wait
        starting = [threads.submit(context.__enter__) for context in entered]
    with ExitStack() as stack:
        for context, start in zip(entered, starting, strict=True):
            if start.exception() is None:
                stack.push(context)
        yield {name: start.result() for name, start in zip(SITES, starting, strict=True)}


@contextlib.contextmanager
def start_with_worker(folder: Path, make_home: Callable[[Path], Path]) -> Iterator[Site]:
    """Run ``prefect server start`` on SQLite, and a worker."""
    with (
        run_service(folder, make_home(folder / "home"), **QUICK) as service,
        deploy_with_worker(service, folder) as site,
    ):
        yield site


@contextlib.contextmanager
def start_with_serve(folder: Path, make_home: Callable[[Path], Path]) -> Iterator[Site]:
    """Run ``prefect server start`` on SQLite, and ``python deployments/serve.py``."""
    with run_service(folder, make_home(folder / "home"), **QUICK) as service:
        command = [sys.executable, ROOT / "deployments" / "serve.py"]
        with start_program(command, folder, service.build_environment(**VARIABLES)) as program:
            program.wait_for_text("polling for scheduled runs")
            yield activate_schedule_of(Site(service, folder, ""))


@contextlib.contextmanager
def start_composed(folder: Path, make_home: Callable[[Path], Path]) -> Iterator[Site]:
    """Run the services of compose.yaml, with a run that is late before the worker starts."""
    settings = {**QUICK, **VARIABLES, "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"PT{_RETENTION_SECONDS}S"}
    with compose(folder, **settings) as composed:
        composed.start("postgres", "redis", "server", "services", "deploy")
        site = Site(composed.service, folder, "", composed)
        late = request_late_run(site)
        composed.start("worker", "inbox", "web")
        yield activate_schedule_of(Site(composed.service, folder, late, composed))


@contextlib.contextmanager
def deploy_with_worker(service: Service, folder: Path) -> Iterator[Site]:
    """Deploy from ``folder``, wait until a run is late, then start a worker."""
    service.run_prefect("work-pool", "create", "headrace", "--type", "process", cwd=folder)
    service.run_prefect("deploy", "--all", cwd=folder)
    late = request_late_run(Site(service, folder, ""))
    command = [PREFECT, "worker", "start", "--pool", "headrace", "--type", "process"]
    with start_program(command, folder, service.build_environment(**VARIABLES)) as program:
        program.wait_for_text("started!")
        yield activate_schedule_of(Site(service, folder, late))


def request_late_run(site: Site) -> str:
    """Request a run; return its id once the server has marked it as late."""
    late = site.service.trigger(DEPLOYMENT, **site.build_parameters(site.folder / "late"))
    wait_until(lambda: site.service.get_state(late)["name"] == "Late", "a run in the state Late", RUN_SECONDS)
    return late


def activate_schedule_of(site: Site) -> Site:
    """Return ``site`` with an active schedule."""
    site.service.activate_schedule(SCHEDULED, site.build_parameters(site.scheduled_output))
    return site


@pytest.mark.parametrize("name", SITES)
def test_scheduled_run_completes(sites: dict[str, Site], name: str) -> None:
    site = sites[name]
    run = site.wait_for_scheduled_run()
    assert (run["state"]["type"], run["auto_scheduled"]) == ("COMPLETED", True)
    assert run["created_by"]["type"] == "SCHEDULE"
    items = json.loads((site.scheduled_output / "summary.json").read_bytes())["items"]
    assert items["failed"] == 0
    assert items["done"] + items["cached"] == items["total"] > 0


@pytest.mark.parametrize("name", ["sqlite", pytest.param("compose", marks=pytest.mark.long)])
def test_late_run_completes_when_a_worker_starts(sites: dict[str, Site], name: str) -> None:
    site = sites[name]
    assert site.service.wait_for_final_state(site.late)["type"] == "COMPLETED"
    names = [state["name"] for state in site.service.get(f"/flow_run_states/?flow_run_id={site.late}")]
    assert "Late" in names
    assert (site.folder / "late" / "summary.json").is_file()


@pytest.mark.parametrize("name", ["sqlite", pytest.param("compose", marks=pytest.mark.long)])
def test_run_can_be_cancelled(sites: dict[str, Site], name: str) -> None:
    site = sites[name]
    output = site.folder / "cancelled"
    parameters = {**site.build_parameters(output), "max_frames": 2000, "image_format": "png", "resize": None}
    run = site.service.trigger(DEPLOYMENT, **parameters)
    wait_until((output / ".headrace" / "private").is_dir, "an item at work", RUN_SECONDS)
    site.service.cancel(run)
    assert site.service.wait_for_final_state(run)["type"] == "CANCELLED"


@pytest.mark.parametrize("name", ["sqlite", pytest.param("compose", marks=pytest.mark.long)])
def test_automation_starts_a_run_when_another_completes(sites: dict[str, Site], name: str) -> None:
    service, output = sites[name].service, sites[name].folder / "automated"
    deployment = service.get_deployment(DEPLOYMENT)["id"]
    first = service.trigger(DEPLOYMENT, **sites[name].build_parameters(sites[name].folder / "before"))
    answer = service.post(
        "/automations/",
        name="one after the other",
        trigger={
            "type": "event",
            "match": {"prefect.resource.id": f"prefect.flow-run.{first}"},
            "expect": ["prefect.flow-run.Completed"],
            "posture": "Reactive",
            "threshold": 1,
        },
        actions=[
            {
                "type": "run-deployment",
                "source": "selected",
                "deployment_id": deployment,
                "parameters": sites[name].build_parameters(output),
            }
        ],
    )
    assert answer.is_success, answer.text
    assert service.wait_for_final_state(first)["type"] == "COMPLETED"
    wait_until((output / "summary.json").is_file, "the automation's run", RUN_SECONDS, every_seconds=0.2)


def test_events_are_deleted_after_the_retention_period(sites: dict[str, Site]) -> None:
    service = sites["compose"].service
    since = (datetime.now(UTC) - timedelta(days=1)).isoformat()

    def find_oldest() -> datetime:
        answer = service.post("/events/filter", filter={"occurred": {"since": since}, "order": "ASC"}, limit=1)
        events = answer.raise_for_status().json()["events"]
        return datetime.fromisoformat(events[0]["occurred"]) if events else datetime.now(UTC)

    start = datetime.now(UTC)
    wait_until(lambda: find_oldest() > start, "only newer events", RUN_SECONDS, every_seconds=0.5)


# compose.yaml only. The last test restarts services.


@pytest.fixture(scope="module")
def composed(sites: dict[str, Site]) -> Composed:
    composed = sites["compose"].composed
    assert composed is not None
    return composed


@pytest.fixture(scope="module")
def composed_web(composed: Composed) -> Web:
    return Web(f"http://127.0.0.1:{composed.ports['4280']}", composed.folder / "uploads", composed.programs["web"])


def test_composed_test_deployment_completes(composed: Composed) -> None:
    state = composed.service.wait_for_final_state(composed.service.trigger("dataset-prep/test"))
    assert state["name"] == "Completed with failures"
    items = json.loads((composed.folder / "demo" / "deployment" / "summary.json").read_bytes())["items"]
    assert (items["failed"], items["done"] > 0) == (2, True)


def test_composed_services_require_passwords(composed: Composed, composed_web: Web) -> None:
    url = composed.service.url
    for auth, status in ((None, 401), (("headrace", "other"), 401), (("headrace", "secret-of-the-server"), 200)):
        assert httpx.get(f"{url}/admin/version", auth=auth, trust_env=False).status_code == status
    assert composed_web.call("GET", "/", "").status_code == 401
    check = composed.services["redis"]["healthcheck"]["test"]
    assert composed.is_healthy("redis", check)
    assert not composed.is_healthy("redis", check, REDISCLI_AUTH="")
