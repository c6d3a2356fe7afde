"""Start programs of ``deployments.web.children`` and wait for their results."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.text import one_line

_ROOT = Path(__file__).resolve().parents[2]
_MAX_SENTENCE = 300
_STREAM_BYTES = 16 << 20


async def call_child(name: str, *arguments: object, seconds: float) -> Any:
    """Return the result of the program ``name``. Raises BadInput with one sentence if it fails or takes too long."""
    command = [sys.executable, "-m", f"deployments.web.children.{name}", *map(str, arguments)]
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "HEADRACE_WEB_"))
    }
    paths = filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**variables, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
        limit=_STREAM_BYTES,
    )
    try:
        output, complaints = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        raise BadInput(f"it took longer than {seconds:g} s to read") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if process.returncode == 0:
        return json.loads(output)
    raise BadInput(_explain(process.returncode, complaints.decode("utf-8", "replace")))


def _explain(code: int | None, complaints: str) -> str:
    from deployments.web.children.program import EXIT_REFUSED

    lines = complaints.strip().splitlines()
    if code == EXIT_REFUSED and lines:
        return one_line(lines[-1])[:_MAX_SENTENCE]
    return f"the program that reads it ended with {code}"
