"""One run of a flow: its graph, then its summary."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import MissingContextError
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Completed, Failed
from prefect_dask.task_runners import DaskTaskRunner
from pydantic import BaseModel
from rich.console import Console

from tasks.batch.artifacts import artifact_key
from tasks.batch.control import RunControl
from tasks.batch.loop import LeaseLoop, LocalLoop, call_on_workers
from tasks.batch.membership import Membership
from tasks.batch.prefect_tasks import Sealed, SummaryOrder, explain_rerun, plan, summarize_run
from tasks.batch.probe import ProbeRequest, sample_inputs, write_token
from tasks.batch.remote_loop import Cluster, RemoteLoop
from tasks.batch.task_runner import InProcessTaskRunner, RemoteTaskRunner
from tasks.batch.waiting import Patience
from tasks.batch.worker import progress_topic
from tasks.engine.contract.errors import InvalidInput, RunError, RunUnfinished
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item, find_input_root
from tasks.engine.contract.paths import find_path_problems
from tasks.engine.contract.stage import Lane, Stage
from tasks.engine.contract.text import count_noun, showable
from tasks.engine.parts import choose_layout
from tasks.engine.planning.basis import write_params
from tasks.engine.planning.graph import Graph, Node
from tasks.engine.planning.plan import PlannedItem, add_remote_inputs
from tasks.engine.planning.sizing import Host, RunSize, read_host, size_run
from tasks.engine.reporting.progress import ProgressDisplay, RunProgress
from tasks.engine.reporting.report import Picture
from tasks.engine.reporting.summary import RunFigures, Summary, format_closing_lines
from tasks.engine.run import list_objects, open_layout, open_output_dir
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.control import StopLevel, forget_signal, handle_signals
from tasks.engine.running.devices import Device, list_devices, list_stage_devices
from tasks.engine.running.dry_run.explain import explain_item
from tasks.engine.running.dry_run.predict import predict_run, record_rates
from tasks.engine.running.local_run import LocalRun, serve_local_run
from tasks.engine.running.node_run import NodeRun
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.running.scratch import check_local_scratch
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_count import SlotCount
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.store.layout import Layout
from tasks.engine.store.lock import HeldLock
from tasks.engine.store.mirrors import show_locations
from tasks.engine.store.outcomes import Outcomes, Record
from tasks.engine.store.write_errors import explain_write_errors
from tasks.launcher.cluster import local_cluster
from tasks.launcher.clusters.leftovers import end_leftover_jobs
from tasks.launcher.clusters.opening import OpenCluster, open_cluster
from tasks.launcher.clusters.reading import read_cluster
from tasks.launcher.clusters.settings import AnySettings
from tasks.launcher.watch import Watch
from tasks.stores.location import is_location, parse_location

_PATIENCE = Patience()


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
    lock: HeldLock | None = None  # of the output folder; a dry run has none
    cluster: AnySettings | None = None  # None: this process runs the items
    pictures: list[Picture] = field(default_factory=list)
    outcomes: Outcomes = field(default_factory=Outcomes)
    notes: list[str] = field(default_factory=list)
    summary: Summary | None = None
    store: str = ""  # URL of the output folder if it is in a store; output_dir is the local work folder then

    def __post_init__(self) -> None:
        self.layout = Layout(self.output_dir, self.store)
        self.control = RunControl(self.run_id)
        self._started_at = time.time()
        self._slots = 0
        self._shards = 0
        self._scheduler: Scheduler | None = None
        self._stages: Sequence[Stage] = ()
        self._max_items: int | None = None
        self._packages: tuple[str, ...] = ()
        self._input_root: Path | None = None
        self._devices: dict[str, tuple[Device, ...]] = {}

    @property
    def stop_level(self) -> StopLevel | None:
        """How the run was told to stop; None while it continues."""
        return self.control.level

    def fail(self, error: RunError) -> None:
        """Stop now because the run cannot continue; the summary gives the first error."""
        self.control.fail(error)

    def note(self, lines: Iterable[str]) -> None:
        """Tell the user about the inputs, for example files that are not read; the summary repeats it."""
        for line in map(show_locations, lines):
            _log(line, self.display)
            self.notes.append(line)

    def execute(self, graph: Graph) -> None:
        """Run every item of ``graph`` that no earlier run has done; return when all are settled or the run stops.

        In a dry run, predict the run instead.
        """
        self._packages = tuple(package for node in graph.nodes for package in node.stage.packages)
        if self.execution.is_dry:
            self._predict(graph)
            return
        if part := self.execution.chosen_part:
            merge = f"headrace items merge {self.output_dir.parent}"
            _log(f"part {part}: writes to {self.output_dir}; when all parts are done: {merge}", self.display)
        scheduler = self._scheduler = Scheduler(graph, self.layout, self.execution)
        progress = RunProgress([node.name for node in scheduler.nodes])
        scheduler.on_add, scheduler.on_settle = progress.add, progress.settle
        plan(self.flow, Sealed(scheduler), return_state=True).result()
        for node in graph.nodes:
            write_params(self.layout, node.stage)
        if not scheduler.is_finished:
            self._run(scheduler, progress, self._size(graph, scheduler))
        self._check_lock()
        record_rates(scheduler)
        if not self.stop_level:
            scheduler.clean_up()  # what a killed run could not remove any more, also if nothing was left to run
            scheduler.tidy()
        self.outcomes = scheduler.collect_outcomes()

    def _predict(self, graph: Graph) -> None:
        """Print what a run of ``graph`` would do."""
        wanted = self.execution.explain
        if wanted is not None:
            lines: Iterable[str] = explain_item(graph, self.layout, self.execution, wanted)
        else:
            lines = predict_run(graph, self.layout, self.execution, self._write_to)
        for line in lines:
            _log(line, self.display)

    @contextmanager
    def _write_to(self, folder: Path) -> Iterator[None]:
        """Let the functions of the graph use another output folder, in which a few items are tried."""
        former, self.output_dir = self.output_dir, folder
        try:
            yield
        finally:
            self.output_dir = former

    def stage(self, stage: Stage, items: Sequence[Item]) -> None:
        """Run every item of the only stage of the flow."""
        graph = Graph()
        graph.node(stage, items)
        self.execute(graph)

    def is_complete(self, node: Node) -> bool:
        """Return True if every item of ``node`` was attempted or cached, and no more can follow."""
        return self._scheduler is not None and not self.stop_level and self._scheduler.is_complete(node)

    def get_outcomes(self, node: Node) -> Outcomes:
        """Return the outcomes of all items of ``node``, in the order of the manifest."""
        return self._scheduler.run_of(node).sorted_outcomes() if self._scheduler else Outcomes()

    def get_records(self, node: Node) -> Iterator[Record]:
        """Yield the records of all items of ``node`` that are done, in the order of the manifest.

        Raises RunError if a record vanished during the run.
        """
        return self._scheduler.run_of(node).records() if self._scheduler else iter(())

    def finish(self) -> State[Any]:
        """Write the summary and the report, and return the flow's final state."""
        if self.execution.is_dry:
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
        keeps_failed = self.execution.keep_failed
        order = SummaryOrder(
            figures, self.outcomes, self.layout, self.execution.max_failed, self.pictures, keeps_failed
        )
        self.summary = summarize_run(self.flow, Sealed(order))
        for line in format_closing_lines(self.summary, self.outcomes, self.layout):
            self.display.say(line)
        return _final_state(self.summary, explain_rerun(self.summary, keeps_failed))

    def _check_lock(self) -> None:
        """Raise LockLost if another run may be at work in the output folder."""
        if self.lock:
            self.lock.check()

    def _size(self, graph: Graph, scheduler: Scheduler) -> RunSize:
        """Choose the slots; check that the largest inputs fit on the local scratch disk."""
        waiting = scheduler.list_waiting_items()
        self._input_root = find_input_root(waiting)
        self._max_items = None if graph.multiplies else len(waiting)
        self._stages = [node.stage for node in graph.nodes]
        size = size_run(self._stages, self._max_items, self.execution, read_host())
        if self.cluster is None:
            scheduler.memory_bytes = size.usable_bytes
        if self.execution.stage_inputs and self.cluster is None:
            check_local_scratch(waiting, size.widths["cpu"])
        return size

    def _run(self, scheduler: Scheduler, progress: RunProgress, size: RunSize) -> None:
        end_leftover_jobs(self.layout, self.display.say)
        if self.cluster and self.store:
            self.layout.objects.share()
        with ExitStack() as stack:
            cluster = self._open_cluster(stack, size)
            widths = dict(size.widths) if cluster is None else {**size.widths, "cpu": self.execution.workers or 1}
            self.display.start(progress)
            stack.callback(self.display.end)
            runner = stack.enter_context(self._make_runner(stack, cluster))
            stack.callback(call_on_workers, runner.client, close_slots, self.run_id)
            stack.enter_context(Watch(progress, artifact_key(self.flow, "progress"), self.control.stop))
            stack.push(self._stop_on_error)
            resize = None if cluster or self.execution.workers else lambda: self._resize(scheduler)
            slot_count = SlotCount(self.layout, self.run_id, widths, partial(_log, display=self.display), resize)
            loop = self._make_loop(stack, scheduler, runner, widths, size, cluster)
            loop.slot_count = slot_count
            if isinstance(loop, RemoteLoop):
                self._connect(stack, loop, runner, progress, slot_count)
            loop.run()
            self._shards += loop.submitted

    def _open_cluster(self, stack: ExitStack, size: RunSize) -> OpenCluster | None:
        """Say where the items run; return the cluster if other processes run it."""
        if self.cluster is None:
            _log(size.reason, self.display)
            self._slots = size.widths["cpu"]
            return None
        say = partial(_log, display=self.display)
        cluster = stack.enter_context(open_cluster(self.cluster, self.run_id, self.layout, say))
        _log(f"the items run on {cluster.title}", self.display)
        return cluster

    def _make_runner(self, stack: ExitStack, cluster: OpenCluster | None) -> DaskTaskRunner:
        if cluster is None:
            return InProcessTaskRunner(cluster=stack.enter_context(local_cluster(self._private)))
        if isinstance(cluster.target, str):
            return RemoteTaskRunner(address=cluster.target, client_kwargs={"security": cluster.security})
        return RemoteTaskRunner(cluster=cluster.target)

    def _connect(
        self, stack: ExitStack, loop: RemoteLoop, runner: DaskTaskRunner, progress: RunProgress, slot_count: SlotCount
    ) -> None:
        """Let the loop know the workers of its cluster and their progress, and the user what it says."""

        def say_status(line: str) -> None:
            progress.status = line
            _log(line, self.display)

        def allow_slots(threads: int) -> None:
            slots = min(threads, self.execution.workers or threads)
            progress.status = ""
            self._slots = max(self._slots, slots)
            slot_count.allow(slots, count_noun(len(loop.workers), "worker"))

        loop.say_status = say_status
        loop.admission.say = partial(_log, display=self.display)
        loop.allow_slots = allow_slots
        runner.client.subscribe_topic(progress_topic(self.run_id), lambda event: loop.take_progress(event[1]))
        stack.enter_context(Membership(runner.client, self._make_probe(loop.scheduler), loop.take_change))

    def _make_probe(self, scheduler: Scheduler) -> ProbeRequest:
        """Return what every worker has to check before it gets items."""
        api = get_current_settings().api
        return ProbeRequest(
            run_id=self.run_id,
            output_dir=self.output_dir,
            token="" if self.store else write_token(self.layout, self.run_id),
            samples=sample_inputs(scheduler.list_waiting_items(), self.execution.identity),
            api_url=api.url or "",
            verify=not api.tls_insecure_skip_verify,
            stages=[node.node.stage for node in scheduler.nodes if node.lane == "device"],
        )

    def _resize(self, scheduler: Scheduler) -> RunSize:
        """Return the size that the host allows now; the memory of running items counts as free."""
        host = read_host()
        free = host.free_memory_bytes + scheduler.used_bytes
        return size_run(self._stages, self._max_items, self.execution, Host(host.cores, free))

    def _make_loop(
        self,
        stack: ExitStack,
        scheduler: Scheduler,
        runner: DaskTaskRunner,
        widths: dict[Lane, int],
        size: RunSize,
        cluster: OpenCluster | None,
    ) -> LeaseLoop:
        common = self.flow, scheduler, runner, self.control, self.display
        if cluster:
            remote = Cluster(cluster.title, self._patience, cluster.manager)
            return RemoteLoop(self.run_id, remote, widths, self._make_order, *common)

        def make_order(node: NodeRun) -> ShardOrder:
            return self._make_order(node, (), size)

        execution = self.execution
        local = LocalRun(self.run_id, scheduler, widths, make_order, execution.shard_seconds, execution.shard_size)
        stack.enter_context(serve_local_run(local))
        return LocalLoop(local, *common)

    @property
    def _patience(self) -> Patience:
        given = self.cluster.wait_seconds if self.cluster else None
        return self.patience if given is None else replace(self.patience, wait_seconds=given)

    def _make_order(
        self, node: NodeRun, items: tuple[PlannedItem, ...], size: RunSize, device: Device | None = None
    ) -> ShardOrder:
        """Return the items of ``node`` with the context in which they run.

        ``size`` is that of this host, or of the worker that gets the items; ``device`` is theirs on the worker.
        """
        stage, execution = node.node.stage, self.execution
        limits = Limits(execution.timeout or stage.timeout_seconds, size.limit(stage, execution))
        context = RunContext(
            run_id=self.run_id,
            output_dir=self.output_dir,
            limits=limits,
            slots=None if self.cluster else size.widths[node.lane],
            input_root=self._input_root,
            stage_inputs=execution.stage_inputs,
            lock_token=self.lock.owner.token if self.lock else "",
            identity=execution.identity,
            memory_alone_bytes=size.limit_alone(stage, execution),
            store=self.store,
            keeps_copies=node.has_dependents,
            devices=((device,) if device else ()) if self.cluster else self._list_devices(node),
        )
        return ShardOrder(context, stage, tuple(map(add_remote_inputs, items)))

    def _list_devices(self, node: NodeRun) -> tuple[Device, ...]:
        """Return the devices of this host for a stage that needs them."""
        if node.lane != "device":
            return ()
        if node.name not in self._devices:
            self._devices[node.name] = list_stage_devices(node.node.stage, list_devices())
        return self._devices[node.name]

    @property
    def _private(self) -> Path:
        """The private folder of this run; it is removed when the run ends."""
        return self.layout.private / self.run_id

    def _stop_on_error(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the running items if the loop itself failed."""
        if kind is not None:
            self.control.stop()


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
    cluster = read_cluster(execution)
    layout = choose_layout(open_layout(output_dir), execution.chosen_part)
    display = ProgressDisplay(Console(stderr=True))
    with ExitStack() as stack:
        lock = None
        if execution.is_dry:
            list_objects(layout)
        else:
            lock = stack.enter_context(open_output_dir(layout, run_id, display.say))
        run = BatchRun(
            flow,
            layout.output_dir,
            execution,
            parameters,
            run_id,
            display,
            patience,
            lock,
            cluster,
            store=layout.store,
        )
        if lock:
            lock.on_loss = run.fail
        stack.callback(forget_signal, run_id)
        handlers = (_give_up, _give_up) if execution.is_dry else (run.control.interrupt, run.control.stop)
        stack.enter_context(handle_signals(*handlers))
        stack.enter_context(explain_write_errors(layout.output_dir))
        yield run


def _give_up() -> None:
    """End a dry run, which has nothing to finish."""
    raise KeyboardInterrupt


def _final_state(summary: Summary, rerun: str) -> State[Any]:
    """Return the flow's final state. For a failed run, Prefect accepts only an exception as its data."""
    unfinished = RunUnfinished(summary.message, summary.exit_code)
    if summary.state == "interrupted":
        return Cancelled(name="Interrupted", message=summary.message, data=unfinished)
    message = f"{summary.message}. {rerun}" if rerun else summary.message
    if summary.state == "failed":
        return Failed(message=message, data=unfinished)
    name = "Completed" if summary.state == "completed" else "Completed with failures"
    return Completed(name=name, message=message, data=summary)


def _log(line: str, display: ProgressDisplay) -> None:
    """Write one line to the terminal and to the run's log in Prefect."""
    display.say(line)
    try:
        get_run_logger().info("%s", showable(line))
    except MissingContextError:
        return


def _convert_to_json(value: Any) -> Any:
    """Return a parameter as JSON holds it; a location in a store as its URL."""
    if isinstance(value, Path) and is_location(value):
        return parse_location(value).url
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
