"""Predict a run from a few items that are tried in a scratch folder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.stage import Stage
from tasks.engine.contract.text import count_noun
from tasks.engine.planning.graph import Graph, Whole
from tasks.engine.planning.plan import Plan, PlannedItem, plan_stage
from tasks.engine.planning.sizing import Size, read_host, size_stage
from tasks.engine.reporting.progress import format_duration
from tasks.engine.running.control import StopSignal
from tasks.engine.running.messages import Finished, Reply, Request
from tasks.engine.running.scratch import probe_scratch
from tasks.engine.running.slot import Limits, Slot
from tasks.engine.store.files import format_bytes, free_bytes
from tasks.engine.store.layout import Layout
from tasks.engine.store.records import RecordStore

_PROBES = 3
_PROBE_SECONDS = 60.0  # a longer probe is stopped and reported


@dataclass(frozen=True)
class Probe:
    """The resources that one item used in the scratch folder. All are zero if it failed."""

    title: str
    cost: float
    seconds: float
    peak_memory_bytes: int
    output_bytes: int
    failure: str = ""


def predict_run(graph: Graph, layout: Layout, execution: Execution) -> Iterator[str]:
    """Yield lines about the stages whose items are given as input."""
    host = read_host()
    for node in graph.nodes:
        items = [each.item if isinstance(each, Whole) else each for each in node.items]
        if items:
            stage = node.stage
            planned = plan_stage(stage, items, RecordStore(layout, stage.name), execution)
            size = size_stage(stage, len(planned.todo), execution, host)
            yield from predict_stage(stage, planned, size, execution, layout.output_dir)


def predict_stage(stage: Stage, planned: Plan, size: Size, execution: Execution, output_dir: Path) -> Iterator[str]:
    """Yield lines: items cached and to do, the slots and the reason, and the expected time, memory and disk space."""
    cached = sum(outcome.outcome == "cached" for outcome in planned.settled)
    kept = len(planned.settled) - cached
    later = f", {len(planned.left)} left by --max-items" if planned.left else ""
    failed = f", {kept} failed before and kept" if kept else ""
    items = count_noun(planned.total, "item")
    yield f"{stage.name}: {items}, {cached} cached, {len(planned.todo)} to do{failed}{later}"
    if not planned.todo:
        return
    yield f"{stage.name}: {size.reason}"
    probes = probe_items(stage, _spread(planned.todo), size, execution, output_dir)
    for probe in probes:
        if probe.failure:
            yield f"{stage.name}: probed {probe.title}: {probe.failure}"
    finished = [probe for probe in probes if not probe.failure]
    if not finished:
        yield f"{stage.name}: no prediction, because all {len(probes)} probed items failed"
        return
    yield _predict(stage.name, planned.todo, finished, size, output_dir)


def _predict(name: str, todo: Sequence[PlannedItem], probes: list[Probe], size: Size, output_dir: Path) -> str:
    cost = sum(planned.item.cost for planned in todo)
    probed = sum(probe.cost for probe in probes) or 1.0
    sequential = cost * sum(probe.seconds for probe in probes) / probed
    disk = cost * sum(probe.output_bytes for probe in probes) / probed
    memory = max(probe.peak_memory_bytes for probe in probes)
    free = free_bytes(output_dir)
    lacking = "; MORE THAN IS FREE" if disk > free else ""
    time = f"about {format_duration(sequential / size.slots)} on {count_noun(size.slots, 'slot')}"
    total = memory * size.slots
    return (
        f"{name}: predicted from {count_noun(len(probes), 'probed item')}: {time}, {memory / 2**20:.0f} MiB per item "
        f"({total / 2**20:.0f} MiB in total), {format_bytes(disk)} of disk space ({format_bytes(free)} free{lacking})"
    )


def _spread(todo: Sequence[PlannedItem]) -> list[PlannedItem]:
    """Choose a few items, evenly spread over the predicted costs: the extremes are not representative."""
    by_cost = sorted(todo, key=lambda planned: planned.item.cost)
    count = min(_PROBES, len(by_cost))
    return [by_cost[math.floor((n + 0.5) * len(by_cost) / count)] for n in range(count)]


def probe_items(
    stage: Stage, probed: Sequence[PlannedItem], size: Size, execution: Execution, output_dir: Path
) -> list[Probe]:
    """Run ``probed`` one after another in a scratch folder; remove it afterwards.

    ``output_dir`` is for reading the files of earlier stages.
    """
    seconds = min(_PROBE_SECONDS, execution.timeout or stage.timeout_seconds)
    limits = Limits(seconds, size.memory_per_slot_bytes)
    with probe_scratch() as scratch:
        log = scratch / "probe.log"
        log.touch()
        slot = Slot(stage, "probe", log)
        try:
            return [_probe(slot, planned, scratch, output_dir, limits) for planned in probed]
        finally:
            slot.close()


def _probe(slot: Slot, planned: PlannedItem, scratch: Path, output_dir: Path, limits: Limits) -> Probe:
    slot.open()
    slot.start(Request(planned.item, scratch / planned.item.id, output_dir))
    reply: Reply | None = slot.wait(limits, StopSignal())
    assert reply is not None  # nobody stops this signal
    usage = reply.usage
    if isinstance(reply, Finished):
        size_bytes = sum(output.size_bytes for output in reply.outputs)
        return Probe(planned.item.title, planned.item.cost, usage.seconds, usage.peak_memory_bytes, size_bytes)
    return Probe(planned.item.title, planned.item.cost, usage.seconds, usage.peak_memory_bytes, 0, reply.message)
