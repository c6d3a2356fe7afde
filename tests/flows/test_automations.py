"""Test automations and collisions of runs with a real server: crashed runs, notifications and events.

One worker runs a flow that fails items, then is killed with all its processes during another run, as if its machine had
lost power. Notifications arrive at an HTTP server of the test.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import Settings

from deployments.apply_automations import FOLDER, read_automation
from examples.demo_data import CLIPS, find_clip
from tests.engine.processes import find_processes, wait_until
from tests.flows.conftest import UI_URL, Deployed
from tests.flows.service import PREFECT, ROOT, RUN_SECONDS, Program, Service, start_program

DEPLOYMENT = "dataset-prep/default"
_HEARTBEAT_SECONDS = 30  # the minimum of Prefect
_WINDOW_SECONDS = 45
ENTRIES = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]


@dataclass(frozen=True)
class Sink:
    """HTTP server that keeps the JSON documents it is sent."""

    url: str
    received: queue.Queue[dict[str, Any]]


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    received: queue.Queue[dict[str, Any]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Sink(f"http://127.0.0.1:{server.server_port}/", received)
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a folder with a video that takes some seconds, and one with a damaged video, too."""
    folder = tmp_path_factory.mktemp("automations")
    for name in ("videos", "mixed"):
        (folder / name).mkdir()
        shutil.copy(find_clip(CLIPS["bunny.mp4"]), folder / name / "bunny.mp4")
    (folder / "mixed" / "bad.mp4").write_text("Not a video.\n")
    return folder


@pytest.fixture(scope="module")
def server(deployed: Deployed) -> Service:
    return deployed.service


def apply_automations(service: Service, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "deployments" / "apply_automations.py", *arguments]
    given: dict[str, Any] = {"env": service.build_environment(), "capture_output": True, "text": True}
    return subprocess.run([str(word) for word in command], check=False, **given)


@pytest.fixture(scope="module")
def automations(server: Service, sink: Sink) -> str:
    """Apply all automations, with notifications to the sink; return what the command printed."""
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    block = CustomWebhookNotificationBlock(name="headrace", url=sink.url, json_data={"text": "{{subject}}: {{body}}"})
    code = "import sys, json\nfrom prefect.blocks.notifications import CustomWebhookNotificationBlock as Block\n"
    code += 'Block(**json.loads(sys.argv[1])).save("headrace", overwrite=True)\n'
    content = json.dumps({"name": block.name, "url": block.url, "json_data": block.json_data})
    subprocess.run([sys.executable, "-c", code, content], check=True, env=server.build_environment())
    ran = apply_automations(server, "--notify", "custom-webhook/headrace")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@contextlib.contextmanager
def start_worker(server: Service, folder: Path) -> Iterator[Program]:
    variables = server.build_environment(
        PREFECT_WORKER_QUERY_SECONDS="1",
        PREFECT_WORKER_PREFETCH_SECONDS="1",
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY=str(_HEARTBEAT_SECONDS),
    )
    command = [PREFECT, "worker", "start", "--pool", "headrace", "--type", "process", "--limit", "1"]
    with start_program(command, folder, variables) as program:
        program.wait_for_text("started!")
        yield program


def find_events(service: Service, name: str, run: str) -> list[dict[str, Any]]:
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    resource = {"id": [f"prefect.flow-run.{run}"]}
    only = {"occurred": {"since": since}, "event": {"name": [name]}, "resource": resource}
    events: list[dict[str, Any]] = service.post("/events/filter", filter=only).raise_for_status().json()["events"]
    return events


