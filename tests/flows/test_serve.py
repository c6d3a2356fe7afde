"""Test `python deployments/serve.py`: registered deployments, a served run, and the exit."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path

import yaml

from deployments.serve import declared
from tests.flows.service import ROOT, Service, build_environment, start_program

SERVE = ROOT / "deployments" / "serve.py"


def test_serve_registers_deployments_and_runs_one(
    prefect_api: str, prefect_home: Path, slow_videos: Path, tmp_path: Path
) -> None:
    service, output, videos = Service(prefect_api, prefect_home), tmp_path / "output", tmp_path / "videos"
    videos.mkdir()
    (videos / "good.mp4").hardlink_to(slow_videos / "video-0.mp4")
    (videos / "bad.mp4").write_text("Not a video.\n")
    with start_program(
        [sys.executable, SERVE], tmp_path, service.build_environment(PREFECT_RUNNER_POLL_FREQUENCY="1")
    ) as program:
        program.wait_for_text("polling for scheduled runs")
        served = service.get_deployment("dataset-prep/default")
        assert served["entrypoint"] == "flows.dataset_prep.dataset_prep"
        assert [row["active"] for row in service.get_deployment("dataset-prep/nightly")["schedules"]] == [False]
        run = service.trigger(
            "dataset-prep/test",
            manifest=None,
            videos_dir=str(videos),
            output_dir=str(output),
            max_frames=1,
        )
        state = service.wait_for_final_state(run)
        assert state["name"] == "Completed with failures", state["message"]
        assert program.process.poll() is None
    assert program.process.returncode == 0
    assert json.loads((output / "summary.json").read_bytes())["parameters"]["max_frames"] == 1


def test_served_deployments_match_prefect_yaml() -> None:
    entries = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    served = declared(ROOT / "prefect.yaml")
    assert [deployment.name for deployment in served] == [entry["name"] for entry in entries]
    for entry, deployment in zip(entries, served, strict=True):
        assert deployment.entrypoint == entry["entrypoint"]
        assert deployment.parameters == entry["parameters"]
        assert deployment.tags == entry["tags"]
        slugs = [schedule["slug"] for schedule in entry.get("schedules", ())]
        assert [schedule.slug for schedule in deployment.schedules] == slugs
        assert [trigger.name for trigger in deployment.triggers] == [row["name"] for row in entry.get("triggers", ())]
        assert deployment.concurrency_limit == entry["concurrency_limit"]["limit"]
        assert deployment.concurrency_options is not None
        assert deployment.concurrency_options.collision_strategy == entry["concurrency_limit"]["collision_strategy"]


def test_every_flow_has_four_deployments() -> None:
    flows = {path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__"}
    entries = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    deployed = {(entry["entrypoint"], entry["name"]) for entry in entries}
    assert deployed == {
        (f"flows.{flow}.{flow}", name) for flow in flows for name in ("default", "test", "nightly", "inbox")
    }


def test_serve_without_a_server_is_a_one_line_error(tmp_path: Path) -> None:
    variables = build_environment(tmp_path, uuid.uuid4().hex)
    ran = subprocess.run([sys.executable, SERVE], check=False, env=variables, capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "PREFECT_API_URL" in ran.stderr
