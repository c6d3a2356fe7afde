"""Start a Dask cluster of separate processes: a scheduler and two workers with their nannies."""

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

import psutil

from tests.chaos.network import Machine
from tests.engine.faults import LEDGER
from tests.engine.processes import MARK, find_processes, wait_until
from tests.runs.bench import ROOT

WORKERS = 2
_CHILD = "tasks.engine.running.child"


class Cluster:
    """Starts the processes of a cluster as a user would: ``dask scheduler`` and two ``dask worker``.

    Each worker has one thread, knows no Prefect server, and writes the ledger of items. The scheduler and the first
    worker run on the first of ``machines``, the second worker on the last.
    """

    def __init__(self, folder: Path, machines: Sequence[Machine] = (Machine(),)) -> None:
        self.folder = folder
        self.machines = machines
        self.ledger = folder / "ledger"
        self.mark = uuid.uuid4().hex
        self.address = ""
        self.home = folder / "worker-home"
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._nannies: list[subprocess.Popen[bytes]] = []

    def repair(self) -> None:
        """Start missing processes and return when a scheduler and two workers are running."""
        if self._scheduler is None or self._scheduler.poll() is not None:
            self.stop()
            self._start_scheduler()
        self._nannies = [nanny for nanny in self._nannies if nanny.poll() is None]
        while len(self._nannies) < WORKERS:
            self._start_worker(self.machines[len(self._nannies) % len(self.machines)])
        self._wait_for_workers(WORKERS)

    def start(self, workers: Sequence[Machine]) -> None:
        """Start a scheduler on the first of the machines, and a worker on each of ``workers``."""
        self._start_scheduler()
        for machine in workers:
            self._start_worker(machine)
        self._wait_for_workers(len(workers))

    def join(self, machine: Machine) -> None:
        """Start a further worker; return when the scheduler knows it."""
        count = self._count_workers()
        self._start_worker(machine)
        self._wait_for_workers(count + 1)

    def _start_worker(self, machine: Machine) -> None:
        options = ("--nworkers=1", "--nthreads=1", "--preload=tests.chaos.short_timeouts")
        self._nannies.append(self._start(machine, "worker", self.address, *options))

    def _wait_for_workers(self, count: int) -> None:
        wait_until(lambda: self._count_workers() == count, f"{count} workers in {self._get_log('scheduler')}")

    def pick(self, target: str, number: int) -> int:
        """Return the process to kill: the ``scheduler``, or one of the ``nanny`` or ``worker`` processes."""
        if target == "scheduler":
            assert self._scheduler is not None
            return self._scheduler.pid
        nanny = self._nannies[number % WORKERS].pid
        return nanny if target == "nanny" else self._find_worker(nanny)

    def kill_workers(self) -> None:
        """Kill all workers with their nannies; the scheduler keeps running."""
        for nanny in self._nannies:
            for process in (psutil.Process(nanny.pid), *psutil.Process(nanny.pid).children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            nanny.wait()
        wait_until(lambda: self._count_workers() == 0, f"no worker in {self._get_log('scheduler')}")

    def reap(self) -> None:
        """Reap child processes that were killed."""
        for process in [self._scheduler, *self._nannies]:
            if process is not None:
                process.poll()

    def find_children(self) -> dict[int, str]:
        """Return the commands of the item processes on all workers, by pid."""
        return {pid: command for pid, command in find_processes(self.mark).items() if _CHILD in command}

    def stop(self) -> None:
        """Kill every process that has the cluster's mark."""
        for process in [self._scheduler, *self._nannies]:
            if process is not None:
                process.kill()
                process.wait()
        self._nannies = []
        while left := find_processes(self.mark):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)

    def _start_scheduler(self) -> None:
        scheduler_file = self.folder / "scheduler.json"
        scheduler_file.unlink(missing_ok=True)
        self._get_log("scheduler").unlink(missing_ok=True)
        self._scheduler = self._start(
            self.machines[0], "scheduler", "--port=0", "--no-dashboard", f"--scheduler-file={scheduler_file}"
        )
        wait_until(lambda: _read_address(scheduler_file), "the scheduler's address")
        self.address = _read_address(scheduler_file)

    def _start(self, machine: Machine, role: str, *arguments: str) -> subprocess.Popen[bytes]:
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            MARK: self.mark,
            LEDGER: str(self.ledger),
            "PREFECT_HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
            **machine.variables,
        }
        program = [sys.executable, "-m", "distributed.cli.dask_" + role, f"--host={machine.address}"]
        command = [*machine.prefix, *program, *arguments]
        with self._get_log(role).open("ab") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=variables)

    def _get_log(self, role: str) -> Path:
        return self.folder / f"{role}.log"

    def _count_workers(self) -> int:
        words = self._get_log("scheduler").read_text()
        return words.count("Register worker") - words.count("Remove worker")

    def _find_worker(self, nanny: int) -> int:
        """Return the worker process of a nanny, which may also have a helper process of :mod:`multiprocessing`."""
        workers = [child.pid for child in psutil.Process(nanny).children() if "spawn_main" in " ".join(child.cmdline())]
        assert len(workers) == 1, workers
        return workers[0]


def _read_address(scheduler_file: Path) -> str:
    """Return the address in a scheduler file; empty if the file is missing or incomplete."""
    try:
        return str(json.loads(scheduler_file.read_bytes())["address"])
    except (FileNotFoundError, json.JSONDecodeError):
        return ""


@contextmanager
def start_cluster(folder: Path, machines: Sequence[Machine] = (Machine(),)) -> Iterator[Cluster]:
    """Yield a cluster that logs to ``folder``, and stop it at the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(folder, machines)
    try:
        yield cluster
    finally:
        cluster.stop()
