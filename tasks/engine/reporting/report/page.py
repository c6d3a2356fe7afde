"""Render the report page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from tasks.engine.contract.text import showable_lines
from tasks.engine.reporting.report import charts, formatting
from tasks.engine.reporting.report.model import Bar, Failure, Picture

MAX_FAILURES = 500
OUTCOMES = ("done", "cached", "failed", "upstream", "remaining")
_NO_ADVICE = ("completed", "completed_with_failures")  # the totals are enough
_STAGE_COLORS = 5  # as in report.html
_BADGES = {"completed": "good", "completed_with_failures": "warn", "interrupted": "warn", "failed": "bad"}


@dataclass(frozen=True)
class Tile:
    """One figure and its name."""

    name: str
    value: str
    hint: str = ""


@dataclass(frozen=True)
class Share:
    """The share of items with one outcome."""

    outcome: str
    items: int
    percent: float


def render_report(
    summary: Mapping[str, Any],
    bars: Sequence[Bar],
    seconds: Sequence[float],
    pictures: Sequence[Picture],
    failures: Sequence[Failure],
) -> str:
    """Return the page as HTML that loads no resources and runs no scripts.

    ``summary`` is the content of ``summary.json``; ``seconds`` holds the durations of all items that ran. All text is
    escaped. Thousands of bars are merged into blocks, and the first MAX_FAILURES failures are listed.
    """
    items, state = summary.get("items", {}), str(summary.get("state", ""))
    return _load_template().render(
        summary=summary,
        items=items,
        state=state.replace("_", " ") or "unknown",
        badge=_BADGES.get(state, ""),
        advice="" if state in _NO_ADVICE else summary.get("message", ""),
        tiles=_build_tiles(summary),
        shares=_compute_shares(items),
        notes=summary.get("notes", ()),
        stages=[(name, counts) for name, counts in summary.get("stages", {}).items()],
        outcomes=OUTCOMES,
        colors=_choose_colors(list(summary.get("stages", {}))),
        time_line=charts.build_time_line(bars, float(summary.get("wall_seconds") or 0.0)),
        idle=_explain_empty(items),
        spread=charts.build_spread(seconds),
        pictures=pictures,
        failures=failures[:MAX_FAILURES],
        failure_total=len(failures),
        kinds=_count_kinds(failures),
        parameters=formatting.flatten(summary.get("parameters", {})),
        versions=formatting.flatten(summary.get("versions", {})),
    )


@cache
def _load_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_escape,
    )
    environment.filters.update(
        count=formatting.format_count, duration=formatting.format_duration, moment=formatting.format_time
    )
    return environment.get_template("report.html")


def _escape(value: Any) -> Any:
    """Return ``value`` with escaped control characters: a browser obeys bidirectional overrides like a terminal."""
    return showable_lines(value) if type(value) is str else value


def _build_tiles(summary: Mapping[str, Any]) -> list[Tile]:
    """Return the figures of the summary, in a fixed order."""
    tiles = [
        ("wall_seconds", "wall time", formatting.format_duration, "from start to end of the run"),
        ("sequential_seconds", "item time", formatting.format_duration, "sum of the seconds of all items that ran"),
        ("speedup", "speed-up", "{:.2f}×".format, "item time / wall time"),
        ("items_per_second", "rate", formatting.format_rate, "items that ran, by wall time"),
        ("slots", "slots", formatting.format_count, "items that could run at a time"),
        ("shards", "shards", formatting.format_count, "task runs that the items were grouped into"),
        ("peak_memory_bytes", "peak memory", formatting.format_memory, "most that one item's process held"),
    ]
    return [Tile(name, form(summary[key]), hint) for key, name, form, hint in tiles if summary.get(key) is not None]


def _choose_colors(stages: Sequence[str]) -> dict[str, str]:
    """Return the color class of each stage; a single stage has the color of done items."""
    if len(stages) < 2:
        return dict.fromkeys(stages, "done")
    return {stage: f"stage-{place % _STAGE_COLORS + 1}" for place, stage in enumerate(stages)}


def _compute_shares(items: Mapping[str, int]) -> list[Share]:
    total = sum(items.get(outcome, 0) for outcome in OUTCOMES)
    return [
        Share(outcome, items.get(outcome, 0), 100 * items.get(outcome, 0) / total if total else 0.0)
        for outcome in OUTCOMES
    ]


def _explain_empty(items: Mapping[str, int]) -> str:
    """Return the reason why the time line is empty."""
    if not items.get("total"):
        return "There was no item to run."
    if items.get("cached") == items["total"]:
        return "Nothing had to run: every item was done by an earlier run."
    return "No item ran."


def _count_kinds(failures: Sequence[Failure]) -> list[tuple[str, int]]:
    """Return the kinds of failures with their numbers, the most frequent first."""
    numbers: dict[str, int] = {}
    for failure in failures:
        numbers[failure.failure_kind] = numbers.get(failure.failure_kind, 0) + 1
    return sorted(numbers.items(), key=lambda kind: (-kind[1], kind[0]))
