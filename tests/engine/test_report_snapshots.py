"""Compare the whole report and the geometry of its charts with a reviewed snapshot.

After an intended change, ``python -m tests.engine.test_report_snapshots`` rewrites the snapshots: review their diff
before you commit.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.reporting.report import Bar, Failure, Picture, render_report
from tasks.engine.reporting.report.charts import TimeLine, build_axis, build_spread, build_time_line
from tests.engine.test_report import create_summary

SNAPSHOTS = Path(__file__).resolve().parents[1] / "data" / "report"
OUTCOMES = ("done", "failed", "done", "done", "cached")


def create_bars(slots: int, items: int, seconds: float = 1.0) -> list[Bar]:
    """Create items in sequence in each slot, with gaps and every outcome."""
    bars = []
    for place in range(items):
        slot, turn = place % slots, place // slots
        start = turn * seconds * 1.25 + 0.1 * slot
        bars.append(Bar(f"host-{slot + 1:02d}", start, start + seconds, OUTCOMES[place % 5], f"item {place}"))
    return bars


def shorten(line: TimeLine | None) -> dict[str, Any] | None:
    """Return a time line with its first and last two lanes, and their first three and last two blocks."""
    if line is None:
        return None
    lanes = [
        {**asdict(lane), "blocks": [asdict(block) for block in (*lane.blocks[:3], *lane.blocks[-2:])]}
        for lane in (*line.lanes[:2], *line.lanes[-2:])
    ]
    blocks = [len(lane.blocks) for lane in line.lanes]
    return {**asdict(line), "lanes": lanes, "number of lanes": len(line.lanes), "number of blocks": sum(blocks)}


def build_charts() -> dict[str, Any]:
    """Build all charts, for runs of one item to thousands."""
    lines = {
        "one item": (create_bars(1, 1), 1.0),
        "two slots": (create_bars(2, 9), 8.0),
        "shorter than its items": (create_bars(2, 4), 0.5),
        "17 slots": (create_bars(17, 34), 3.0),
        "49 slots": (create_bars(49, 98), 3.0),
        "101 slots": (create_bars(101, 101), 2.0),
        "joined": (create_bars(3, 2100, 0.5), 450.0),
    }
    times = {
        "one": [1.0],
        "equal": [2.0] * 5,
        "narrow": [1.0, 1.1, 1.2, 1.3, 2.0],
        "wide": [0.001, 0.01, 0.1, 1.0, 10.0, 100.0],
        "with zero": [0.0, 0.0, 3.0],
        "many": [((7 * place) % 101 + 1) / 10 for place in range(500)],
    }
    spans = (0.004, 0.7, 1, 59, 61, 4000, 90_000, 1e6)
    return {
        "time lines": {name: shorten(build_time_line(*given)) for name, given in lines.items()},
        "nothing ran": build_time_line([], 1.0),
        "spreads": {name: asdict(found) if (found := build_spread(given)) else None for name, given in times.items()},
        "no items": build_spread([]),
        "axes": {str(span): [asdict(tick) for tick in build_axis(span)] for span in spans},
    }


def render_page() -> str:
    """Render a report with every kind of content."""
    failures = [
        Failure("bad-1", "frames", "bad_input", "is truncated", 1, ""),
        Failure("bad-2", "frames", "timeout", "took more than 5 s", 2, ".headrace/logs/frames/bad-2.log"),
    ]
    pictures = [Picture("first", "two frames", b"\xff\xd8"), Picture("second", "one frame", b"RIFF", "image/webp")]
    return render_report(create_summary(9), create_bars(2, 9), [1.0, 1.5, 2.0, 0.5, 9.0], pictures, failures)


def render_interrupted_page() -> str:
    """Render a report of an interrupted run with a note, two stages, and bidirectional control characters."""
    counts = {"total": 4, "done": 1, "cached": 0, "failed": 1, "remaining": 2}
    given = create_summary(
        flow="flow\u202e",
        state="interrupted",
        message="interrupted: 1 done",
        items=counts,
        stages={"frames": counts, "dataset": {**counts, "done": 0}},
        notes=("a note\x1b",),
    )
    failures = [Failure(f"bad-{place}", "frames", kind, "broken", 1, "") for place, kind in enumerate("cbbaaa")]
    return render_report(given, create_bars(1, 2), [1.0], [], failures)


def render_bare_page() -> str:
    """Render a report of a summary without figures."""
    return render_report({}, [Bar("slot", 0.1, 0.5, "item", "done")], [], [], [])


SNAPSHOT_TEXTS = {
    "charts.json": lambda: json.dumps(build_charts(), indent=1, ensure_ascii=False) + "\n",
    "report.html": render_page,
    "empty.html": lambda: render_report(create_summary(0), [], [], [], []),
    "interrupted.html": render_interrupted_page,
    "bare.html": render_bare_page,
    "unknown-state.html": lambda: render_report(create_summary(1, state="new", message="news"), [], [], [], []),
    "no-message.html": lambda: render_report({"state": "failed"}, [], [], [], []),
}


@pytest.mark.parametrize("name", SNAPSHOT_TEXTS)
def test_report_matches_the_snapshot(name: str) -> None:
    assert SNAPSHOT_TEXTS[name]().splitlines() == (SNAPSHOTS / name).read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    SNAPSHOTS.mkdir(parents=True, exist_ok=True)
    for file, text in SNAPSHOT_TEXTS.items():
        (SNAPSHOTS / file).write_text(text(), encoding="utf-8")
