"""Settle an item that has run: publish its result, or record its failure."""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tasks.engine.contract.errors import LockLost, OutputBlocked, RunError
from tasks.engine.contract.text import short_line
from tasks.engine.planning.basis import BasisMaker
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.running.context import ShardOrder
from tasks.engine.running.fetching import FetchedInputs
from tasks.engine.running.input_changes import find_change_since_start
from tasks.engine.running.messages import Failed, Finished, Reply
from tasks.engine.running.scratch import get_local_scratch, remove_local_scratch
from tasks.engine.store.lease import CLAIMS_FOLDER, claim_lease
from tasks.engine.store.lock import HeldLock, Owner, claim_lock
from tasks.engine.store.outcomes import Failure, Outcome, Record
from tasks.engine.store.publish import publish
from tasks.engine.store.records import RecordStore
from tasks.engine.store.write_errors import explain_no_writes, explain_write_error, probe_write

_holders = threading.BoundedSemaphore(16)  # slots that keep folders open: a slow disk may have hundreds publish at once
_PRIVATE_FOLDER_PARTS = 4  # below the folder of the run: process, stage, slot, turn


@dataclass(frozen=True)
class StartedItem:
    """An item that runs in the folder ``private``.

    states   describes its inputs before it started
    fetched  local copies of its inputs in stores
    """

    planned: PlannedItem
    private: Path
    states: tuple[str, ...]
    fetched: FetchedInputs = field(default_factory=FetchedInputs)


