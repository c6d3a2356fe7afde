"""What every flow composes: a batch run, its stages, and the Prefect tasks that plan, run and summarise them.

No logic lives here: the engine decides, this module hands its shards to Dask and its figures to Prefect.
"""

from __future__ import annotations

import queue
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from distributed import CancelledError, Client, KilledWorker, Worker, get_worker
from distributed.client import ClosedClientError
from distributed.core import Status
from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import MissingContextError
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelled, Completed, Failed
from prefect_dask.task_runners import DaskTaskRunner
from pydantic import BaseModel
from rich.console import Console

from tasks.engine import shard as engine_shard
from tasks.engine.control import StopLevel, caught_signals, forget_signal, stop_signal, tell_to_stop
from tasks.engine.dispatch import Dispatcher, Shard
from tasks.engine.errors import InvalidInput, RunError, RunUnfinished
from tasks.engine.execution import Execution
from tasks.engine.items import Item, input_root
from tasks.engine.layout import Layout
from tasks.engine.lock import Lock
from tasks.engine.outcomes import Outcome, Outcomes, Record
from tasks.engine.paths import path_problems
from tasks.engine.plan import Plan, plan_stage
from tasks.engine.predict import predict_stage
from tasks.engine.progress import ProgressDisplay, StageProgress
from tasks.engine.records import RecordStore
from tasks.engine.report import Picture
from tasks.engine.run import open_output_dir, write_results
from tasks.engine.scratch import check_local_scratch
from tasks.engine.shard import RunContext, ShardOrder
from tasks.engine.sizing import Size, read_host, size_stage
from tasks.engine.slot import Limits
from tasks.engine.stage import Stage
from tasks.engine.summary import RunFigures, Summary, closing_lines, failure_rows, summarise
from tasks.engine.text import markdown, one_line, show_values, showable
from tasks.engine.write_errors import explained
from tasks.launcher.cluster import client_of_another, local_cluster, remote_slots
from tasks.launcher.watch import API_ERRORS, Watch

T = TypeVar("T")
_REPORT_SECONDS = 0.5  # between a worker's words on what it has settled
_TETHER_SECONDS = 0.5  # between a worker's looks whether anybody waits for its shard
_MOST_FAILURES_SHOWN = 500
_STOPPING: dict[StopLevel, str] = {
    "drain": "finishing the running items; Ctrl+C once more to stop now",
    "stop": "stopping now; what is not finished is left for the next run",
}
_UNREACHABLE = "Failed to reach API"  # how Prefect's words begin where a worker cannot
_LOOK_SECONDS = 5.0  # between looks whether a cluster has any worker, while nothing comes back


@dataclass(frozen=True)
class Patience:
    """How long a run puts up with a cluster elsewhere until the cluster is to blame.

    losses           shards lost in a row with their workers
    deserted_seconds without any worker
    """

    losses: int = 20
    deserted_seconds: float = 300.0


_PATIENCE = Patience()


class Sealed(Generic[T]):
    """A task's parameter as it is: Prefect and Dask would look for futures in every item of it."""

    def __init__(self, content: T) -> None:
        self.content = content


@dataclass(frozen=True)
class PlanOrder:
    """What the plan of a stage is made from."""

    stage: Stage
    items: Sequence[Item]
    store: RecordStore
    execution: Execution


@task(name="plan", task_run_name="plan {name}", cache_policy=NO_CACHE, persist_result=False)
def plan(name: str, sealed: Sealed[PlanOrder]) -> Any:
    """Plan one stage; its state is Cached when an earlier run has done every item."""
    order = sealed.content
    planned = plan_stage(order.stage, order.items, order.store, order.execution)
    message = f"{len(planned.settled)} of {planned.total} {name} items are settled, {len(planned.todo)} to do"
    if planned.total and not planned.todo and not planned.left:
        return Completed(name="Cached", message=message, data=planned)
    return Completed(message=message, data=planned)


@task(name="run shard", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False, retries=0)
def run_shard(name: str, sealed: Sealed[ShardOrder]) -> Outcomes:
    """Run one shard in a slot of this worker."""
    order = sealed.content
    reporter = _Reporter(order.context.run_id)
    with _tethered(order.context):
        outcomes = engine_shard.run_shard(order, reporter.settle)
    reporter.flush()
    return outcomes


