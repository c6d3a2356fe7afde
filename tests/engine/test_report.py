"""Test the report page with no, few and very many items."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from tasks.engine.reporting.report import Bar, Failure, Picture, render_report
from tasks.engine.reporting.report.charts import MAX_BLOCKS, build_axis, build_spread, build_time_line
from tasks.engine.reporting.report.formatting import flatten, format_duration, format_memory, format_rate
from tasks.engine.reporting.report.page import MAX_FAILURES

HOSTILE = "</title><script>alert('x')</script>&\"'"


def create_summary(total: int = 0, **changes: Any) -> dict[str, Any]:
    counts = {"total": total, "done": total, "cached": 0, "failed": 0, "remaining": 0}
    base = {
        "flow": "dataset-prep",
        "run_id": "r1",
        "state": "completed",
        "started_at": "2026-01-02T03:04:05Z",
        "finished_at": "2026-01-02T03:05:05Z",
        "wall_seconds": 60.0,
        "items": counts,
        "stages": {"frames": counts},
        "sequential_seconds": 110.0,
        "speedup": 1.83,
        "items_per_second": 2.5,
        "slots": 2,
        "shards": 4,
        "peak_memory_bytes": 300 * 2**20,
        "parameters": {"max_frames": 8, "execution": {"workers": None}},
        "versions": {"python": "3.11"},
    }
    return {**base, **changes}


def create_bars(number: int, slots: int = 4) -> list[Bar]:
    return [
        Bar(
            f"slot {place % slots}",
            place // slots,
            place // slots + 0.9,
            f"item-{place}",
            "failed" if place % 9 == 0 else "done",
        )
        for place in range(number)
    ]


class Elements(HTMLParser):
    """Elements of a page, and those that are not closed."""

    VOID = frozenset({"meta", "link", "img", "input", "line", "rect"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID or (tag == "rect" and "item" in (dict(attrs).get("class") or "")):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("number", [0, 1, 5, 300])
def test_page_is_well_formed_and_loads_no_resources(number: int) -> None:
    failures = [Failure(f"bad-{place}", "frames", "bad_input", "broken", 1, "") for place in range(number)]
    pictures = [Picture("p", "c", b"\xff\xd8")] * min(number, 2)
    page = render_report(create_summary(number), create_bars(number), [1.0] * number, pictures, failures)
    elements = Elements(page)
    assert elements.open == []
    assert not any(tag in {"script", "iframe", "object"} for tag, _ in elements.seen)
    fetched = [
        value for _, attributes in elements.seen for name, value in attributes.items() if name in {"src", "href"}
    ]
    assert all(value and value.startswith("data:") for value in fetched)
    assert "url(" not in page
    assert "@import" not in page


def test_texts_of_the_report_are_escaped() -> None:
    hostile = create_summary(1, flow=HOSTILE, run_id=HOSTILE, state=HOSTILE, started_at=HOSTILE, finished_at=HOSTILE)
    hostile["parameters"] = hostile["versions"] = {HOSTILE: HOSTILE}
    hostile["stages"] = {HOSTILE: hostile["items"], "two": hostile["items"]}
    page = render_report(
        hostile,
        [Bar(HOSTILE, 0, 1, HOSTILE, HOSTILE)],
        [1.0],
        [Picture(HOSTILE, HOSTILE, b"", HOSTILE)],
        [Failure(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1, HOSTILE), Failure("a", "b", "c", "d", 1, HOSTILE + "\n")],
    )
    assert "<script" not in page
    assert Elements(page).open == []
    assert all("alert" not in name for _, attributes in Elements(page).seen for name in attributes)


def test_report_of_ten_thousand_items_is_limited() -> None:
    failures = [Failure(f"bad-{place}", "frames", "crash", "signal 11", 2, "log") for place in range(1200)]
    page = render_report(create_summary(10_000), create_bars(10_000), [0.5] * 10_000, [], failures)
    assert page.count('class="item') <= MAX_BLOCKS + 50
    assert page.count('<td class="id">') == MAX_FAILURES
    assert "The first 500 of 1,200 failures; all of them are in failures.json." in page
    assert "10,000 items ran: neighbours of one stage and outcome are drawn as one block." in page


def test_report_shows_all_figures() -> None:
    text = re.sub(r"<[^>]+>", " ", render_report(create_summary(1234), create_bars(3), [1.0, 2.0, 3.0], [], []))
    for figure in (
        "1,234",
        "1 min 00 s",
        "1 min 50 s",
        "1.83×",
        "2.5 / s",
        "300 MiB",
        "execution.workers",
        "2026-01-02 03:05:05 UTC",
    ):
        assert figure in text, figure


def test_report_names_and_explains_the_state() -> None:
    message = "interrupted: 1 done; the same command goes on from here"
    assert message in render_report(create_summary(3, state="interrupted", message=message), [], [], [], [])
    page = render_report(create_summary(3, state="completed_with_failures", message="2 done, 1 failed"), [], [], [], [])
    assert '<span class="badge warn">completed with failures</span>' in page
    assert "2 done, 1 failed" not in page


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"total": 0}, "There was no item to run."),
        ({"total": 7, "cached": 7}, "every item was done by an earlier run"),
        ({"total": 7, "remaining": 7}, "No item ran."),
    ],
)
def test_empty_time_line_gives_the_reason(counts: dict[str, int], said: str) -> None:
    assert said in render_report(create_summary(items=counts, stages={}), [], [], [], [])


def test_summary_without_figures_renders_a_page() -> None:
    assert Elements(render_report({}, [], [], [], [])).open == []


def test_only_logs_of_the_run_are_linked() -> None:
    logs = (".headrace/logs/frames/a b.log", "javascript:alert(1)", "/etc/passwd", "")
    failures = [Failure(str(place), "frames", "crash", "", 1, log) for place, log in enumerate(logs)]
    links = [
        attributes.get("href")
        for tag, attributes in Elements(render_report({}, [], [], [], failures)).seen
        if tag == "a"
    ]
    assert links == [".headrace/logs/frames/a%20b.log"]


def test_lanes_are_naturally_sorted_and_failures_are_on_top() -> None:
    line = build_time_line(
        [Bar("slot 10", 0, 1, "a", "failed"), Bar("slot 2", 0, 4, "b", "done"), Bar("slot 10", 1, 2, "c", "done")], 4
    )
    assert line is not None
    assert [lane.slot for lane in line.lanes] == ["slot 2", "slot 10"]
    assert [block.outcome for block in line.lanes[1].blocks] == ["done", "failed"]
    assert [lane.busy_percent for lane in line.lanes] == [100.0, 50.0]


@pytest.mark.parametrize("slots", [1, 2, 64, 500])
def test_blocks_are_limited_and_inside_the_time_line(slots: int) -> None:
    line = build_time_line(create_bars(5000, slots), 0.0)
    assert line is not None
    blocks = [block for lane in line.lanes for block in lane.blocks]
    assert len(blocks) <= MAX_BLOCKS + len(line.lanes)
    assert all(block.x >= 0 and block.x + block.width <= 100.2 for block in blocks)


def test_histogram_counts_every_item() -> None:
    seconds = [0.1] * 50 + [0.2] * 30 + [9.0]
    shown = build_spread(seconds)
    assert shown is not None
    assert shown.logarithmic
    assert (shown.median, shown.longest) == (0.1, 9.0)
    counted = sum(int(column.title.split()[0].replace(",", "")) for column in shown.columns)
    assert counted == len(seconds)
    assert build_spread([]) is None
    assert build_spread([0.0, 0.0]) is not None


@pytest.mark.parametrize("span", [1e-6, 0.004, 0.9, 1, 7, 59, 61, 3599, 90_000, 5e6])
def test_axis_has_few_round_marks(span: float) -> None:
    marks = build_axis(span)
    assert 2 <= len(marks) <= 9
    assert marks[0].x == 0
    assert marks[-1].x <= 100.001


def test_report_formats_of_durations_memory_and_rates() -> None:
    assert [format_duration(s) for s in (0, 0.0124, 0.9999, 3.21, 59.96, 125, 3725)] == [
        "0 ms", "12 ms", "1.0 s", "3.2 s", "1 min 00 s", "2 min 05 s", "1 h 02 min",
    ]  # fmt: skip
    assert [format_memory(2**20 * 5), format_memory(3 * 2**29)] == ["5 MiB", "1.5 GiB"]
    assert [format_rate(0), format_rate(12.34), format_rate(0.5), format_rate(0.001)] == [
        "0 / s",
        "12.3 / s",
        "30 / min",
        "3.6 / h",
    ]
    assert flatten({"a": {"b": None, "c": [1]}, "d": 2}) == [("a.b", "–"), ("a.c", "[1]"), ("d", "2")]
