"""Putting the page together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from tasks.engine.contract.text import showable_lines
from tasks.engine.reporting.report import charts, words
from tasks.engine.reporting.report.model import Bar, Failure, Picture

MAX_FAILURES = 500
OUTCOMES = ("done", "cached", "failed", "remaining")
_NO_ADVICE = ("completed", "completed_with_failures")  # the totals say it all
_BADGES = {"completed": "good", "completed_with_failures": "warn", "interrupted": "warn", "failed": "bad"}


@dataclass(frozen=True)
class Tile:
    """One figure with its name."""

    name: str
    value: str
    hint: str = ""


@dataclass(frozen=True)
class Share:
    """The part of all items that had one outcome."""

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
    """The whole page as HTML that fetches nothing and runs no script.

    ``summary`` is the content of ``summary.json``; ``seconds`` holds the seconds of every item that ran. All text is
    escaped. Some thousand bars are joined into blocks, and the first MAX_FAILURES failures are listed.
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
        time_line=charts.time_line(bars, float(summary.get("wall_seconds") or 0.0)),
        idle=_measure_idle(items),
        spread=charts.spread(seconds),
        pictures=pictures,
        failures=failures[:MAX_FAILURES],
        failure_total=len(failures),
        kinds=_count_kinds(failures),
        parameters=words.flatten(summary.get("parameters", {})),
        versions=words.flatten(summary.get("versions", {})),
    )


@cache
def _load_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_show_whitespace,
    )
    environment.filters.update(count=words.count, duration=words.duration, moment=words.moment)
    return environment.get_template("report.html")


def _show_whitespace(value: Any) -> Any:
    """Return what the page is to show: a browser reverses text at a bidirectional override as a terminal does."""
    return showable_lines(value) if type(value) is str else value


def _build_tiles(summary: Mapping[str, Any]) -> list[Tile]:
    """The figures that the summary holds, in a fixed order."""
    tiles = [
        ("wall_seconds", "wall time", words.duration, "from start to end of the run"),
        ("sequential_seconds", "item time", words.duration, "sum of the seconds of all items that ran"),
        ("speedup", "speed-up", "{:.2f}×".format, "item time / wall time"),
        ("items_per_second", "rate", words.rate, "items that ran, by wall time"),
        ("slots", "slots", words.count, "items that could run at a time"),
        ("shards", "shards", words.count, "task runs that the items were grouped into"),
        ("peak_memory_bytes", "peak memory", words.memory, "most that one item's process held"),
    ]
    return [Tile(name, form(summary[key]), hint) for key, name, form, hint in tiles if summary.get(key) is not None]


def _compute_shares(items: Mapping[str, int]) -> list[Share]:
    total = sum(items.get(outcome, 0) for outcome in OUTCOMES)
    return [
        Share(outcome, items.get(outcome, 0), 100 * items.get(outcome, 0) / total if total else 0.0)
        for outcome in OUTCOMES
    ]


def _measure_idle(items: Mapping[str, int]) -> str:
    """Why the time line is empty."""
    if not items.get("total"):
        return "There was no item to run."
    if items.get("cached") == items["total"]:
        return "Nothing had to run: every item was done by an earlier run."
    return "No item ran."


def _count_kinds(failures: Sequence[Failure]) -> list[tuple[str, int]]:
    """Failure kinds with their numbers, the most frequent first."""
    numbers: dict[str, int] = {}
    for failure in failures:
        numbers[failure.failure_kind] = numbers.get(failure.failure_kind, 0) + 1
    return sorted(numbers.items(), key=lambda kind: (-kind[1], kind[0]))
