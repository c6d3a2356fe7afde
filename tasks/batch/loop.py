"""The loop of a run: keep leases in flight while items are ready. This module has the one for slots of this process."""

from __future__ import annotations

import queue
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from distributed import CancelledError, Client
from prefect_dask.task_runners import DaskTaskRunner

from tasks.batch.control import RunControl
from tasks.batch.prefect_tasks import run_local_lease
from tasks.engine.contract.errors import RunError
from tasks.engine.contract.stage import LANES, Lane
from tasks.engine.reporting.progress import ProgressDisplay
from tasks.engine.running.control import StopLevel
from tasks.engine.running.local_run import LocalRun
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.running.slot_count import SlotCount

_STOP_MESSAGES: dict[StopLevel, str] = {
    "drain": "finishing the running items; Ctrl+C once more to stop now",
    "stop": "stopping now; what is not finished is left for the next run",
}
_MAX_WAIT_SECONDS = 0.25
_MAX_AHEAD = 8  # leases that Prefect has begun and that wait for a slot


class LeaseLoop(ABC):
    """Keeps leases in flight until no item is left or the run stops."""

    def __init__(
        self, flow: str, scheduler: Scheduler, runner: DaskTaskRunner, control: RunControl, display: ProgressDisplay
    ) -> None:
        self.flow = flow
        self.scheduler = scheduler
        self.runner = runner
        self.control = control
        self.display = display
        self.submitted = 0
        self.slot_count: SlotCount | None = None
        self._announced: StopLevel | None = None
        self._events: queue.SimpleQueue[tuple[Any, Any] | None] = queue.SimpleQueue()

    def run(self) -> None:
        """Return when all items are settled, or when the run stops and nothing runs any more."""
        self.scheduler.on_ready = lambda: self._events.put(None)
        while not (self.scheduler.is_finished and not self.in_flight) and not self.is_lost():
            self._pass_on_stop()
            if obstacle := self.scheduler.obstacle:
                self.control.fail(obstacle)
            self._update_slots()
            self.submit_leases()
            self.display.tick()
            self._take_events()
            self.scheduler.clean_up()
        self.scheduler.stop()

    @property
    @abstractmethod
    def in_flight(self) -> int:
        """The number of leases that have not ended."""

    @abstractmethod
    def submit_leases(self) -> None:
        """Submit as many leases as have something to do."""

    @abstractmethod
    def take_result(self, lease: Any, future: Any) -> None:
        """Take the result of a lease."""

    def take_event(self, subject: Any, future: Any) -> None:
        """Take an event: by default, the result of a lease."""
        self.take_result(subject, future)

    def is_lost(self) -> bool:
        """Return True if the run cannot continue, because what runs the leases is gone."""
        return False

    def tell_workers(self, level: StopLevel) -> None:
        """Tell processes elsewhere that the run stops."""

    def submit(self, lease: Any, task: Any, parameters: dict[str, Any]) -> None:
        """Submit a task run; its future arrives in :meth:`take_result`."""
        self.submitted += 1
        future = self.runner.submit(task, parameters)
        future.add_done_callback(lambda done: self._events.put((lease, done)))

    def _update_slots(self) -> None:
        """Follow requests for more or fewer slots, and changes of the host."""
        if self.slot_count and (size := self.slot_count.update(time.monotonic())):
            self.scheduler.memory_bytes = size.usable_bytes

    def _take_events(self) -> None:
        """Wait for an event, and take all that have arrived."""
        due = self.scheduler.wait_seconds()
        seconds = _MAX_WAIT_SECONDS if due is None else min(_MAX_WAIT_SECONDS, due)
        with suppress(queue.Empty):
            event = self._events.get(timeout=max(seconds, 0.001))
            while True:
                if event is not None:
                    self.take_event(*event)
                event = self._events.get_nowait()

    def _pass_on_stop(self) -> None:
        """Hand out nothing more once the run stops, and tell workers in other processes."""
        level = self.control.level
        if level is None or level == self._announced:
            return
        self._announced = level
        self.display.say(_STOP_MESSAGES[level])
        self.scheduler.stop()
        self.tell_workers(level)


class LocalLoop(LeaseLoop):
    """Runs leases in this process: each takes its items from the scheduler itself."""

    def __init__(self, local_run: LocalRun, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._local_run = local_run
        self._open: dict[Lane, int] = dict.fromkeys(LANES, 0)

    @property
    def in_flight(self) -> int:
        """The number of leases that have not ended."""
        return sum(self._open.values())

    def submit_leases(self) -> None:
        """Submit leases for all useful slots, and a few more that can take over from those that end."""
        for lane in LANES:
            width = self._local_run.widths[lane]
            wanted = min(width + min(width, _MAX_AHEAD), self.scheduler.count_useful_slots(lane))
            while self._open[lane] < wanted:
                self._open[lane] += 1
                name = f"{self.flow} lease {self.submitted + 1:04d}"
                self.submit(lane, run_local_lease, {"name": name, "run_id": self._local_run.run_id, "lane": lane})
        self._local_run.warm_coming_stages()

    def take_result(self, lease: Any, future: Any) -> None:
        """Note that a lease has ended; the run fails if it could not continue."""
        self._open[lease] -= 1
        result = future.result(raise_on_failure=False)
        if isinstance(result, RunError):
            self.control.fail(result)
        elif isinstance(result, BaseException):
            self.control.stop()
            raise result


def call_on_workers(
    client: Client, function: Callable[..., Any], *arguments: object, workers: list[str] | None = None
) -> dict[str, Any]:
    """Call ``function`` on every worker; return the results. Lost workers, or a lost scheduler, are ignored."""
    if client.status == "running":
        with suppress(OSError, CancelledError):
            return dict(client.run(function, *arguments, workers=workers, on_error="ignore"))
    return {}
