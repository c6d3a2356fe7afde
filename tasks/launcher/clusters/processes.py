"""Workers that are processes of this machine, for a cluster of the type ``local``."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from distributed import SpecCluster
from distributed.deploy.spec import ProcessInterface

_END_SECONDS = 10.0


class ProcessWorker(ProcessInterface):
    """A Dask worker in a process of its own. It has its own session, so that Ctrl+C does not reach it.

    ``options`` are those of ``dask worker``; the process logs to ``log``.
    """

    def __init__(
        self, scheduler: str, name: str, options: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        super().__init__(scheduler, name)  # type: ignore[no-untyped-call]
        self._command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--name", name, *options]
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def has_ended(self) -> bool:
        """True if the process has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    async def start(self) -> None:
        """Start the process."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        await super().start()  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """End the process with its children."""
        await asyncio.to_thread(self._end)
        await super().close()  # type: ignore[no-untyped-call]

    def _end(self) -> None:
        if self._process is None:
            return
        with suppress(psutil.NoSuchProcess):
            started = [*psutil.Process(self._process.pid).children(recursive=True)]
            self._process.terminate()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
            for process in started:
                with suppress(psutil.Error):
                    process.kill()
        self._process.wait()


class ProcessCluster(SpecCluster):
    """A cluster whose workers are called NAME-0, NAME-1 and so on, as workers report their names as text."""

    def _new_worker_name(self, worker_number: int) -> str:
        return f"{self._name}-{worker_number}"


def make_process_cluster(name: str, scheduler: Mapping[str, Any], worker: Mapping[str, Any], security: Any) -> Any:
    """Start a cluster without workers. ``scheduler`` and ``worker`` are the options of both."""
    from distributed import Scheduler

    return ProcessCluster(  # type: ignore[no-untyped-call]
        workers={},
        scheduler={"cls": Scheduler, "options": dict(scheduler)},
        worker={"cls": ProcessWorker, "options": dict(worker)},
        security=security,
        silence_logs="ERROR",
        name=name,
    )
