"""`python flows/dataset_prep.py` beside a server that is there, and without one."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

from tests.engine.processes import MARK, marked, wait_until, wait_until_gone
from tests.flows.service import ROOT, Program, Service, environment, started

FLOW = ROOT / "flows" / "dataset_prep.py"


def command(output: Path, videos: Path, *options: object) -> list[object]:
    return [sys.executable, FLOW, "--videos-dir", videos, "--output-dir", output, *options]


def summary(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "summary.json").read_bytes())
    return content


def servers(program: Program) -> list[str]:
    return [line for line in marked(program.mark).values() if "api_server" in line or "uvicorn" in line]


def test_a_run_uses_the_server_that_is_named_and_is_cancelled_there(
    prefect_api: str, prefect_home: Path, slow: Path, tmp_path: Path
) -> None:
    service = Service(prefect_api, prefect_home)
    output = tmp_path / "output"
    options = ("--max-frames", 12, "--image-format", "png", "--workers", 1)
    with started(command(output, slow, *options), tmp_path, service.environment()) as program:
        wait_until(lambda: list((output / ".headrace" / "records").rglob("*.json")), "a record")
        assert servers(program) == []
        (run,) = service.find("flow_runs", flow_runs={"name": {"any_": [f"dataset-prep {output}"]}})
        service.cancel(run["id"])
        assert program.wait() == 130
        wait_until_gone(program.mark)
    state = service.state(run["id"])
    assert (state["type"], state["name"]) == ("CANCELLED", "Interrupted")
    assert summary(output)["state"] == "interrupted"
    assert 1 <= summary(output)["items"]["done"] < 8


def test_a_run_without_a_server_has_one_of_its_own_and_leaves_nothing(slow: Path, tmp_path: Path) -> None:
    """The second run finds the home, and its database, as the first one left them."""
    output = tmp_path / "output"
    for cached in (0, 8):
        variables = environment(tmp_path / "home", uuid.uuid4().hex)
        with started(command(output, slow, "--max-frames", 1, "--workers", 1), tmp_path, variables) as program:
            program.wait_for_words("Prefect UI while this runs")
            assert len(servers(program)) == 1
            assert program.wait() == 0, program.said.read_text()
            assert marked(variables[MARK]) == {}
        assert summary(output)["stages"]["frames"]["cached"] == cached