class ItemSettler:
    """Settles items of one stage, in one thread."""

    def __init__(self, order: ShardOrder) -> None:
        self.order = order
        self.context = order.context
        self.store = RecordStore(order.context.layout, order.stage.name)
        self._bases = BasisMaker(order.stage, order.context.identity)

    def find_settled(self, planned: PlannedItem) -> Outcome | None:
        """Return the outcome if this run has done the item before: Dask resubmits a shard whose worker was lost.

        Without a cluster, no other process can have done it.
        """
        record = self.store.get(planned.item.id) if self.context.elsewhere else None
        if record is None or record.run_id != self.context.run_id or record.key != planned.key:
            return None
        return Outcome.of_record(record)

    def settle(self, item: StartedItem, reply: Reply, log: bytes) -> Outcome:
        """Publish the result of a finished item; record the failure of a failed one."""
        if self.context.elsewhere:  # a worker that counts as lost may work on the same item
            return self._settle(item, reply, log)
        with ExitStack() as stack:
            if _holders.acquire(blocking=False):
                stack.callback(_holders.release)
                stack.enter_context(self.store.holding())
            self.store.look(item.planned.item.id)
            return self._settle(item, reply, log)

    def _settle(self, item: StartedItem, reply: Reply, log: bytes) -> Outcome:
        planned = item.planned
        try:
            reply = self._judge_inputs(item, reply)
            if isinstance(reply, Finished):
                try:
                    return self._publish(planned, reply, item.private)
                except OutputBlocked as error:
                    reply = Failed("error", str(error), reply.usage)
            return self._fail(planned, reply, log)
        except OSError as error:
            raise explain_write_error(self.context.output_dir, error) from error
        finally:
            self.clear(item)

    def clear(self, item: StartedItem) -> None:
        """Empty the item's private folder, which a later item uses again, and release the copies of its inputs."""
        item.fetched.release()
        private = self.store.layout.relative(item.private)
        for name in ("outputs", "scratch"):
            self.store.tree.clear(f"{private}/{name}")
        if local := self.local_folder(item.planned):  # the child removes it, unless it was killed
            remove_local_scratch(local)

    def local_folder(self, planned: PlannedItem) -> Path | None:
        if not self.context.stage_inputs or planned.remote:
            return None
        scratch = get_local_scratch(self.context.output_dir, self.context.run_id)
        return scratch / self.order.stage.name / planned.item.id

    def _judge_inputs(self, item: StartedItem, reply: Reply) -> Reply:
        """Return ``reply``, or a failure if an input changed while the item could read it.

        The change may also cause errors that the stage found in the input, but not the loss of a child. Only the
        content shows on a retry that the input is the planned one again.
        """
        if isinstance(reply, Failed) and reply.kind not in ("bad_input", "error"):
            return reply
        change = find_change_since_start(item.planned, item.states)
        may_pass = self.context.identity == "content"
        return Failed("error", change, reply.usage, transient=may_pass) if change else reply

    def _publish(self, planned: PlannedItem, reply: Finished, private: Path) -> Outcome:
        record = Record(
            id=planned.item.id,
            stage=self.order.stage.name,
            version=self.order.stage.version,
            key=planned.key,
            outputs=reply.outputs,
            values=reply.result.values,
            detail=reply.result.detail,
            usage=reply.usage,
            attempts=planned.attempts + 1,
            run_id=self.context.run_id,
            basis=self._bases.describe(planned),
        )
        try:
            with self._claim(planned, private) as claim:
                if settled := self.find_settled(planned):
                    return settled
                self._publish_claimed(private, record, claim)
        except LockLost:
            self.context.check_lock()  # if the run has its lock, the claim was lost: another process does the item
            return self.find_settled(planned) or Outcome(planned.item.id, self.order.stage.name, "remaining")
        if not self.context.keeps_copies:
            self.store.tree.drop_copies([output.path for output in record.outputs])
        return Outcome.of_record(record)

    def _publish_claimed(self, private: Path, record: Record, claim: HeldLock | None) -> None:
        """Publish, unless the run's lock or the claim was lost."""
        self._check_locks(claim)
        try:
            publish(private / "outputs", record, self.store, lambda: self._check_locks(claim))
        except RunError:
            self._check_locks(claim)  # the loss of a lock is the better explanation
            raise

    def _check_locks(self, claim: HeldLock | None) -> None:
        self.context.check_lock()
        if claim:
            claim.check()

    @contextmanager
    def _claim(self, planned: PlannedItem, private: Path) -> Iterator[HeldLock | None]:
        """Claim the item, so that no other process publishes it at the same time.

        A worker that was cut off from its cluster continues until it notices. If it finishes the item at the same time
        as the worker that took over, the first one publishes it and the other finds the record.
        """
        if not self.context.elsewhere:
            yield None
            return
        if self.context.store:
            place = f"{CLAIMS_FOLDER}/{self.order.stage.name}/{planned.item.id}"
            with claim_lease(self.context.layout.objects.store, Owner.mine(self.context.run_id), place) as lease:
                yield lease
            return
        folder = self.context.private / "claims" / self.order.stage.name
        mine = private.relative_to(self.context.private).as_posix()
        with ExitStack() as stack:
            try:
                layout, path = self.context.layout, folder / planned.item.id
                stack.enter_context(layout.tree.opened(layout.relative(folder), make=True))
                claim = stack.enter_context(claim_lock(path, self.context.run_id, mine, self._fence))
            except OSError as error:
                raise explain_write_error(self.context.output_dir, error) from error
            yield claim

    def _fence(self, folder: str) -> None:
        """Remove the files that a silent process was about to publish from ``folder``, which its claim names."""
        parts = Path(folder).parts
        if len(parts) != _PRIVATE_FOLDER_PARTS or ".." in parts or os.path.isabs(folder):
            return
        aside = self.context.private / f"fenced-{uuid.uuid4().hex[:12]}"
        with suppress(FileNotFoundError):  # it has published them, or they were removed
            (self.context.private / folder).rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _fail(self, planned: PlannedItem, reply: Failed, log: bytes) -> Outcome:
        if settled := self.find_settled(planned):
            return settled
        self.context.check_lock()
        self._check_ground(reply)
        failure = Failure(
            id=planned.item.id,
            stage=self.order.stage.name,
            key=planned.key,
            kind=reply.kind,
            message=short_line(reply.message),
            attempts=planned.attempts + 1,
            usage=reply.usage,
            run_id=self.context.run_id,
            transient=reply.transient,
            log=self._keep_log(planned, log),
        )
        self.store.write_failure(failure)
        return Outcome.of_failure(failure)

    def _check_ground(self, reply: Failed) -> None:
        """Raise RunError if the item is not to blame: no files can be written, or the input folder has vanished."""
        root = self.context.input_root
        if root is not None and not root.exists():
            raise RunError(f"the input folder {root} has vanished; bring it back, then run the same command again")
        obstacle = probe_write(self.context.private)
        if reply.no_room or obstacle:
            raise explain_no_writes(self.context.output_dir, reply.message, reply.no_room, obstacle)

    def _keep_log(self, planned: PlannedItem, text: bytes) -> str:
        if not text:
            return ""
        layout = self.context.layout
        path = layout.log(self.order.stage.name, planned.item.id)
        with layout.tree.opened(layout.relative(path.parent), make=True):
            layout.tree.write(layout.relative(path), text, durable=False)
        return layout.relative(path)
