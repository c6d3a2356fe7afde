"""Counting processes by a mark in their environment, which everything that they start inherits; reading ledgers."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

MARK = "HEADRACE_TEST_MARK"
_PATIENCE_SECONDS = 60.0


def marked(mark: str) -> dict[int, str]:
    """Living processes that bear ``mark``, but for this one: their command lines by pid."""
    wanted = f"{MARK}={mark}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # gone meanwhile
            continue
    return found


def wait_until(
    true: Callable[[], object], what: str, seconds: float = _PATIENCE_SECONDS, every_seconds: float = 0.01
) -> None:
    """Return when ``true()`` holds; fail where it does not come to hold. What takes long is asked less often."""
    asked = time.monotonic()
    deadline = asked + seconds
    while not true():
        now = time.monotonic()
        assert now < deadline, f"waited {seconds:g} s in vain: {what}"
        time.sleep(max(every_seconds, min(4 * (now - asked), 0.25)))
        asked = time.monotonic()


def wait_until_gone(mark: str) -> None:
    """Return when no process bears ``mark``."""
    wait_until(lambda: not marked(mark), f"processes of the run are left: {marked(mark)}", 20.0)


def tries(ledger: Path, word: str = "start") -> Counter[str]:
    """How often each item was started (or ended), by id."""
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return Counter(line.split()[1] for line in lines if line.startswith(f"{word} "))