@contextmanager
def _tethered(context: RunContext) -> Iterator[None]:
    """In a cluster elsewhere, end this worker's part of the run when nobody waits for the shard any more."""
    if not context.elsewhere:
        yield
        return
    worker, over = get_worker(), threading.Event()
    arguments = (worker, worker.get_current_task(), context.run_id, over)
    threading.Thread(target=_hold_tether, args=arguments, name="headrace-tether", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _hold_tether(worker: Worker, key: Any, run_id: str, over: threading.Event) -> None:
    """Dask cannot interrupt what runs: where flow or scheduler are gone, it says so in the worker's books alone."""
    while not over.wait(_TETHER_SECONDS):
        task_state = worker.state.tasks.get(key)
        released = task_state is None or task_state.state == "cancelled"
        if released or worker.status not in (Status.running, Status.paused):
            if not over.is_set():
                tell_to_stop(run_id, "stop")
                engine_shard.close_slots(run_id)
            return


@task(name="summarise", task_run_name="summarise {name}", cache_policy=NO_CACHE, persist_result=False)
def summarise_run(name: str, sealed: Sealed[tuple[BatchRun, RunFigures]]) -> Summary:
    """Write the run's files and its artifacts."""
    run, figures = sealed.content
    outcomes = run.outcomes
    summary = summarise(figures, outcomes, run.execution.max_failed)
    write_results(run.layout, summary, outcomes, run.pictures)
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 1}):  # by default it calls for a minute
            _create_artifacts(summary, failure_rows(outcomes), run)
    except API_ERRORS as error:  # the files are written
        get_run_logger().warning("no artifacts of this run: %s", one_line(str(error)))
    return summary


def _create_artifacts(summary: Summary, failures: list[dict[str, Any]], run: BatchRun) -> None:
    if failures:
        shown = failures[:_MOST_FAILURES_SHOWN]
        create_table_artifact(
            show_values(shown), key=run.artifact_key("failures"), description=f"{len(failures)} failed items"
        )
    text = _markdown(summary, run.layout)
    create_markdown_artifact(text, key=run.artifact_key("summary"), description=markdown(summary.message))


class _Reporter:
    """Tells the flow from a worker what has settled, a few times a second at most."""

    def __init__(self, run_id: str) -> None:
        self._topic = _topic(run_id)
        self._done: list[str] = []
        self._next = time.monotonic()

    def settle(self, outcome: Outcome) -> None:
        if outcome.outcome == "done":  # a failed item may get another try: the flow says when it has failed
            self._done.append(outcome.id)
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        self._next = time.monotonic() + _REPORT_SECONDS
        if self._done:
            get_worker().log_event(self._topic, self._done)
            self._done = []


def _topic(run_id: str) -> str:
    return f"headrace-{run_id}"


@dataclass(frozen=True)
class StageRun:
    """What a stage came to. ``complete``: every item was attempted or cached."""

    outcomes: Outcomes
    complete: bool
    store: RecordStore

    def records(self) -> Iterator[Record]:
        """Records of the items that are done, in the order of the manifest, read as they are asked for.

        Raises RunError where one is gone meanwhile.
        """
        for outcome in self.outcomes:
            if outcome.outcome in ("done", "cached"):
                record = self.store.get(outcome.id)
                if record is None:
                    raise RunError(f"the record of {outcome.id} has vanished from {self.store.folder} during the run")
                yield record


