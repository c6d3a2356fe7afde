"""The Dask cluster of a run: one that is already there, or this process with a thread a slot.

The slots' child processes give parallelism and isolation, so that scheduler and worker can be threads of the flow's own
process: no Prefect import in every worker, no server in every worker, and Ctrl+C has one process to stop.
``docs/benchmarks.md`` has the measurement behind the shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, Worker

from tasks.engine.contract.errors import RunError

_CONNECT_SECONDS = 30
_MOST_SHARDS_AHEAD = 8
_NOBODYS_PORT = "127.0.0.1:0"  # Dask serves HTTP whether one wants it or not; by default on every address of the host

# Dask keeps its latest messages, a thousand of each kind, for debugging; with the messages it keeps the shards in them.
_OWN_SETTINGS: dict[str, object] = {"distributed.admin.low-level-log-length": 1}

# A worker may not be a daemon, because its slots have child processes. A worker that is lost is not its items' fault,
# so that Dask may try a shard again as often as workers go. Scheduler and worker open a web port even without their
# dashboards: nothing is served there. An empty list of routes is not enough: dashboards are served beside the routes.
_SETTINGS: dict[str, object] = {
    **_OWN_SETTINGS,
    "distributed.worker.daemon": False,
    "distributed.worker.profile.enabled": False,  # it samples every thread a hundred times a second
    "distributed.scheduler.allowed-failures": 100,
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "30s",
    "distributed.comm.timeouts.connect": f"{_CONNECT_SECONDS}s",
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.use-file-locking": False,  # the folder of its files is the run's own, and goes with the run
}


class _WorkerWithoutDashboard(Worker):
    """A worker that serves no dashboard, which LocalCluster would ask for with the address of its port."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "dashboard": False})


@contextmanager
def local_cluster(slots: int, folder: Path) -> Iterator[LocalCluster]:
    """A scheduler and a worker in this process, on no port that others can reach.

    The worker's files go into ``folder``. By default Dask has one of a fixed name in the shared folder for temporary
    files: it follows what others place there, and clears it.

    There are threads for as many shards again as can run: while one runs, Prefect begins the next.
    """
    with (
        dask.config.set({**_SETTINGS, "temporary-directory": str(folder)}),
        LocalCluster(
            n_workers=1,
            threads_per_worker=slots + min(slots, _MOST_SHARDS_AHEAD),
            processes=False,
            memory_limit=0,
            dashboard_address=_NOBODYS_PORT,
            worker_dashboard_address=_NOBODYS_PORT,
            scheduler_kwargs={"dashboard": False},
            worker_class=_WorkerWithoutDashboard,
            silence_logs="ERROR",
        ) as cluster,
    ):
        yield cluster


@contextmanager
def client_of_another() -> Iterator[None]:
    """What this process's client needs where the cluster is not its own."""
    with dask.config.set(_OWN_SETTINGS):
        yield


def remote_slots(address: str) -> int:
    """Threads of all workers of the scheduler at ``address``. Raises RunError where there is none."""
    try:
        with Client(address, timeout=_CONNECT_SECONDS, set_as_default=False) as client:
            threads: int = sum(client.nthreads().values())
    except (OSError, ValueError) as error:
        raise RunError(
            f"no Dask scheduler answers at {address}: {error}; start one, or leave --scheduler out"
        ) from None
    if not threads:
        raise RunError(f"the Dask scheduler at {address} has no workers; start some: dask worker {address}")
    return threads
