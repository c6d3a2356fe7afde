"""Estimate the work, the time, the memory and the disk space of a run, stage by stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Literal

from tasks.engine.planning.graph import Node
from tasks.engine.planning.rates import MIN_COST, Growth, Rate, StageRates, choose_rates
from tasks.engine.planning.sizing import RunSize
from tasks.engine.running.dry_run.probes import StageProbes
from tasks.engine.running.dry_run.stage_plan import StagePlan
from tasks.engine.running.space import SHARE_OF_FREE

Source = Literal["probed", "recorded"]
_LOW_GROWTH, _HIGH_GROWTH = 0.7, 1.4  # range of the cost of items that do not exist yet


@dataclass(frozen=True)
class StageForecast:
    """The expected work of one stage.

    extra         number of items that do not exist yet; None if unknown
    extra_cost    their cost; None if unknown
    growth_from   source of these two; None if there are no such items or nothing is known
    rate          resources per cost; None if unknown
    slots         items of this stage that can run at the same time
    size_bytes    outputs of the stage; None if unknown
    """

    plan: StagePlan
    extra: float | None
    extra_cost: float | None
    growth_from: Source | None
    rate: Rate | None
    rate_from: Source | None
    slots: int
    size_bytes: float | None

    @property
    def has_work(self) -> bool:
        """True if items must run, or may."""
        return bool(self.plan.todo) or self.extra is None or self.extra > 0

    @property
    def is_known(self) -> bool:
        """True if the time can be predicted."""
        return not self.has_work or (self.rate is not None and self.extra_cost is not None)

    def seconds(self, which: Literal["seconds", "low", "high"]) -> float:
        """Return the time of all items one after another; 0 if it is unknown."""
        if self.rate is None:
            return 0.0
        factor = {"seconds": 1.0, "low": _LOW_GROWTH, "high": _HIGH_GROWTH}[which]
        per_cost: float = getattr(self.rate, which)
        return (self.plan.cost + factor * (self.extra_cost or 0.0)) * per_cost

    def longest(self, which: Literal["seconds", "low", "high"]) -> float:
        """Return the time of the longest item that exists."""
        per_cost: float = getattr(self.rate, which) if self.rate else 0.0
        return self.plan.max_cost * per_cost

    @property
    def memory_bytes(self) -> float:
        """The memory of all items that run at the same time."""
        return self.rate.memory_bytes * self.slots if self.rate else 0.0


@dataclass(frozen=True)
class Forecast:
    """The expected course of a run. ``disk_bytes`` is the peak; parts that wait for their wholes are part of it."""

    stages: Sequence[StageForecast]
    disk_bytes: float
    waiting_bytes: float

    def elapsed(self, which: Literal["seconds", "low", "high"]) -> float:
        """Return the time of the run: lanes work at the same time, and no item is shared by slots."""
        lanes: dict[str, float] = {}
        for stage in self.stages:
            lane = stage.plan.run.lane
            lanes[lane] = lanes.get(lane, 0.0) + stage.seconds(which) / stage.slots
        return max([*lanes.values(), *(stage.longest(which) for stage in self.stages)], default=0.0)

    @property
    def memory_bytes(self) -> float:
        """The memory of the stage that needs most."""
        return max((stage.memory_bytes for stage in self.stages), default=0.0)

    @property
    def unknown(self) -> list[str]:
        """The stages whose time is not included."""
        return [stage.plan.run.name for stage in self.stages if not stage.is_known]


def make_forecast(
    plans: Mapping[str, StagePlan],
    probes: Mapping[str, StageProbes],
    recorded: Sequence[StageRates],
    size: RunSize,
    scratch_bytes: int | None,
    free_bytes: int,
) -> Forecast:
    """Estimate the run that ``plans`` describes, from ``probes`` and from the rates that earlier runs ``recorded``."""
    stages: dict[str, StageForecast] = {}
    for name, plan in plans.items():
        earlier = choose_rates(plan.run.node.stage, recorded)
        stages[name] = _forecast_stage(plan, stages, probes.get(name), earlier, size)
    waiting = _estimate_waiting(stages.values(), scratch_bytes, free_bytes)
    kept = sum(stage.size_bytes or 0.0 for stage in stages.values() if not _is_transient(stage))
    return Forecast(list(stages.values()), kept + waiting, waiting)


def _forecast_stage(
    plan: StagePlan,
    stages: Mapping[str, StageForecast],
    probes: StageProbes | None,
    earlier: StageRates | None,
    size: RunSize,
) -> StageForecast:
    probed = probes.samples.compute_rate() if probes else None
    rate = probed or (earlier.rate if earlier else None)
    extra, extra_cost, growth_from = _estimate_extra(plan.run.node, stages, probes, earlier)
    return StageForecast(
        plan=plan,
        extra=extra,
        extra_cost=extra_cost,
        growth_from=growth_from,
        rate=rate,
        rate_from=None if rate is None else "probed" if probed else "recorded",
        slots=_count_slots(plan, size),
        size_bytes=_estimate_size(plan, extra_cost, probes, rate),
    )


def _count_slots(plan: StagePlan, size: RunSize) -> int:
    """Return how many items of the stage can run at the same time on this host."""
    run = plan.run
    width = size.widths[run.lane]
    return max(1, min(width, run.max_running or width, size.usable_bytes // max(1, run.memory_bytes)))


def _estimate_extra(
    node: Node, stages: Mapping[str, StageForecast], probes: StageProbes | None, earlier: StageRates | None
) -> tuple[float | None, float | None, Source | None]:
    """Return the number and the cost of items that do not exist yet, and the source of the estimate."""
    if node.after is None:
        return 0.0, 0.0, None
    source = stages[node.after.name]
    if not source.has_work or (node.collect and not _awaits(stages, node)):
        return 0.0, 0.0, None
    growths: list[tuple[Source, Growth]] = [("probed", probes.growth)] if probes else []
    growths += [("recorded", earlier.growth)] if earlier else []
    growth_from, growth = next(((origin, each) for origin, each in growths if each.sources), (None, Growth()))
    if source.extra is None or source.extra_cost is None:
        return None, None, None
    if node.collect:
        return _scale_table(growth, growth_from, source.plan.total + source.extra)
    if not growth.sources:
        return (source.plan.todo + source.extra if node.each else None), None, None
    sources, cost = source.plan.todo + source.extra, source.plan.cost + source.extra_cost
    items = growth.items / growth.sources * sources
    return items, growth.cost / max(growth.source_cost, MIN_COST) * cost, growth_from


def _awaits(stages: Mapping[str, StageForecast], node: Node) -> bool:
    """Return True if the items of a table will be made anew, because a stage before it has work."""
    return node.after is not None and stages[node.after.name].has_work


def _scale_table(
    growth: Growth, growth_from: Source | None, sources: float
) -> tuple[float | None, float | None, Source | None]:
    """Return the items of a table: their number is constant, their cost follows that of ``sources`` or is constant."""
    if not growth.sources:
        return None, None, None
    is_constant = isclose(growth.cost, growth.items)  # the default cost
    scale = 1.0 if is_constant else sources / growth.sources
    return float(growth.items), growth.cost * scale, growth_from


def _estimate_size(
    plan: StagePlan, extra_cost: float | None, probes: StageProbes | None, rate: Rate | None
) -> float | None:
    """Return the disk space of the stage's outputs: as wholes say themselves, or from the rate."""
    declared = plan.whole_bytes
    if plan.run.node.parts and declared:
        per_cost = declared / plan.cost if plan.cost else 0.0
        return declared + per_cost * (extra_cost or 0.0)
    if probes and probes.whole_bytes and probes.whole_cost:
        return probes.whole_bytes / probes.whole_cost * (plan.cost + (extra_cost or 0.0))
    return rate.size_bytes * (plan.cost + (extra_cost or 0.0)) if rate else None


def _is_transient(stage: StageForecast) -> bool:
    return not stage.plan.run.node.keeps


def _estimate_waiting(stages: Iterable[StageForecast], scratch_bytes: int | None, free_bytes: int) -> float:
    """Return the peak disk space of outputs that are removed once they are used up."""
    everything = list(stages)
    limit = free_bytes * SHARE_OF_FREE if scratch_bytes is None else scratch_bytes
    total, largest = 0.0, 0.0
    for stage in everything:
        if not _is_transient(stage):
            continue
        wholes = [each for each in everything if each.plan.run.node.parts is stage.plan.run.node]
        declared = sum(each.plan.part_bytes for each in wholes)
        own = declared or max([stage.size_bytes or 0.0, *(each.size_bytes or 0.0 for each in wholes)])
        count = sum(each.plan.todo + (each.extra or 0.0) for each in wholes) or stage.plan.todo + (stage.extra or 0.0)
        total += own
        largest = max(largest, own / max(1.0, count))
    return min(total, max(limit, largest))
