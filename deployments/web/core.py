"""The parts that all requests share. It holds no state that a restart would lose."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from deployments.web.errors import WebError
from deployments.web.runs import Runs
from deployments.web.settings import Settings
from deployments.web.store import Store, UploadFolder
from deployments.web.uploads import Upload

_CHECKS = 4  # programs that check complete uploads at a time; users wait for them
_SEARCHES = 1  # programs that detect overlays or extract frames at a time


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
        self.checks = asyncio.Semaphore(_CHECKS)
        self.searches = asyncio.Semaphore(_SEARCHES)

    def locate(self, upload: Upload) -> UploadFolder:
        """Return the folder of an upload."""
        return self.store.locate(upload)

    def start_job(self, name: str, work: Callable[[], Awaitable[None]], limit: asyncio.Semaphore) -> asyncio.Task[None]:
        """Run ``work`` in the background unless a job of that name is running; return the job."""
        if name not in self.jobs:
            self.jobs[name] = asyncio.create_task(self._run_job(name, work, limit))
        return self.jobs[name]

    async def cancel_jobs(self, prefix: str = "") -> None:
        """End jobs and wait until their child processes have ended."""
        jobs = [task for name, task in self.jobs.items() if name.startswith(prefix)]
        for task in jobs:
            task.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    async def _run_job(self, name: str, work: Callable[[], Awaitable[None]], limit: asyncio.Semaphore) -> None:
        try:
            async with limit:
                await work()
        except WebError:  # the upload was deleted in the meantime
            pass
        except Exception:
            logging.getLogger(__name__).exception("the job %s failed", name)
        finally:
            del self.jobs[name]
