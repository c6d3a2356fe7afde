"""Test report.html in a real browser: it renders, loads no resources, and causes no console messages."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.engine.reporting.report import Bar, Failure, Picture, render_report

DONE, FAILED = (0x1F, 0x77, 0xA8), (0xD1, 0x49, 0x5B)


def visit(browser: str, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open ``page`` headless; messages of the page's console are on standard error."""
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]
    away = [
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--enable-logging=stderr",
        f"--user-data-dir={page.parent / 'home'}",
    ]
    command = [browser, *quiet, *away, *options, page.as_uri()]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)


def find_console_messages(visited: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in visited.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    summary = {
        "flow": "dataset-prep",
        "run_id": "r1",
        "state": "completed",
        "started_at": "2026-01-02T03:04:05Z",
        "finished_at": "2026-01-02T03:04:15Z",
        "wall_seconds": 10.0,
        "items": {"total": 4, "done": 2, "cached": 1, "failed": 1, "remaining": 0},
        "stages": {},
        "slots": 2,
        "parameters": {"max_frames": 8},
        "versions": {"python": "3"},
    }
    bars = [Bar("0", 0, 6, "a", "done"), Bar("1", 0, 4, "b", "failed"), Bar("1", 4, 10, "c", "done")]
    green = np.full((40, 60, 3), (0, 200, 0), np.uint8)
    pictures = [Picture("a", "two frames", cv2.imencode(".png", green)[1].tobytes(), "image/png")]
    failures = [Failure("b", "frames", "bad_input", "<img src=x onerror=alert(1)>", 1, "one\ntwo")]
    path = tmp_path / "report.html"
    path.write_text(render_report(summary, bars, [6.0, 4.0, 6.0], pictures, failures), encoding="utf-8")
    return path


def test_report_renders_bars_images_and_failures(browser: str, page: Path) -> None:
    shot = page.with_name("shot.png")
    visited = visit(browser, page, "--window-size=1200,1600", f"--screenshot={shot}")
    assert find_console_messages(visited) == []
    pixels = cv2.cvtColor(cv2.imread(str(shot)), cv2.COLOR_BGR2RGB)
    for colour in (DONE, FAILED, (0, 200, 0)):
        assert (pixels == colour).all(axis=2).sum() > 500, f"nothing on the page has the colour {colour}"


def test_hostile_text_is_shown_as_text(browser: str, page: Path) -> None:
    visited = visit(browser, page, "--dump-dom")
    assert find_console_messages(visited) == []
    assert "&lt;img src=x onerror=alert(1)&gt;" in visited.stdout


def test_page_that_loads_resources_is_noticed(browser: str, page: Path) -> None:
    """The page's own policy refuses an external image, and the console reports it."""
    page.write_text(
        page.read_text(encoding="utf-8").replace("<main>", '<main><img src="http://example.invalid/x.png">')
    )
    assert find_console_messages(visit(browser, page, "--dump-dom"))
