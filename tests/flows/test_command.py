"""Test `python flows/dataset_prep.py` with a running server and without one."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

from tests.engine.processes import MARK, find_processes, wait_until, wait_until_gone
from tests.flows.service import ROOT, Program, Service, build_environment, start_program

FLOW = ROOT / "flows" / "dataset_prep.py"


def build_command(output: Path, videos: Path, *options: object) -> list[object]:
    return [sys.executable, FLOW, "--videos-dir", videos, "--output-dir", output, *options]


def read_summary(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "summary.json").read_bytes())
    return content


def find_servers(program: Program) -> list[str]:
    return [line for line in find_processes(program.mark).values() if "api_server" in line or "uvicorn" in line]


def test_run_uses_the_given_server_and_can_be_cancelled_there(
    prefect_api: str, prefect_home: Path, slow_videos: Path, tmp_path: Path
) -> None:
    service = Service(prefect_api, prefect_home)
    output = tmp_path / "output"
    options = ("--max-frames", 12, "--image-format", "png", "--workers", 1)
    with start_program(build_command(output, slow_videos, *options), tmp_path, service.build_environment()) as program:
        wait_until(lambda: list((output / ".headrace" / "records").rglob("*.json")), "a record")
        assert find_servers(program) == []
        (run,) = service.find("flow_runs", flow_runs={"name": {"any_": [f"dataset-prep {output}"]}})
        service.cancel(run["id"])
        assert program.wait() == 130
        wait_until_gone(program.mark)
    state = service.get_state(run["id"])
    assert (state["type"], state["name"]) == ("CANCELLED", "Interrupted")
    assert read_summary(output)["state"] == "interrupted"
    assert 1 <= read_summary(output)["items"]["done"] < 8


def test_run_starts_and_stops_a_private_server(slow_videos: Path, tmp_path: Path) -> None:
    """The second run reuses the home and the database of the first."""
    output = tmp_path / "output"
    for cached in (0, 8):
        variables = build_environment(tmp_path / "home", uuid.uuid4().hex)
        with start_program(
            build_command(output, slow_videos, "--max-frames", 1, "--workers", 1), tmp_path, variables
        ) as program:
            program.wait_for_text("Prefect UI while this runs")
            assert len(find_servers(program)) == 1
            assert program.wait() == 0, program.log.read_text()
            assert find_processes(variables[MARK]) == {}
        assert read_summary(output)["stages"]["frames"]["cached"] == cached
