"""The parts that all requests share. It holds no state that a restart would lose."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from deployments.web.runs import Runs
from deployments.web.settings import Settings
from deployments.web.store import Store, UploadFolder
from deployments.web.uploads import Upload

_CHILDREN = 2  # programs that read videos at a time


@dataclass
class Core:
    """The service.

    receiving  ids of the uploads that receive bytes or are checked
    jobs       what runs in the background, by name; it starts again if it is missing
    """

    settings: Settings
    store: Store
    runs: Runs
    receiving: set[str] = field(default_factory=set)
    jobs: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.children = asyncio.Semaphore(_CHILDREN)

    def locate(self, upload: Upload) -> UploadFolder:
        """Return the folder of an upload."""
        return self.store.locate(upload)

    def start_job(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` in the background unless a job of that name is running."""
        if name not in self.jobs:
            self.jobs[name] = asyncio.create_task(self._run_job(name, work))

    async def cancel_jobs(self, prefix: str = "") -> None:
        """End jobs and wait until their child processes have ended."""
        jobs = [task for name, task in self.jobs.items() if name.startswith(prefix)]
        for task in jobs:
            task.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    async def _run_job(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            async with self.children:
                await work()
        except Exception:
            logging.getLogger(__name__).exception("the job %s failed", name)
        finally:
            del self.jobs[name]
