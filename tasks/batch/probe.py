"""Check in a worker that it can run items: it sees the inputs, the output folder of the run, and the Prefect server.

The functions for versions are those of Python, so that workers with another version of Headrace can answer them.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import platform
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from distributed import Worker

from tasks.engine.contract.execution import Identity
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage
from tasks.engine.planning.identity import read_input_states
from tasks.engine.planning.sizing import read_host
from tasks.engine.running.devices import list_devices, list_stage_devices, read_machine
from tasks.engine.running.workers import Capacity
from tasks.engine.store.layout import Layout

DEADLINE_VARIABLE = "HEADRACE_DEADLINE"  # of a job: the time at which its walltime ends, in seconds since 1970
LIFETIME_VARIABLE = "HEADRACE_WALLTIME"  # of a job, in seconds
_SLURM_VARIABLES = "SLURM_JOB_END_TIME", "SLURM_JOB_START_TIME"
_SERVER_SECONDS = 15.0
_SETTLE_SECONDS = 5.0  # until a network share shows a file that another machine has just written
_TOKEN_FILE = "token"  # noqa: S105 - in the private folder of the run


@dataclass(frozen=True)
class Sample:
    """An input of the run, and a description of its size and mtime; empty if they do not count."""

    path: str
    state: str = ""


@dataclass(frozen=True)
class ProbeRequest:
    """What a worker has to check.

    token    content of the file that the flow wrote to its private folder: another folder of that path has another;
             empty if the output folder is in a store, which workers do not share as a folder
    samples  some inputs, which must look the same as for the flow
    api_url  address of the Prefect server
    verify   False if its certificate is not checked
    stages   stages that need devices
    """

    run_id: str
    output_dir: Path
    token: str
    samples: tuple[Sample, ...] = ()
    api_url: str = ""
    verify: bool = True
    stages: Sequence[Stage] = ()


@dataclass(frozen=True)
class Versions:
    """The versions that should be equal in the flow and all workers."""

    headrace: str
    python: str

    def __str__(self) -> str:
        return f"Headrace {self.headrace}, Python {self.python}"


@dataclass(frozen=True)
class ProbeReport:
    """The answer of a worker: its name, its problems, or none, and its capacity."""

    name: str = ""
    problems: tuple[str, ...] = ()
    capacity: Capacity = field(default_factory=Capacity)


def read_versions() -> Versions:
    """Return the versions of this process."""
    return Versions(importlib.metadata.version("headrace"), platform.python_version())


def write_token(layout: Layout, run_id: str) -> str:
    """Write a file with a new token to the private folder of a run; return the token."""
    token = uuid.uuid4().hex
    layout.tree.write(f"{layout.relative(layout.private)}/{run_id}/{_TOKEN_FILE}", token.encode())
    return token


def sample_inputs(items: Sequence[Item], identity: Identity, count: int = 3) -> tuple[Sample, ...]:
    """Return some inputs of ``items`` that exist here, with their size and mtime if the run identifies them so."""
    paths = [item.inputs[0] for item in items if item.inputs and Path(item.inputs[0]).exists()]
    chosen = paths[:: max(1, len(paths) // count)][:count]
    return tuple(Sample(path, _describe_input(path) if identity == "stat" else "") for path in chosen)


def _describe_input(path: str) -> str:
    return " ".join(read_input_states(Item("input", inputs=(path,))))


async def probe_worker(request: ProbeRequest, dask_worker: Worker) -> ProbeReport:
    """Check this worker; return its report. Called remotely on workers, which add themselves."""
    limit = getattr(dask_worker.memory_manager, "memory_limit", None) or 0
    return await asyncio.to_thread(_probe, request, str(dask_worker.name), int(limit))


def _probe(request: ProbeRequest, name: str, limit_bytes: int) -> ProbeReport:
    return ProbeReport(name, tuple(_find_problems(request)), _measure_capacity(request, limit_bytes))


def _find_problems(request: ProbeRequest) -> Iterator[str]:
    if problem := _check_output(request):
        yield problem
    if problem := next(filter(None, map(_check_input, request.samples)), ""):
        yield problem
    if request.api_url and (problem := _check_server(request.api_url, request.verify)):
        yield problem


def _check_output(request: ProbeRequest) -> str:
    if not request.token:
        return ""
    folder = Layout(request.output_dir).private / request.run_id
    token = _read_patiently(folder / _TOKEN_FILE)
    if token is None and not request.output_dir.is_dir():
        return f"does not see the output folder {request.output_dir}; mount it there on every machine"
    if token != request.token:
        return f"sees another folder at {request.output_dir} than the flow; mount the same folder on every machine"
    try:
        trial = folder / f"probe-{uuid.uuid4().hex[:12]}"
        trial.touch(mode=0o600)
        trial.unlink()
    except OSError as error:
        return f"cannot write to the output folder {request.output_dir}: {error.strerror}"
    return ""


def _read_patiently(path: Path) -> str | None:
    """Return the content of a file; None if it does not appear for a few seconds."""
    end = time.monotonic() + _SETTLE_SECONDS
    while True:
        try:
            return path.read_text()
        except OSError:
            if time.monotonic() >= end:
                return None
            time.sleep(0.2)


def _check_input(sample: Sample) -> str:
    if not Path(sample.path).exists():
        return f"does not see the input {sample.path}; mount the input folder there on every machine"
    if sample.state and _describe_input(sample.path) != sample.state:
        return f"sees another file at {sample.path} than the flow; mount the same input folder on every machine"
    return ""


def _check_server(api_url: str, verify: bool) -> str:
    advice = "name a server that all workers reach, by PREFECT_API_URL"
    try:
        answer = httpx.get(f"{api_url.rstrip('/')}/health", timeout=_SERVER_SECONDS, verify=verify)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return f"does not reach the Prefect server at {api_url}: {error}; {advice}"
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or answer.status_code == httpx.codes.NOT_FOUND:
        return f"reaches no Prefect server at {api_url}: status {answer.status_code}; {advice}"
    return ""


def _measure_capacity(request: ProbeRequest, limit_bytes: int) -> Capacity:
    devices = list_devices() if request.stages else ()
    left, lifetime = _read_walltime()
    return Capacity(
        machine=read_machine(),
        free_bytes=read_host().free_memory_bytes,
        limit_bytes=limit_bytes,
        devices={stage.name: list_stage_devices(stage, devices) for stage in request.stages},
        seconds_left=left,
        lifetime=lifetime,
        ends_at=None if left is None else time.time() + left,
    )


def _read_walltime() -> tuple[float | None, float | None]:
    """Return the seconds until the walltime of this worker's job ends, and the whole walltime, if known."""
    now = time.time()
    end, start = (_read_number(name) for name in _SLURM_VARIABLES)
    end, lifetime = _read_number(DEADLINE_VARIABLE) or end, _read_number(LIFETIME_VARIABLE)
    if end is None:
        return None, None
    if lifetime is None:
        lifetime = end - (start or psutil.Process().create_time())
    return end - now, lifetime


def _read_number(variable: str) -> float | None:
    try:
        return float(os.environ[variable])
    except (KeyError, ValueError):
        return None
