"""Drive pages in a real Chromium by Playwright."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

PATIENCE_MS = 600_000  # tests end by progress, see tests.engine.processes
_OPTIONS = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]  # no other host is asked


@contextmanager
def start_chromium(program: str) -> Iterator[Browser]:
    """Start a browser; end it with the block.

    The event loop of this thread runs meanwhile, so that no other test may use one: use it in fixtures of a module.
    """
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=_OPTIONS)
        yield running
        running.close()


@contextmanager
def open_page(browser: Browser, address: str, **options: Any) -> Iterator[Page]:
    """Open a page without cookies whose relative addresses start at ``address``."""
    context = browser.new_context(base_url=address, **options)
    context.set_default_timeout(PATIENCE_MS)
    try:
        yield context.new_page()
    finally:
        context.close()


def save_screenshot(page: Page, folder: Path, name: str) -> None:
    """Write NAME.png to HEADRACE_SCREENSHOTS, or to ``folder``."""
    page.screenshot(path=Path(os.environ.get("HEADRACE_SCREENSHOTS") or folder) / f"{name}.png")