@dataclass
class BatchRun:
    """One run of one flow: its stages one after another, then its summary. Use it by :func:`batch_run`."""

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
        self._started_at = time.time()
        self._slots = 0
        self._shards = 0
        self._stop = stop_signal(self.run_id)
        self._error = ""
        self._first_stage = ""
        self._packages: tuple[str, ...] = ()
        self._input_root: Path | None = None

    @property
    def stop_level(self) -> StopLevel | None:
        """Whether the run was told to stop, and how."""
        if self._stop.stopping:
            return "stop"
        return "drain" if self._stop.draining else None

    def interrupt(self) -> None:
        """First call: running items finish, nothing new starts. Second call: stop now."""
        if self._stop.draining:
            self._stop.stop()
        else:
            self._stop.drain()

    def stop(self) -> None:
        """Stop now."""
        self._stop.stop()

    def fail(self, error: RunError) -> None:
        """Stop now, because the run cannot go on; the summary says why."""
        self._error = self._error or str(error)
        self._stop.stop()

    def note(self, lines: Iterable[str]) -> None:
        """Say what the user should know of the inputs, such as files that are not read; the summary repeats it."""
        for line in lines:
            _log(line, self.display)
            self.notes.append(line)

    def stage(self, stage: Stage, items: Sequence[Item], prune: bool = False, limited: bool = True) -> StageRun:
        """Run every item of ``stage`` that an earlier run has not done; returns when all are settled or the run stops.

        ``prune``: what an earlier run made of items that are no longer among ``items`` is removed.
        ``limited``: ``--max-items`` holds; not for parts of items that it has been applied to.
        """
        store = RecordStore(self.layout, stage.name)
        self._packages += stage.packages
        self._first_stage = self._first_stage or stage.name
        self._input_root = input_root(items)
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
            places = {todo.item.id: todo.position for todo in planned.todo}
            for outcome in self._run(stage, planned, size):
                place = places[outcome.id]
                outcomes[place] = outcome.named(items[place])
                unsettled -= 1
        self._check_lock()
        self.outcomes.extend(outcomes)
        store.tidy({item.id for item in items} if prune and not self.stop_level else None)
        return StageRun(outcomes, not self.stop_level and not unsettled, store)

    def outlook(self, stage: Stage, items: Sequence[Item]) -> Plan:
        """What :meth:`stage` would do with ``items``: for a flow whose other stages depend on it. Nothing runs."""
        return plan_stage(stage, items, RecordStore(self.layout, stage.name), self.execution)

    def leave(self, stage: Stage, items: Iterable[Item]) -> None:
        """Account for items that this run does not attempt."""
        self.outcomes.extend(Outcomes(Outcome(item.id, stage.name, "remaining").named(item) for item in items))

    def keep_only(self, stage: Stage, items: Iterable[Item]) -> None:
        """Remove what ``stage`` made of any other items. Nothing is removed once the run stops, or in a dry run."""
        if not self.stop_level and not self.execution.dry_run:
            self._check_lock()
            RecordStore(self.layout, stage.name).tidy({item.id for item in items})

    def _check_lock(self) -> None:
        """Raise LockLost if another run may be at work in the output folder."""
        if self.lock:
            self.lock.check()

    def shard_name(self, stage: Stage) -> str:
        """What its shards are called in the UI: after the flow, and in later stages after the stage too."""
        return self.flow if stage.name == self._first_stage else f"{self.flow} {stage.name}"

    def artifact_key(self, word: str) -> str:
        """Prefect's key for an artifact of this flow. It allows small letters, digits and ``-``."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.flow}-{word}".lower())

    def _predict(self, stage: Stage, items: Sequence[Item], store: RecordStore) -> StageRun:
        planned = plan_stage(stage, items, store, self.execution)
        size = size_stage(stage, len(planned.todo), self.execution, read_host())
        for line in predict_stage(stage, planned, size, self.execution, self.output_dir):
            self.display.say(line)
        return StageRun(planned.settled, False, store)

    def _size(self, stage: Stage, items: int) -> Size:
        size = size_stage(stage, items, self.execution, read_host())
        if self.execution.scheduler:
            threads = remote_slots(self.execution.scheduler)
            slots = min(threads, self.execution.workers or threads)
            reason = f"{slots} slots: {threads} threads on {self.execution.scheduler}"
            size = replace(size, slots=slots, reason=reason)
        _log(f"{stage.name}: {size.reason}", self.display)
        self._slots = max(self._slots, size.slots)
        return size

    def context(self, stage: Stage, size: Size, alone: bool) -> RunContext:
        """What a shard of ``stage`` has to know; ``alone``: nothing else runs beside it."""
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
            runner.client.subscribe_topic(_topic(self.run_id), lambda event: _count(progress, event))
            stack.enter_context(Watch(progress, self.artifact_key("progress"), self.stop))
            stack.push(self._stop_on_error)
            loop = _StageLoop(self, runner, stage, planned, size)
            for outcome in loop.run():
                progress.settle(outcome.id, outcome.outcome)
                yield outcome
            self._shards += loop.shards

    @property
    def _private(self) -> Path:
        """This run's private folder, which is gone when the run ends."""
        return self.layout.private / self.run_id

    def _stop_on_error(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the running items where the loop itself has failed."""
        if kind is not None:
            self._stop.stop()

    def _close_slots(self, client: Client) -> None:
        """No process of the run outlives it."""
        _tell_workers(client, engine_shard.close_slots, self.run_id)

    def finish(self) -> State[Any]:
        """Write what every run leaves and say how it went, as the flow's final state."""
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
            parameters={name: _plain(value) for name, value in self.parameters.items()},
            packages=self._packages,
            interrupted=self.stop_level is not None,
            error=self._error,
            notes=tuple(self.notes),
        )
        self.summary = summarise_run(self.flow, Sealed((self, figures)))
        for line in closing_lines(self.summary, self.outcomes, self.layout):
            self.display.say(line)
        return _final_state(self.summary)


