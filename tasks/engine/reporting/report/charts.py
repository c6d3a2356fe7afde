"""Compute the geometry of the two charts: horizontal positions in percent of the width, vertical ones in pixels."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.engine.reporting.report.formatting import format_count, format_duration
from tasks.engine.reporting.report.model import Bar

MAX_BLOCKS = 2000
MAX_LANES = 100
BINS = 40
_HAIR = 0.12  # percent: the narrowest block that still shows


@dataclass(frozen=True)
class Tick:
    """A mark on a horizontal axis."""

    x: float
    label: str


@dataclass(frozen=True)
class Block:
    """One item, or several adjacent items with the same stage and outcome, in a lane."""

    x: float
    width: float
    outcome: str
    title: str
    stage: str = ""


@dataclass(frozen=True)
class Lane:
    """The items of one slot, from left to right."""

    slot: str
    y: float
    busy_percent: float
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class TimeLine:
    """One lane per slot. ``note`` says which items are drawn merged; it is empty if none are."""

    lanes: tuple[Lane, ...]
    lane_height: float
    height: float
    ticks: tuple[Tick, ...]
    note: str


@dataclass(frozen=True)
class Column:
    """One bin of the histogram, as a column."""

    x: float
    width: float
    height_percent: float
    title: str


@dataclass(frozen=True)
class Spread:
    """A histogram of item durations with its axis and its quantiles."""

    columns: tuple[Column, ...]
    ticks: tuple[Tick, ...]
    highest: int
    median: float
    p95: float
    longest: float
    logarithmic: bool


def build_time_line(bars: Sequence[Bar], wall_seconds: float) -> TimeLine | None:
    """Return lanes in natural order of their slots; None if no item ran. Merges neighbors beyond MAX_BLOCKS items."""
    if not bars:
        return None
    span = max(wall_seconds, 1e-6, *(bar.end_seconds for bar in bars))
    by_slot: dict[str, list[Bar]] = defaultdict(list)
    for bar in bars:
        by_slot[bar.slot].append(bar)
    slots = sorted(by_slot, key=_natural_key)
    drawn = slots[:MAX_LANES]
    height = 18.0 if len(drawn) <= 16 else 10.0 if len(drawn) <= 48 else 6.0
    joined = sum(len(by_slot[slot]) for slot in drawn) > MAX_BLOCKS
    # The usual worst case is two outcomes per stretch of time: done and failed.
    stretches = max(1, MAX_BLOCKS // len(drawn) // 2) if joined else 0
    lanes = tuple(
        Lane(slot, place * (height + 4), _sum_busy(by_slot[slot], span), _merge_blocks(by_slot[slot], span, stretches))
        for place, slot in enumerate(drawn)
    )
    return TimeLine(lanes, height, len(drawn) * (height + 4), build_axis(span), _note(len(bars), len(slots), joined))


def _natural_key(text: str) -> list[tuple[int, int, str]]:
    parts = re.findall(r"\d+|\D+", text)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _sum_busy(bars: Iterable[Bar], span: float) -> float:
    return min(100.0, 100 * sum(bar.end_seconds - bar.start_seconds for bar in bars) / span)


def _merge_blocks(bars: list[Bar], span: float, stretches: int) -> tuple[Block, ...]:
    groups: dict[tuple[object, str, str], list[Bar]] = defaultdict(list)
    for place, bar in enumerate(bars):
        stretch = int(bar.start_seconds / span * stretches) if stretches else place
        groups[stretch, bar.stage, bar.outcome].append(bar)
    blocks = [_block(group, span) for group in groups.values()]
    # Failed items are drawn last, on top.
    return tuple(sorted(blocks, key=lambda block: (block.outcome == "failed", block.x)))


def _block(group: list[Bar], span: float) -> Block:
    start, end = min(bar.start_seconds for bar in group), max(bar.end_seconds for bar in group)
    if group[0].outcome == "failed":
        # Failures lie between other items: the length of their block is the sum of their durations, not their span.
        end = start + sum(bar.end_seconds - bar.start_seconds for bar in group)
    name = group[0].name if len(group) == 1 else f"{format_count(len(group))} items"
    stage = f"{group[0].stage}, " if group[0].stage else ""
    title = f"{name}: {stage}{group[0].outcome}, {format_duration(end - start)} from {format_duration(start)}"
    return Block(100 * start / span, max(_HAIR, 100 * (end - start) / span), group[0].outcome, title, group[0].stage)


def _note(items: int, slots: int, joined: bool) -> str:
    notes = []
    if joined:
        notes.append(f"{format_count(items)} items ran: neighbours of one stage and outcome are drawn as one block.")
    if slots > MAX_LANES:
        notes.append(f"The first {MAX_LANES} of {format_count(slots)} slots are drawn.")
    return " ".join(notes)


def build_axis(span: float, max_steps: int = 8) -> tuple[Tick, ...]:
    """Return ticks at round times from 0 to ``span`` (seconds), at most ``max_steps`` + 1."""
    step = _round_step(span / max_steps)
    return tuple(
        Tick(100 * place * step / span, _choose_tick(place * step)) for place in range(int(span / step + 1e-9) + 1)
    )


def _round_step(min_step: float) -> float:
    if min_step > 30:
        steps = [60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0, 86400.0]
        return next((step for step in steps if step >= min_step), math.ceil(min_step / 86400) * 86400.0)
    power = 10.0 ** math.floor(math.log10(min_step))
    return next((step * power for step in (1, 2, 5, 10) if step * power >= min_step), 10 * power)


def _choose_tick(seconds: float) -> str:
    if seconds >= 60:
        return format_duration(seconds).replace(" 00 s", "").replace(" 00 min", "")
    return f"{seconds:.3g} s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:.3g} ms"


def build_spread(seconds: Sequence[float]) -> Spread | None:
    """Return a histogram of item durations; its axis is logarithmic if a few items take much longer than most."""
    if not seconds:
        return None
    values = sorted(max(value, 0.0) for value in seconds)
    median, p95, longest = _find_quantile(values, 0.5), _find_quantile(values, 0.95), values[-1]
    logarithmic = longest > 25 * median > 0
    edges = _choose_edges(values, logarithmic)
    counts = _count_bins(values, edges)
    highest = max(counts)
    width = 100 / len(counts)
    columns = tuple(
        Column(place * width, width, 100 * number / highest, _bin_title(number, edges[place], edges[place + 1]))
        for place, number in enumerate(counts)
        if number
    )
    ticks = _log_ticks(edges[0], edges[-1]) if logarithmic else build_axis(edges[-1], 6)
    return Spread(columns, ticks, highest, median, p95, longest, logarithmic)


def _find_quantile(ordered: Sequence[float], share: float) -> float:
    """Return the quantile by nearest rank."""
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def _choose_edges(values: Sequence[float], logarithmic: bool) -> list[float]:
    bins = min(BINS, max(8, math.ceil(2 * math.sqrt(len(values)))))
    high = max(values[-1], 1e-3)
    if not logarithmic:
        return [high * place / bins for place in range(bins + 1)]
    low = max(min(value for value in values if value > 0), high / 1e6)
    return [low * (high / low) ** (place / bins) for place in range(bins + 1)]


def _count_bins(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """Count the values in each bin; outliers count in the first or the last bin."""
    counts = [0] * (len(edges) - 1)
    place = 0
    for value in values:
        while place < len(counts) - 1 and value >= edges[place + 1]:
            place += 1
        counts[place] += 1
    return counts


def _bin_title(number: int, low: float, high: float) -> str:
    return f"{format_count(number)} item{'' if number == 1 else 's'}: {format_duration(low)} to {format_duration(high)}"


def _log_ticks(low: float, high: float) -> tuple[Tick, ...]:
    powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    whole = math.log10(high / low)
    return tuple(Tick(100 * (power - math.log10(low)) / whole, _choose_tick(10.0**power)) for power in powers)
