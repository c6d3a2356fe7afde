"""Create the Dask cluster of a run in this process, with one thread per slot; settings for all other clusters.

The slots' child processes give parallelism and isolation, so scheduler and worker can be threads of the flow's own
process: workers import no Prefect, no extra server runs, and Ctrl+C stops one process. ``docs/benchmarks.md`` has the
measurements behind this design.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import LocalCluster, Worker

CONNECT_SECONDS = 30
_MAX_THREADS = 512  # each is started with the first lease that needs it
_LOOPBACK_PORT = "127.0.0.1:0"  # Dask always serves HTTP, by default on all addresses

# Dask keeps its last thousand messages of each kind for debugging, and with them the shards in the messages.
_OWN_SETTINGS: dict[str, object] = {"distributed.admin.low-level-log-length": 1}

# A worker must not be a daemon, because its slots have child processes. A lost worker is not the fault of its items,
# so Dask may retry a shard for every lost worker. Scheduler and worker open a web port even without their dashboards:
# no page is served there. An empty list of routes is not enough, because dashboards are served in addition to routes.
_SETTINGS: dict[str, object] = {
    **_OWN_SETTINGS,
    "distributed.worker.daemon": False,
    "distributed.worker.profile.enabled": False,  # it would sample every thread a hundred times per second
    "distributed.scheduler.allowed-failures": 100,
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "30s",
    "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s",
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.use-file-locking": False,  # each run has its own folder, which is removed with the run
}


# A scheduler in the flow's process with workers elsewhere. Jobs that have ended are replaced after a few seconds.
_SCHEDULER_SETTINGS: dict[str, object] = {**_SETTINGS, "distributed.deploy.lost-worker-timeout": "3s"}


def get_scheduler_settings() -> dict[str, object]:
    """Return Dask's settings for a scheduler in this process whose workers are elsewhere."""
    return dict(_SCHEDULER_SETTINGS)


class _WorkerWithoutDashboard(Worker):
    """Worker without the dashboard that LocalCluster requests with the address of its port."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "dashboard": False})


@contextmanager
def local_cluster(folder: Path) -> Iterator[LocalCluster]:
    """Yield a scheduler and a worker in this process, on no port that others can reach.

    The worker's files go into ``folder``. By default Dask uses a fixed name in the shared folder for temporary files:
    it follows symlinks that others place there, and clears it.

    The loop of the run limits the leases in flight, and their number may change; so there are threads for all of them.
    """
    with (
        dask.config.set({**_SETTINGS, "temporary-directory": str(folder)}),
        LocalCluster(
            n_workers=1,
            threads_per_worker=_MAX_THREADS,
            processes=False,
            memory_limit=0,
            dashboard_address=_LOOPBACK_PORT,
            worker_dashboard_address=_LOOPBACK_PORT,
            scheduler_kwargs={"dashboard": False},
            worker_class=_WorkerWithoutDashboard,
            silence_logs="ERROR",
        ) as cluster,
    ):
        yield cluster


@contextmanager
def configure_remote_client() -> Iterator[None]:
    """Apply the client settings for a cluster that other processes run.

    If the scheduler is lost, the run closes the client, which cancels its attempts to reconnect. Dask logs that with a
    traceback; the run reports the loss in one line.
    """
    logger = logging.getLogger("distributed.client")
    logger.addFilter(_is_failure)
    try:
        with dask.config.set(_OWN_SETTINGS):
            yield
    finally:
        logger.removeFilter(_is_failure)


def _is_failure(record: logging.LogRecord) -> bool:
    """Return False for the log record of a cancellation."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