def _final_state(summary: Summary) -> State[Any]:
    """The state that says how the run went. Prefect takes nothing but an exception for what a failed run gives."""
    unfinished = RunUnfinished(summary.message, summary.exit_code)
    if summary.state == "failed":
        return Failed(message=summary.message, data=unfinished)
    if summary.state == "interrupted":
        return Cancelled(name="Interrupted", message=summary.message, data=unfinished)
    name = "Completed" if summary.state == "completed" else "Completed with failures"
    return Completed(name=name, message=summary.message, data=summary)


class _StageLoop:
    """Keeps a bounded window of shards in flight and takes their outcomes as they come."""

    def __init__(
        self,
        run: BatchRun,
        runner: DaskTaskRunner,
        stage: Stage,
        planned: Plan,
        size: Size,
    ) -> None:
        self.batch = run
        self.store = RecordStore(run.layout, stage.name)
        self.runner = runner
        self.stage = stage
        self.size = size
        self.dispatcher = Dispatcher(planned.todo, size.slots, run.execution)
        self.shards = 0
        self._told: StopLevel | None = None
        self._losses = 0
        self._cut_off = False
        self._deserted_at: float | None = None
        self._next_look = time.monotonic() + _LOOK_SECONDS
        self._in_flight: dict[int, Shard] = {}
        self._finished: queue.SimpleQueue[tuple[Shard, Any]] = queue.SimpleQueue()

    def run(self) -> Iterator[Outcome]:
        """Yield outcomes as they settle their items, until nothing is left or the run stops."""
        while not self.dispatcher.finished and not self._scheduler_lost() and not self._deserted():
            self._pass_on_stop()
            while shard := self.dispatcher.next_shard():
                self._submit(shard)
            self.batch.display.tick()
            try:
                shard, future = self._finished.get(timeout=self._patience())
            except queue.Empty:
                continue
            del self._in_flight[id(shard)]
            self._next_look = time.monotonic() + _LOOK_SECONDS
            yield from self.dispatcher.take(shard, self._outcomes(shard, future))
        self.dispatcher.stop()
        for shard in self._in_flight.values():  # there are none, unless the cluster was lost
            yield from self.dispatcher.take(shard, self._recorded(shard))

    def _scheduler_lost(self) -> bool:
        """Whether the cluster's scheduler is gone, and the workers' shards with it. The run cannot go on then.

        Where the client finds its way back, the scheduler has forgotten the shards, and the workers have dropped them.
        """
        if self._cut_off or self.runner.client.status != "running":
            address = self.batch.execution.scheduler
            advice = "start one and give the same command again, or leave --scheduler out: what is done stays done"
            self.batch.fail(RunError(f"the Dask scheduler at {address} is gone; {advice}"))
            return True
        return False

    def _deserted(self) -> bool:
        """Whether the cluster has been without a worker for too long, or has none while the run stops."""
        if not self.batch.execution.scheduler or time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + _LOOK_SECONDS
        if self._has_workers():
            self._deserted_at = None
            return False
        address, patience = self.batch.execution.scheduler, self.batch.patience.deserted_seconds
        advice = f"start some: dask worker {address}"
        if self._deserted_at is None:
            self._deserted_at = time.monotonic()
            self.batch.display.say(f"{address} has no workers any more: waiting {patience:g} s for one; {advice}")
        if time.monotonic() - self._deserted_at < patience:
            return self.batch.stop_level is not None
        again = "then give the same command again: what is done stays done"
        self.batch.fail(RunError(f"{address} has had no workers for {patience:g} s; {advice}, {again}"))
        return True

    def _has_workers(self) -> bool:
        try:
            return bool(self.runner.client.nthreads())
        except (OSError, CancelledError, ClosedClientError):  # the scheduler does not answer: that is another matter
            return True

    def _patience(self) -> float:
        due = self.dispatcher.seconds_to_wait()
        return 0.25 if due is None else min(0.25, due)

    def _submit(self, shard: Shard) -> None:
        self.shards += 1
        order = ShardOrder(self.batch.context(self.stage, self.size, shard.alone), self.stage, shard.items)
        name = f"{self.batch.shard_name(self.stage)} {shard.span}"
        self._in_flight[id(shard)] = shard
        try:
            future = self.runner.submit(run_shard, {"name": name, "sealed": Sealed(order)})
        except ClosedClientError:
            self._cut_off = True
            return
        future.add_done_callback(lambda done: self._finished.put((shard, done)))

    def _pass_on_stop(self) -> None:
        """Hand out nothing more once the run stops, and tell workers in other processes."""
        level = self.batch.stop_level
        if level is None or level == self._told:
            return
        self._told = level
        self.batch.display.say(_STOPPING[level])
        self.dispatcher.stop()
        if self.batch.execution.scheduler:
            _tell_workers(self.runner.client, tell_to_stop, self.batch.run_id, level)

    def _outcomes(self, shard: Shard, future: Any) -> Iterable[Outcome]:
        """A shard's outcomes; where its worker was lost, what the records say of them."""
        try:
            outcomes: Outcomes = future.result()
        except RunError as error:
            self.batch.fail(error)
            return self._recorded(shard)
        except RuntimeError as error:
            if not (self.batch.execution.scheduler and str(error).startswith(_UNREACHABLE)):
                raise
            advice = "name a server that all workers reach, by PREFECT_API_URL"
            self.batch.fail(RunError(f"a worker of {self.batch.execution.scheduler}: {error}; {advice}"))
            return self._recorded(shard)
        except (KilledWorker, CancelledError, OSError) as error:
            self._cut_off = getattr(error, "reason", "") == "scheduler-connection-lost"
            self._losses += 1
            if self._losses > self.batch.patience.losses:
                self.batch.fail(RunError(f"{self._losses} workers in a row were lost; the last: {error}"))
            return self._recorded(shard)
        self._losses = 0
        return outcomes

    def _recorded(self, shard: Shard) -> list[Outcome]:
        """Items of a lost shard that were done before it was lost; the others go to another worker without blame."""
        records = [(planned, self.store.get(planned.item.id)) for planned in shard.items]
        return [
            Outcome.of_record(record)
            for planned, record in records
            if record and record.key == planned.key and record.run_id == self.batch.run_id
        ]


