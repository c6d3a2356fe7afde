"""Start the processes of a Dask cluster one by one, each with variables of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.engine.processes import MARK, find_processes, wait_until
from tests.runs.bench import ROOT


class DaskProcesses:
    """A scheduler, and workers that are added one by one. All of them end with the block of :func:`start_dask`."""

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self._started: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        given = ["--host=127.0.0.1", "--port=0", "--no-dashboard", f"--scheduler-file={file}", *options]
        self._run("scheduler", given, {})
        wait_until(lambda: _read_address(file), lambda: f"the scheduler: {self.read_log('scheduler')}")
        self.address = _read_address(file)

    def add_worker(
        self, name: str, *options: str, prefix: Sequence[str] = (), **variables: str
    ) -> subprocess.Popen[bytes]:
        """Start a worker called ``name`` with one thread, unless ``options`` say otherwise."""
        given = [self.address, f"--name={name}", "--nthreads=1", "--no-nanny", "--no-dashboard", *options]
        return self._run("worker", given, variables, prefix, name)

    def wait_for_workers(self, *names: str) -> None:
        """Return when these workers have joined."""
        wait_until(
            lambda: all(f"name: {name}" in self.read_log("scheduler") for name in names),
            lambda: f"{names} in {self.read_log('scheduler')}",
        )

    def read_log(self, name: str) -> str:
        """Return the output of a process."""
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def stop(self) -> None:
        """Kill every process."""
        while left := find_processes(self.mark):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
        for process in self._started:
            process.kill()
            process.wait()

    def _run(
        self,
        role: str,
        options: Sequence[str],
        variables: dict[str, str],
        prefix: Sequence[str] = (),
        name: str = "scheduler",
    ) -> subprocess.Popen[bytes]:
        own = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
        environment = {**own, MARK: self.mark, "PYTHONPATH": str(ROOT), **variables}
        command = [*prefix, sys.executable, "-m", f"distributed.cli.dask_{role}", *options]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        self._started.append(process)
        return process


def _read_address(file: Path) -> str:
    try:
        return str(json.loads(file.read_bytes())["address"])
    except (FileNotFoundError, json.JSONDecodeError):
        return ""


@contextmanager
def start_dask(folder: Path, options: Sequence[str] = ()) -> Iterator[DaskProcesses]:
    """Yield a scheduler that logs to ``folder``; kill it and its workers at the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    processes = DaskProcesses.__new__(DaskProcesses)
    try:
        processes.__init__(folder, options)  # type: ignore[misc]
        yield processes
    finally:
        processes.stop()
