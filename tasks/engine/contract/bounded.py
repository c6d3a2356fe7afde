"""Read files that may be larger, or nested deeper, than anything valid."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from tasks.engine.contract.placeholders import fill_placeholder


def read_at_most(path: Path, max_bytes: int) -> bytes:
    """Return the content of a plain file.

    Raises OSError if it cannot be read, ValueError if it is no plain file or has more than ``max_bytes``.
    """
    fill_placeholder(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe is not waited for
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a plain file")
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"larger than {max_bytes >> 20} MiB")
    return content


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON document. Raises ValueError if it is broken or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
