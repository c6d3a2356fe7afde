"""Serve every flow in one process, without a work pool: ``python deployments/serve.py``. Ctrl+C ends it.

What it serves stands in ``prefect.yaml``, the same that ``prefect deploy --all`` registers for workers.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow, serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentTriggerTypes
from prefect.schedules import Schedule
from prefect.settings import PREFECT_API_URL
from prefect.types.entrypoint import EntrypointType
from pydantic import TypeAdapter

ROOT = Path(__file__).resolve().parents[1]
_EXIT_INVALID = 2
_TRIGGER: TypeAdapter[DeploymentTriggerTypes] = TypeAdapter(DeploymentTriggerTypes)
_RUNS_AT_A_TIME = 1  # a run sizes itself to the whole host; others wait for it


def main() -> int:
    """Serve until interrupted; returns the exit code."""
    if not PREFECT_API_URL.value():
        print(
            "error: PREFECT_API_URL: not set; allowed: the address of a Prefect server; start one by"
            " `prefect server start` and set PREFECT_API_URL=http://127.0.0.1:4200/api",
            file=sys.stderr,
        )
        return _EXIT_INVALID
    os.chdir(ROOT)  # where relative paths among the parameters start
    serve(*declared(ROOT / "prefect.yaml"), limit=_RUNS_AT_A_TIME)
    return 0


def declared(path: Path) -> list[RunnerDeployment]:
    """The deployments that ``path``, a ``prefect.yaml``, declares."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [_deployment(entry) for entry in content["deployments"]]


def _deployment(entry: dict[str, Any]) -> RunnerDeployment:
    module, _, name = entry["entrypoint"].rpartition(".")
    flow: Flow[..., Any] = getattr(import_module(module), name)
    deployment = flow.to_deployment(
        name=entry["name"],
        description=entry["description"],
        tags=entry["tags"],
        parameters=entry["parameters"],
        schedules=[Schedule(**schedule) for schedule in entry.get("schedules", ())],
        triggers=[_TRIGGER.validate_python(trigger) for trigger in entry.get("triggers", ())],
        concurrency_limit=ConcurrencyLimitConfig(**entry["concurrency_limit"]),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    assert isinstance(deployment, RunnerDeployment)  # a coroutine only where an event loop runs
    return deployment


if __name__ == "__main__":
    raise SystemExit(main())
