"""Write the prediction of a run as lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tasks.engine.contract.text import count_noun
from tasks.engine.reporting.progress import format_duration
from tasks.engine.running.dry_run.forecast import Forecast, StageForecast
from tasks.engine.running.dry_run.probes import StageProbes
from tasks.engine.running.dry_run.stage_plan import StagePlan
from tasks.engine.store.files import format_bytes

_MAX_REASONS = 8


def describe_plan(plan: StagePlan) -> Iterator[str]:
    """Yield the numbers of items of a stage, then the reasons of those that must run, each with a few examples."""
    name, counts = plan.run.name, plan.counts
    texts = [count_noun(plan.total, "item"), f"{counts.cached} cached", f"{plan.todo} to do"]
    texts += [f"{counts.failed} failed before and kept"] if counts.failed else []
    texts += [f"{counts.upstream} need failed items"] if counts.upstream else []
    texts += [f"{plan.run.left_count} left by --max-items"] if plan.run.left_count else []
    yield f"{name}: {', '.join(texts)}"
    for reason, number in plan.reasons.most_common(_MAX_REASONS):
        examples = plan.examples[reason]
        more = "; ..." if number > len(examples) else ""
        yield f"{name}: {number} to do: {reason} ({'; '.join(examples)}{more})"
    others = len(plan.reasons) - _MAX_REASONS
    if others > 0:
        yield f"{name}: {count_noun(others, 'other reason')}; see --explain ID"


def describe_stage(stage: StageForecast, probes: StageProbes | None) -> Iterator[str]:
    """Yield the expected items that do not exist yet, failed probes, and the expected time, memory and disk space."""
    name = stage.plan.run.name
    if not stage.has_work:
        return
    yield from (f"{name}: {failure}" for failure in (probes.failures if probes else []))
    if stage.extra is None:
        yield f"{name}: the number of further items is unknown until the stage before has run"
    elif stage.extra:
        origin = {"probed": "from probed items", "recorded": "from earlier runs", None: "one per item before"}
        number = max(1, round(stage.extra))
        noun = count_noun(number, "further item" if stage.plan.total else "item")
        yield f"{name}: about {noun} to do, estimated {origin[stage.growth_from]}"
    if stage.rate is None:
        tried = probes.failures if probes else []
        nothing = "no item could be probed, and no earlier run is known"
        why = f"all {len(tried)} probed items failed" if tried else nothing
        yield f"{name}: no prediction, because {why}"
        return
    if stage.extra_cost is not None:
        yield f"{name}: {_predict(stage)}"


def _predict(stage: StageForecast) -> str:
    assert stage.rate is not None
    memory = stage.rate.memory_bytes / 2**20
    probed = count_noun(stage.rate.items, "probed item")
    items = probed if stage.rate_from == "probed" else f"{count_noun(stage.rate.items, 'item')} of earlier runs"
    low, middle, high = (format_duration(stage.seconds(which) / stage.slots) for which in ("low", "seconds", "high"))
    size = "" if stage.size_bytes is None else f", {format_bytes(stage.size_bytes)} of disk space"
    return (
        f"predicted from {items}: about {middle} ({low} to {high}) on {count_noun(stage.slots, 'slot')}, "
        f"{memory:.0f} MiB per item ({stage.memory_bytes / 2**20:.0f} MiB in total){size}"
    )


def describe_forecast(forecast: Forecast, free_bytes: int) -> Iterator[str]:
    """Yield the expected time, memory and peak disk usage of the whole run."""
    if not any(stage.has_work for stage in forecast.stages):
        return
    low, middle, high = (format_duration(forecast.elapsed(which)) for which in ("low", "seconds", "high"))
    lacking = "; MORE THAN IS FREE" if forecast.disk_bytes > free_bytes else ""
    waiting = f", {format_bytes(forecast.waiting_bytes)} of it for a while" if forecast.waiting_bytes else ""
    yield (
        f"the run: about {middle} ({low} to {high}), {forecast.memory_bytes / 2**20:.0f} MiB of memory, at most "
        f"{format_bytes(forecast.disk_bytes)} of disk space{waiting} ({format_bytes(free_bytes)} free{lacking})"
    )
    if forecast.unknown:
        yield f"the run: not included, because unknown: {', '.join(forecast.unknown)}"


def describe_all(
    forecast: Forecast, probes: Mapping[str, StageProbes], notes: Sequence[str], free_bytes: int
) -> Iterator[str]:
    """Yield the lines about every stage, then those about the run."""
    for stage in forecast.stages:
        if stage.plan.total or not stage.extra:
            yield from describe_plan(stage.plan)
        yield from describe_stage(stage, probes.get(stage.plan.run.name))
    yield from notes
    yield from describe_forecast(forecast, free_bytes)
