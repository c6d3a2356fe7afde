"""Share fixtures: a folder for runs, and a stand-in for a batch system."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters.batch_system import STATE, install_commands, list_running
from tests.engine.processes import wait_until
from tests.runs.bench import ROOT, Bench
from tests.runs.conftest import bench

__all__ = ["bench"]


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the commands of batch systems."""
    folder = tmp_path_factory.mktemp("batch") / "bin"
    install_commands(folder)
    return folder


@pytest.fixture
def jobs(tmp_path: Path, commands: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the state of a new batch system; at the end, no job may be left."""
    state = tmp_path / "jobs"
    state.mkdir()
    monkeypatch.setenv(STATE, str(state))
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield state
    for job in list_running(state):
        (state / job / "cancel").touch()
    wait_until(lambda: not list_running(state), "the end of all jobs")


def write_cluster(bench: Bench, kind: str, **settings: object) -> Path:
    """Write a cluster file; return its path."""
    lines = [f'type = "{kind}"', *(f"{name} = {_format(value)}" for name, value in settings.items())]
    path = bench.folder / "cluster.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def _format(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_format(each)}" for name, each in value.items()) + "}"
    return str(value) if isinstance(value, int | float) else json.dumps(str(value))  # also a text in TOML


def write_job_cluster(bench: Bench, system: str = "slurm", **settings: object) -> Path:
    """Write a cluster file for jobs on this machine; return its path."""
    defaults = {"memory": "2GiB", "walltime": "01:00:00", "host": "127.0.0.1", "python": sys.executable}
    return write_cluster(bench, system, **{**defaults, **settings})