def _tell_workers(client: Client, function: Callable[..., None], *arguments: object) -> None:
    """Have every worker call ``function``. One that is lost meanwhile, or all with their scheduler, need no telling."""
    if client.status == "running":
        with suppress(OSError, CancelledError):
            client.run(function, *arguments, on_error="ignore")


def _count(progress: StageProgress, event: tuple[float, Any]) -> None:
    for item_id in event[1]:
        progress.settle(item_id, "done")


@contextmanager
def _task_runner(scheduler: str | None, slots: int, folder: Path) -> Iterator[DaskTaskRunner]:
    with ExitStack() as stack:
        if scheduler:
            stack.enter_context(client_of_another())
            runner = DaskTaskRunner(address=scheduler)
        else:
            runner = DaskTaskRunner(cluster=stack.enter_context(local_cluster(slots, folder)))
        yield stack.enter_context(runner)


@contextmanager
def batch_run(
    flow: str,
    output_dir: Path,
    execution: Execution,
    parameters: Mapping[str, Any],
    patience: Patience = _PATIENCE,
) -> Iterator[BatchRun]:
    """A run of ``flow`` into ``output_dir``; catches interruptions while it lasts, sweeps what dead runs left."""
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    if problems := path_problems({**parameters, "output_dir": output_dir}):
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
        handlers = (_give_up, _give_up) if execution.dry_run else (run.interrupt, run.stop)
        stack.enter_context(caught_signals(*handlers))
        stack.enter_context(explained(output_dir))
        yield run


def _give_up() -> None:
    """A dry run has nothing to finish."""
    raise KeyboardInterrupt


def _log(line: str, display: ProgressDisplay) -> None:
    """One line for the terminal and for the run's log in Prefect."""
    display.say(line)
    try:
        get_run_logger().info("%s", showable(line))
    except MissingContextError:
        return


def _plain(value: Any) -> Any:
    """A parameter as JSON has it."""
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _markdown(summary: Summary, layout: Layout) -> str:
    counts = "\n".join(f"| {name} | {number} |" for name, number in summary.items.items())
    return (
        f"**{markdown(summary.message)}**\n\n| items | |\n| --- | --- |\n{counts}\n\n"
        f"{summary.wall_seconds:.1f} s on {summary.slots} slots, {summary.items_per_second:g} items/s, "
        f"{summary.speedup:g} times as fast as one after another.\n\nOutput: {markdown(str(layout.output_dir))}\n"
    )
