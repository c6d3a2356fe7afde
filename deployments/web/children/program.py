"""The frame of such a program: its limits, its result as JSON on standard output, and its errors in one sentence."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tasks.engine.contract.errors import HeadraceError

EXIT_REFUSED = 3


def run_program(read: Callable[..., Any], arguments: Sequence[str], memory_bytes: int, cpu_seconds: int) -> int:
    """Print what ``read`` returns for the ``arguments``, within limits; return the exit code."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    try:
        print(json.dumps(read(*arguments)))
    except HeadraceError as error:
        print(error, file=sys.stderr)
        return EXIT_REFUSED
    except MemoryError:
        print("it needs more memory than is allowed", file=sys.stderr)
        return EXIT_REFUSED
    return 0
