"""The context of a shard: all that a process must know to run it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from tasks.engine.contract.execution import Identity
from tasks.engine.contract.stage import Stage
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.running.devices import Device
from tasks.engine.running.scratch import get_work_folder
from tasks.engine.running.slot import Limits
from tasks.engine.store.layout import Layout
from tasks.engine.store.lease import check_lease
from tasks.engine.store.lock import check_lock, find_held


@dataclass(frozen=True)
class RunContext:
    """The settings of a run that its shards need."""

    run_id: str
    output_dir: Path
    limits: Limits
    slots: int | None = None  # of the process that runs the items; None means one per thread
    input_root: Path | None = None  # the common parent folder of all inputs; if it vanishes, no item can run
    stage_inputs: bool = False
    lock_token: str = ""  # of the run's lock; empty if the caller holds none
    identity: Identity = "stat"  # how changed inputs are detected
    memory_alone_bytes: int = 0  # limit of an item that runs alone on the host
    store: str = ""  # URL of the output folder if it is in a store
    keeps_copies: bool = True  # of outputs in a store, because later stages read them
    devices: tuple[Device, ...] = ()  # of this process, for a stage that needs them; on a cluster, that of the order

    def check_lock(self) -> None:
        """Raise LockLost unless the run still holds the lock of its output folder."""
        if not self.lock_token:
            return
        if self.store and find_held(self.lock_token) is None:
            check_lease(self.layout.objects.store, self.lock_token)
        else:
            check_lock(self.layout.lock, self.lock_token)

    def here(self) -> RunContext:
        """Return the context for this process: with an output folder in a store, machines share no folder."""
        if not self.store or not self.elsewhere:
            return self
        return replace(self, output_dir=get_work_folder(self.store), input_root=None)

    @property
    def elsewhere(self) -> bool:
        """True if shards run in other processes than the flow."""
        return self.slots is None

    @cached_property
    def layout(self) -> Layout:
        """The layout of the output folder."""
        return Layout(self.output_dir, self.store)

    @property
    def private(self) -> Path:
        """The private folder of this run, on the filesystem of the output folder, so that a rename can publish."""
        return self.layout.private / self.run_id


@dataclass(frozen=True)
class Walltime:
    """The end of a worker's time by its own clock (seconds since 1970), and the predicted seconds of items per cost."""

    ends_at: float
    seconds_per_cost: float

    def allows(self, cost: float) -> bool:
        """Return True if an item that starts now ends in time."""
        return time.time() + cost * self.seconds_per_cost <= self.ends_at


@dataclass(frozen=True)
class ShardOrder:
    """Items of a stage with their context, as sent to the process that runs them.

    number    of the order in the run
    walltime  that of the worker; None if it has none, or if its time does not matter
    """

    context: RunContext
    stage: Stage
    items: tuple[PlannedItem, ...]
    number: int = 0
    walltime: Walltime | None = None
