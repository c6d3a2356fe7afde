"""The console command ``headrace``: load ``commands.py``, which runs it."""

from __future__ import annotations

import sys

from tasks.launcher.loading import ExitOnInterrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def start() -> NoReturn:
    """Run ``headrace`` as a program."""
    with ExitOnInterrupt():
        from tasks.launcher.commands import run_headrace
    code = run_headrace(sys.argv[1:])
    if sys.argv[1:2] == ["items"]:
        from tasks.engine.contract.parquet import end_process

        end_process(code)
    raise SystemExit(code)