def test_dead_run_is_marked_as_crashed_and_reported(
    server: Service, automations: str, sink: Sink, folder: Path
) -> None:
    with start_worker(server, folder) as worker:
        mixed = {"videos_dir": str(folder / "mixed"), "output_dir": str(folder / "mixed-out"), "max_frames": 1}
        finished = server.trigger(DEPLOYMENT, **mixed)
        assert server.wait_for_final_state(finished)["name"] == "Completed with failures"
        text = sink.received.get(timeout=RUN_SECONDS)["text"]
        assert text.startswith("dataset-prep: Completed with failures: ")
        assert " done, 0 cached, 1 failed. Retry (in the menu of the run) runs only the failed items.\n" in text
        assert f"{UI_URL}/runs/flow-run/{finished}" in text

        assert apply_automations(server, "--window", _WINDOW_SECONDS).returncode == 0
        busy = {"max_frames": 5000, "image_format": "png"}
        output = folder / "killed-out"
        killed = server.trigger(DEPLOYMENT, videos_dir=str(folder / "videos"), output_dir=str(output), **busy)
        at_work = output / ".headrace" / "private"
        wait_until(
            lambda: at_work.is_dir() and bool(find_events(server, "prefect.flow-run.heartbeat", killed)),
            "an item at work and a heartbeat",
            RUN_SECONDS,
            every_seconds=0.1,
        )
        assert server.get_state(killed)["type"] == "RUNNING"
        for pid in find_processes(worker.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert server.get_state(killed)["type"] == "RUNNING"
    state = server.wait_for_final_state(killed)
    assert (state["type"], state["name"]) == ("CRASHED", "Crashed")
    assert "no heartbeat" in state["message"]
    crashed = sink.received.get(timeout=RUN_SECONDS)["text"]
    assert crashed.startswith("dataset-prep: Crashed: ")
    assert f"{UI_URL}/runs/flow-run/{killed}" in crashed
    assert server.get_state(finished)["name"] == "Completed with failures"


def test_state_is_reported_once_although_its_event_is_evaluated_again(
    server: Service, automations: str, sink: Sink
) -> None:
    """Repeat an event under another id, because the server drops an event whose id it knows."""
    flow = server.post("/flows/", name="evaluated-again").json()["id"]
    failed = {"type": "FAILED", "name": "Failed"}
    first = server.post("/flow_runs/", flow_id=flow, name="first", state=failed).json()["id"]
    assert "first: Failed" in sink.received.get(timeout=RUN_SECONDS)["text"]
    wait_until(lambda: find_events(server, "prefect.flow-run.Failed", first), "the event", RUN_SECONDS, 0.1)
    (event,) = find_events(server, "prefect.flow-run.Failed", first)
    server.emit({**event, "id": str(uuid.uuid4()), "follows": None})
    server.post("/flow_runs/", flow_id=flow, name="second", state=failed)
    assert "second: Failed" in sink.received.get(timeout=RUN_SECONDS)["text"]
    assert sink.received.empty()


def test_automations_are_updated_when_they_are_applied_again(server: Service, automations: str) -> None:
    assert automations == "created: headrace crashed runs\ncreated: headrace notifications\n"
    again = apply_automations(server, "--window", _WINDOW_SECONDS)
    assert again.stdout == "updated: headrace crashed runs\n"
    rows = {row["name"]: row for row in server.post("/automations/filter").json()}
    assert sorted(name for name in rows if name.startswith("headrace ")) == [
        "headrace crashed runs",
        "headrace notifications",
    ]
    assert rows["headrace crashed runs"]["trigger"]["within"] == _WINDOW_SECONDS


def test_unknown_block_is_a_one_line_error(server: Service) -> None:
    ran = apply_automations(server, "--notify", "slack-webhook/missing")
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: --notify: 'slack-webhook/missing' does not exist;")
    assert ran.stderr.count("\n") == 1


def test_window_covers_three_heartbeats() -> None:
    frequency = Settings().flows.heartbeat_frequency
    assert frequency is not None
    assert read_automation("crashed_runs.yaml")["trigger"]["within"] >= 3 * frequency


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_automation_files_are_valid(path: Path) -> None:
    content = read_automation(path.name)
    for action in content["actions"]:
        if action.pop("block", None):
            action["block_document_id"] = "00000000-0000-0000-0000-000000000000"
    assert AutomationCore.model_validate(content).enabled


@pytest.mark.parametrize("event", ["Completed", "Completed with failures", "Cancelled", "Interrupted", "Failed"])
def test_ended_runs_do_not_crash(event: str) -> None:
    from prefect.server.events.schemas.automations import EventTrigger

    trigger = EventTrigger.model_validate(read_automation("crashed_runs.yaml")["trigger"])
    assert trigger.expects(f"prefect.flow-run.{event}")
    assert trigger.event_pattern.match(f"prefect.flow-run.{event}")


# Deployments


def set_pending(service: Service, run: str) -> dict[str, Any]:
    """Propose the state that a worker proposes before it starts a run; return the answer."""
    answer = service.post(f"/flow_runs/{run}/set_state", state={"type": "PENDING", "name": "Pending"})
    content: dict[str, Any] = answer.raise_for_status().json()
    return content


@pytest.mark.parametrize(("name", "state"), [("inbox", "AwaitingConcurrencySlot"), ("nightly", "Cancelled")])
def test_second_run_waits_or_is_canceled_as_configured(server: Service, name: str, state: str) -> None:
    first, second = (server.trigger(f"vhs-batch/{name}") for _ in range(2))
    assert set_pending(server, first)["status"] == "ACCEPT"
    answer = set_pending(server, second)
    assert (answer["status"], answer["state"]["name"]) == ("REJECT", state)
    server.post(f"/flow_runs/{first}/set_state", state={"type": "CANCELLED", "name": "Cancelled"}, force=True)
    third = server.trigger(f"vhs-batch/{name}")
    if name == "nightly":
        assert set_pending(server, third)["status"] == "ACCEPT"
    else:
        wait_until(lambda: set_pending(server, second)["status"] == "ACCEPT", "the slot of the first run", 20.0)


@pytest.mark.parametrize("flow", ["dataset-prep", "vhs-presets"])
def test_event_starts_the_inbox_deployment(server: Service, folder: Path, flow: str) -> None:
    deployment = server.get_deployment(f"{flow}/inbox")["id"]

    def find_started() -> list[dict[str, Any]]:
        rows = server.find("flow_runs", deployments={"id": {"any_": [deployment]}})
        return [row for row in rows if row["created_by"] and row["created_by"]["type"] == "AUTOMATION"]

    words = ("headrace.inbox.ready", "--resource-id", f"headrace.inbox.{flow}")
    server.run_prefect("event", "emit", *words, cwd=folder)
    wait_until(lambda: len(find_started()) == 1, "a run", 60.0, every_seconds=0.2)


def test_every_deployment_limits_concurrent_runs() -> None:
    strategies = {"default": "ENQUEUE", "test": "CANCEL_NEW", "nightly": "CANCEL_NEW", "inbox": "ENQUEUE"}
    for entry in ENTRIES:
        assert entry["concurrency_limit"] == {"limit": 1, "collision_strategy": strategies[entry["name"]]}


def test_schedules_have_a_time_zone_and_triggers_name_their_flow() -> None:
    for entry in ENTRIES:
        schedules, triggers = entry.get("schedules", []), entry.get("triggers", [])
        assert (len(schedules), len(triggers)) == (entry["name"] == "nightly", entry["name"] == "inbox")
        assert all(schedule["cron"] and schedule["timezone"] for schedule in schedules)
        flow = entry["entrypoint"].rpartition(".")[2].replace("_", "-")
        assert all(row["match"] == {"prefect.resource.id": f"headrace.inbox.{flow}"} for row in triggers)
