"""The workers of a cluster during a run: what each can do, and which of them takes the next batch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tasks.engine.contract.stage import LANES, Lane
from tasks.engine.planning.sizing import MEMORY_SHARE, RunSize
from tasks.engine.running.batches import Allowance, Batch
from tasks.engine.running.devices import Device

_SILENT_SECONDS = 5.0  # after which a worker counts as stalled; workers report twice per second
_FRESH_SHARE = 0.25  # of its walltime, that a new worker has left; starting takes the rest
_WITHOUT_DEVICE: tuple[Lane, ...] = tuple(lane for lane in LANES if lane != "device")


@dataclass(frozen=True)
class Capacity:
    """What a worker says about itself.

    machine       name of its machine; workers of one machine share its memory
    free_bytes    memory that its machine or its control group has free
    limit_bytes   its own memory limit; 0 for none
    devices       its devices for each stage that needs one
    seconds_left  until its walltime; None if it has none
    lifetime      seconds of its whole walltime; None if unknown
    ends_at       the end of its walltime by its own clock, in seconds since 1970
    """

    machine: str = ""
    free_bytes: int = 1 << 40
    limit_bytes: int = 0
    devices: Mapping[str, tuple[Device, ...]] = field(default_factory=dict)
    seconds_left: float | None = None
    lifetime: float | None = None
    ends_at: float | None = None


@dataclass(eq=False)
class WorkerState:
    """A worker that takes batches.

    ends_at   the time of its walltime, on the clock of the run
    heard_at  when it reported last, or was given a batch while it had none
    batches   the batches that it has, by number; those without open items wait only for their end
    late_since  when it began to have no time for any item that is ready
    """

    address: str
    threads: int
    capacity: Capacity
    joined_at: float
    ends_at: float = math.inf
    heard_at: float = 0.0
    batches: dict[int, Batch] = field(default_factory=dict)
    is_leaving: bool = False
    has_worked: bool = False
    late_since: float | None = None

    @property
    def open_batches(self) -> list[Batch]:
        """The batches that have items to run."""
        return [batch for batch in self.batches.values() if batch.open_ids]

    def is_stalled(self, now: float) -> bool:
        """Return True if it has batches, and nothing was heard of it for a while."""
        return bool(self.batches) and now - self.heard_at > _SILENT_SECONDS

    def note_time(self, now: float, is_late: bool) -> None:
        """Note whether it has too little time for an item that is ready."""
        self.late_since = (self.late_since or now) if is_late else None

    def is_late_for(self, now: float, seconds: float) -> bool:
        """Return True if it has had no time for any item for ``seconds``."""
        return self.late_since is not None and not self.is_leaving and now - self.late_since > seconds

    def compute_seconds_left(self, now: float) -> float:
        """Return the seconds until its walltime, less the work that it has."""
        queued = sum(batch.predicted_seconds for batch in self.open_batches) / max(1, self.threads)
        return self.ends_at - now - queued

    @property
    def is_fresh(self) -> bool:
        """True if it has had no item yet: another worker would have no more time for a long one."""
        left, lifetime = self.capacity.seconds_left, self.capacity.lifetime
        return left is None or (not self.has_worked and left >= _FRESH_SHARE * (lifetime or 0.0))


class WorkerPool:
    """The workers that may take batches. One loop owns it."""

    def __init__(self) -> None:
        self._workers: dict[str, WorkerState] = {}
        self._threads_of: Counter[str] = Counter()  # by machine

    def __len__(self) -> int:
        return len(self._workers)

    def __iter__(self) -> Iterator[WorkerState]:
        return iter(self._workers.values())

    def get(self, address: str) -> WorkerState | None:
        """Return the worker at ``address``."""
        return self._workers.get(address)

    def join(self, address: str, threads: int, capacity: Capacity, now: float) -> WorkerState:
        """Add a worker."""
        worker = WorkerState(address, threads, capacity, now, heard_at=now)
        if capacity.seconds_left is not None:
            worker.ends_at = now + capacity.seconds_left
        self._workers[address] = worker
        self._threads_of[capacity.machine] += threads
        return worker

    def leave(self, address: str) -> WorkerState | None:
        """Remove a worker; return it with the batches that it had."""
        worker = self._workers.pop(address, None)
        if worker:
            self._threads_of[worker.capacity.machine] -= worker.threads
        return worker

    @property
    def threads(self) -> int:
        """The number of threads of all workers."""
        return sum(worker.threads for worker in self._workers.values())

    def count_devices(self, stage: str) -> int:
        """Return the number of different devices that all workers have for a stage."""
        return len({device.identity for worker in self for device in worker.capacity.devices.get(stage, ())})

    def size(self, worker: WorkerState) -> RunSize:
        """Return the slots and the memory of a worker. Workers of one machine share its free memory by threads."""
        capacity = worker.capacity
        sharing = max(self._threads_of[capacity.machine], worker.threads)
        usable = int(capacity.free_bytes * MEMORY_SHARE * worker.threads / sharing)
        if capacity.limit_bytes:
            usable = min(usable, capacity.limit_bytes)
        return RunSize({"cpu": worker.threads, "io": worker.threads, "device": worker.threads}, usable, "")

    def list_free(self, now: float, slots: int, max_per_thread: int) -> list[WorkerState]:
        """Return the workers that may take another batch, those with the smallest load first.

        slots           maximum number of batches of all workers that run at the same time
        max_per_thread  1, or 2 if a batch may wait behind each running one
        """
        loads = {worker: len(worker.open_batches) for worker in self._workers.values()}
        room = slots * max_per_thread - sum(loads.values())
        free = [
            worker
            for worker, load in loads.items()
            if load < worker.threads * max_per_thread and not worker.is_leaving and not worker.is_stalled(now)
        ]
        return sorted(free, key=lambda worker: loads[worker] / worker.threads)[: max(0, room)]

    def has_free_thread(self, now: float) -> bool:
        """Return True if a worker that answers has a thread without a batch."""
        return any(
            len(worker.open_batches) < worker.threads and not worker.is_leaving and not worker.is_stalled(now)
            for worker in self
        )

    def make_allowance(self, worker: WorkerState, now: float) -> Allowance:
        """Return what a worker may take now."""
        usable = self.size(worker).usable_bytes
        used = sum(batch.memory_bytes for batch in worker.open_batches)
        has_device = any(self.find_device(worker, stage) for stage in worker.capacity.devices)
        return Allowance(
            lanes=LANES if has_device else _WITHOUT_DEVICE,
            seconds=worker.compute_seconds_left(now),
            is_fresh=worker.is_fresh,
            usable_bytes=usable,
            used_bytes=used,
            share_bytes=usable // max(1, worker.threads),
            accepts=lambda node: node.lane != "device" or self.find_device(worker, node.name) is not None,
        )

    def find_device(self, worker: WorkerState, stage: str) -> Device | None:
        """Return a device of ``worker`` for a stage that no batch of any worker uses; None if there is none."""
        used = self._list_used_devices()
        return next((device for device in worker.capacity.devices.get(stage, ()) if device.identity not in used), None)

    def _list_used_devices(self) -> set[str]:
        return {batch.device.identity for worker in self for batch in worker.batches.values() if batch.device}
