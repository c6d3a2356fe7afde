"""A Dask cluster of separate processes: a scheduler and two workers with their nannies."""

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
    """The processes of a cluster, as a user would start them: ``dask scheduler`` and two ``dask worker``.

    Workers have a thread each, know of no Prefect server, and write the ledger of items. The scheduler and the first
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

    def mend(self) -> None:
        """Return when a scheduler and two workers are there; starts what is missing."""
        if self._scheduler is None or self._scheduler.poll() is not None:
            self.stop()
            self._start_scheduler()
        self._nannies = [nanny for nanny in self._nannies if nanny.poll() is None]
        while len(self._nannies) < WORKERS:
            machine = self.machines[len(self._nannies) % len(self.machines)]
            own = ("--nworkers=1", "--nthreads=1", "--preload=tests.chaos.impatient")
            self._nannies.append(self._start(machine, "worker", self.address, *own))
        wait_until(lambda: self._registered() == WORKERS, f"{WORKERS} workers in {self._log('scheduler')}")

    def pick(self, target: str, number: int) -> int:
        """The process to kill: the ``scheduler``, or one of the ``nanny`` or ``worker`` processes."""
        if target == "scheduler":
            assert self._scheduler is not None
            return self._scheduler.pid
        nanny = self._nannies[number % WORKERS].pid
        return nanny if target == "nanny" else self._worker(nanny)

    def kill_workers(self) -> None:
        """Kill all workers with their nannies; the scheduler lives."""
        for nanny in self._nannies:
            for process in (psutil.Process(nanny.pid), *psutil.Process(nanny.pid).children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            nanny.wait()
        wait_until(lambda: self._registered() == 0, f"no worker in {self._log('scheduler')}")

    def reap(self) -> None:
        """Take leave of processes of ours that were killed."""
        for process in [self._scheduler, *self._nannies]:
            if process is not None:
                process.poll()

    def children(self) -> dict[int, str]:
        """Processes of items and their slots, on any worker."""
        return {pid: command for pid, command in find_processes(self.mark).items() if _CHILD in command}

    def stop(self) -> None:
        """End whatever bears the cluster's mark."""
        for process in [self._scheduler, *self._nannies]:
            if process is not None:
                process.kill()
                process.wait()
        self._nannies = []
        while found := find_processes(self.mark):
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)

    def _start_scheduler(self) -> None:
        where = self.folder / "scheduler.json"
        where.unlink(missing_ok=True)
        self._log("scheduler").unlink(missing_ok=True)
        self._scheduler = self._start(
            self.machines[0], "scheduler", "--port=0", "--no-dashboard", f"--scheduler-file={where}"
        )
        wait_until(lambda: _address(where), "the scheduler's address")
        self.address = _address(where)

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
        with self._log(role).open("ab") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=variables)

    def _log(self, role: str) -> Path:
        return self.folder / f"{role}.log"

    def _registered(self) -> int:
        words = self._log("scheduler").read_text()
        return words.count("Register worker") - words.count("Remove worker")

    def _worker(self, nanny: int) -> int:
        """The process that a nanny watches over; beside it, it may have one of :mod:`multiprocessing`'s own."""
        found = [child.pid for child in psutil.Process(nanny).children() if "spawn_main" in " ".join(child.cmdline())]
        assert len(found) == 1, found
        return found[0]


def _address(scheduler_file: Path) -> str:
    """What a scheduler's file says; empty where it is not there, or not yet whole."""
    try:
        return str(json.loads(scheduler_file.read_bytes())["address"])
    except (FileNotFoundError, json.JSONDecodeError):
        return ""


@contextmanager
def cluster_in(folder: Path, machines: Sequence[Machine] = (Machine(),)) -> Iterator[Cluster]:
    """A cluster with its logs in ``folder``, which is gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(folder, machines)
    try:
        yield cluster
    finally:
        cluster.stop()
