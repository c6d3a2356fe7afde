"""One run of a flow: its stages one after another, then its summary."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from distributed import Client
from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import MissingContextError
from prefect.states import Cancelled, Completed, Failed
from prefect_dask.task_runners import DaskTaskRunner
from pydantic import BaseModel
from rich.console import Console

from tasks.batch.control import RunControl
from tasks.batch.loop import Patience, StageLoop, StageShards, call_on_workers
from tasks.batch.prefect_tasks import PlanOrder, Sealed, SummaryOrder, artifact_key, plan, summarize_run
from tasks.batch.worker import progress_topic
from tasks.engine.contract.errors import InvalidInput, RunError, RunUnfinished
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item, find_input_root
from tasks.engine.contract.paths import find_path_problems
from tasks.engine.contract.stage import Stage
from tasks.engine.contract.text import count_noun, showable
from tasks.engine.planning.plan import Plan, plan_stage
from tasks.engine.planning.sizing import Size, read_host, size_stage
from tasks.engine.reporting.progress import ProgressDisplay, StageProgress
from tasks.engine.reporting.report import Picture
from tasks.engine.reporting.summary import RunFigures, Summary, format_closing_lines
from tasks.engine.run import open_output_dir
from tasks.engine.running.context import RunContext
from tasks.engine.running.control import StopLevel, forget_signal, handle_signals
from tasks.engine.running.dispatch import Dispatcher
from tasks.engine.running.dry_run import predict_stage
from tasks.engine.running.scratch import check_local_scratch
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.store.layout import Layout
from tasks.engine.store.lock import Lock
from tasks.engine.store.outcomes import Outcome, Outcomes, Record
from tasks.engine.store.records import RecordStore
from tasks.engine.store.write_errors import explain_write_errors
from tasks.launcher.cluster import configure_remote_client, count_remote_slots, local_cluster
from tasks.launcher.watch import Watch

_PATIENCE = Patience()


@dataclass(frozen=True)
class StageRun:
    """The outcomes of one stage. ``complete`` is True if every item was attempted or cached."""

    outcomes: Outcomes
    complete: bool
    store: RecordStore

    def records(self) -> Iterator[Record]:
        """Yield the records of all items that are done, in the order of the manifest.

        Raises RunError if a record vanished during the run.
        """
        for outcome in self.outcomes:
            if outcome.outcome in ("done", "cached"):
                record = self.store.get(outcome.id)
                if record is None:
                    raise RunError(f"the record of {outcome.id} has vanished from {self.store.folder} during the run")
                yield record


@dataclass
class BatchRun:
    """One run of one flow. Create it with :func:`batch_run`."""

    flow: str
    output_dir: Path
    execution: Execution
    parameters: Mapping[str, Any]
    run_id: str
    display: ProgressDisplay
    patience: Patience = _PATIENCE
    lock: Lock | None = None  # of the output folder; a dry run has none
    pictures: list[Picture] = field(default_factory=list)
    outcomes: Outcomes = field(default_factory=Outcomes)
    notes: list[str] = field(default_factory=list)
    summary: Summary | None = None

    def __post_init__(self) -> None:
        self.layout = Layout(self.output_dir)
        self.control = RunControl(self.run_id)
        self._started_at = time.time()
        self._slots = 0
        self._shards = 0
        self._first_stage = ""
        self._packages: tuple[str, ...] = ()
        self._input_root: Path | None = None

    @property
    def stop_level(self) -> StopLevel | None:
        """How the run was told to stop; None while it continues."""
        return self.control.level

    def fail(self, error: RunError) -> None:
        """Stop now because the run cannot continue; the summary gives the first error."""
        self.control.fail(error)

    def note(self, lines: Iterable[str]) -> None:
        """Tell the user about the inputs, for example files that are not read; the summary repeats it."""
        for line in lines:
            _log(line, self.display)
            self.notes.append(line)

    def stage(self, stage: Stage, items: Sequence[Item], prune: bool = False, limited: bool = True) -> StageRun:
        """Run every item of ``stage`` that no earlier run has done; return when all are settled or the run stops.

        prune    remove the results of items that are no longer among ``items``
        limited  apply ``--max-items``; False for parts of items to which it was applied before
        """
        store = RecordStore(self.layout, stage.name)
        self._packages += stage.packages
        self._first_stage = self._first_stage or stage.name
        self._input_root = find_input_root(items)
        if self.execution.dry_run:
            return self._predict(stage, items, store)
        execution = self.execution if limited else self.execution.model_copy(update={"max_items": None})
        order = PlanOrder(stage, items, store, execution)
        planned: Plan = plan(stage.name, Sealed(order), return_state=True).result()
        outcomes, unsettled = planned.outcomes(stage.name), len(planned.todo) + len(planned.left)
        if planned.todo:
            size = self._size(stage, len(planned.todo))
            if self.execution.stage_inputs:
                check_local_scratch([todo.item for todo in planned.todo], size.slots)
            positions = {todo.item.id: todo.position for todo in planned.todo}
            for outcome in self._run(stage, planned, size):
                position = positions[outcome.id]
                outcomes[position] = outcome.named(items[position])
                unsettled -= 1
        self._check_lock()
        self.outcomes.extend(outcomes)
        store.tidy({item.id for item in items} if prune and not self.stop_level else None)
        return StageRun(outcomes, not self.stop_level and not unsettled, store)

    def outlook(self, stage: Stage, items: Sequence[Item]) -> Plan:
        """Return the plan of :meth:`stage` for ``items`` without running it, for stages that depend on it."""
        return plan_stage(stage, items, RecordStore(self.layout, stage.name), self.execution)

    def leave(self, stage: Stage, items: Iterable[Item]) -> None:
        """Account for items that this run does not attempt."""
        self.outcomes.extend(Outcomes(Outcome(item.id, stage.name, "remaining").named(item) for item in items))

    def keep_only(self, stage: Stage, items: Iterable[Item]) -> None:
        """Remove the results of ``stage`` for all other items. Does nothing once the run stops, or in a dry run."""
        if not self.stop_level and not self.execution.dry_run:
            self._check_lock()
            RecordStore(self.layout, stage.name).tidy({item.id for item in items})

    def finish(self) -> State[Any]:
        """Write the summary and the report, and return the flow's final state."""
        if self.execution.dry_run:
            return Completed(message="dry run: nothing was run")
        self._check_lock()
        figures = RunFigures(
            flow=self.flow,
            run_id=self.run_id,
            started_at=self._started_at,
            finished_at=time.time(),
            slots=self._slots,
            shards=self._shards,
            parameters={name: _convert_to_json(value) for name, value in self.parameters.items()},
            packages=self._packages,
            interrupted=self.stop_level is not None,
            error=self.control.error,
            notes=tuple(self.notes),
        )
        order = SummaryOrder(figures, self.outcomes, self.layout, self.execution.max_failed, self.pictures)
        self.summary = summarize_run(self.flow, Sealed(order))
        for line in format_closing_lines(self.summary, self.outcomes, self.layout):
            self.display.say(line)
        return _final_state(self.summary)

    def _check_lock(self) -> None:
        """Raise LockLost if another run may be at work in the output folder."""
        if self.lock:
            self.lock.check()

    def _predict(self, stage: Stage, items: Sequence[Item], store: RecordStore) -> StageRun:
        planned = plan_stage(stage, items, store, self.execution)
        size = size_stage(stage, len(planned.todo), self.execution, read_host())
        for line in predict_stage(stage, planned, size, self.execution, self.output_dir):
            self.display.say(line)
        return StageRun(planned.settled, False, store)

    def _size(self, stage: Stage, items: int) -> Size:
        size = size_stage(stage, items, self.execution, read_host())
        if self.execution.scheduler:
            threads = count_remote_slots(self.execution.scheduler)
            slots = min(threads, self.execution.workers or threads)
            reason = f"{count_noun(slots, 'slot')} ({count_noun(threads, 'thread')} on {self.execution.scheduler})"
            size = replace(size, slots=slots, reason=reason)
        _log(f"{stage.name}: {size.reason}", self.display)
        self._slots = max(self._slots, size.slots)
        return size

    def _make_context(self, stage: Stage, size: Size, alone: bool) -> RunContext:
        """Return the context of a shard of ``stage``; ``alone``: nothing else runs at the same time."""
        seconds = self.execution.timeout or stage.timeout_seconds
        limits = Limits(seconds, size.memory_alone_bytes if alone else size.memory_per_slot_bytes)
        slots = None if self.execution.scheduler else size.slots
        root, token = self._input_root, self.lock.owner.token if self.lock else ""
        staged, identity = self.execution.stage_inputs, self.execution.identity
        return RunContext(self.run_id, self.output_dir, limits, slots, root, staged, token, identity)

    def _run(self, stage: Stage, planned: Plan, size: Size) -> Iterator[Outcome]:
        progress = StageProgress(stage.name, planned)
        self.display.start(progress)
        with ExitStack() as stack:
            stack.callback(self.display.end)
            runner = stack.enter_context(_task_runner(self.execution.scheduler, size.slots, self._private))
            stack.callback(self._close_slots, runner.client)
            runner.client.subscribe_topic(progress_topic(self.run_id), lambda event: _count_done(progress, event))
            stack.enter_context(Watch(progress, artifact_key(self.flow, "progress"), self.control.stop))
            stack.push(self._stop_on_error)
            dispatcher = Dispatcher(planned.todo, size.slots, self.execution)
            loop = StageLoop(self._stage_shards(stage, size), dispatcher, runner, self.control, self.display)
            for outcome in loop.run():
                progress.settle(outcome.id, outcome.outcome)
                yield outcome
            self._shards += loop.submitted

    def _stage_shards(self, stage: Stage, size: Size) -> StageShards:
        """Return what the loop must know of the stage. Shards of later stages carry the stage's name in the UI."""
        return StageShards(
            run_id=self.run_id,
            stage=stage,
            store=RecordStore(self.layout, stage.name),
            task_name=self.flow if stage.name == self._first_stage else f"{self.flow} {stage.name}",
            make_context=lambda alone: self._make_context(stage, size, alone),
            scheduler=self.execution.scheduler,
            patience=self.patience,
        )

    @property
    def _private(self) -> Path:
        """The private folder of this run; it is removed when the run ends."""
        return self.layout.private / self.run_id

    def _stop_on_error(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the running items if the loop itself failed."""
        if kind is not None:
            self.control.stop()

    def _close_slots(self, client: Client) -> None:
        """End all child processes of the run."""
        call_on_workers(client, close_slots, self.run_id)


@contextmanager
def batch_run(
    flow: str,
    output_dir: Path,
    execution: Execution,
    parameters: Mapping[str, Any],
    patience: Patience = _PATIENCE,
) -> Iterator[BatchRun]:
    """Start a run of ``flow`` into ``output_dir``; handle interruptions and clean up after dead runs."""
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    if problems := find_path_problems({**parameters, "output_dir": output_dir}):
        raise InvalidInput(problems)
    output_dir = output_dir.absolute()
    display = ProgressDisplay(Console(stderr=True))
    with ExitStack() as stack:
        lock = None
        if not execution.dry_run:
            lock = stack.enter_context(open_output_dir(Layout(output_dir), run_id, display.say))
        run = BatchRun(flow, output_dir, execution, parameters, run_id, display, patience, lock)
        if lock:
            lock.on_loss = run.fail
        stack.callback(forget_signal, run_id)
        handlers = (_give_up, _give_up) if execution.dry_run else (run.control.interrupt, run.control.stop)
        stack.enter_context(handle_signals(*handlers))
        stack.enter_context(explain_write_errors(output_dir))
        yield run


def _give_up() -> None:
    """End a dry run, which has nothing to finish."""
    raise KeyboardInterrupt


@contextmanager
def _task_runner(scheduler: str | None, slots: int, folder: Path) -> Iterator[DaskTaskRunner]:
    with ExitStack() as stack:
        if scheduler:
            stack.enter_context(configure_remote_client())
            runner = DaskTaskRunner(address=scheduler)
        else:
            runner = DaskTaskRunner(cluster=stack.enter_context(local_cluster(slots, folder)))
        yield stack.enter_context(runner)


def _count_done(progress: StageProgress, event: tuple[float, Any]) -> None:
    for item_id in event[1]:
        progress.settle(item_id, "done")


def _final_state(summary: Summary) -> State[Any]:
    """Return the flow's final state. For a failed run, Prefect accepts only an exception as its data."""
    unfinished = RunUnfinished(summary.message, summary.exit_code)
    if summary.state == "failed":
        return Failed(message=summary.message, data=unfinished)
    if summary.state == "interrupted":
        return Cancelled(name="Interrupted", message=summary.message, data=unfinished)
    name = "Completed" if summary.state == "completed" else "Completed with failures"
    return Completed(name=name, message=summary.message, data=summary)


def _log(line: str, display: ProgressDisplay) -> None:
    """Write one line to the terminal and to the run's log in Prefect."""
    display.say(line)
    try:
        get_run_logger().info("%s", showable(line))
    except MissingContextError:
        return


def _convert_to_json(value: Any) -> Any:
    """Return a parameter as JSON holds it."""
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
