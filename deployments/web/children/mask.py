"""Check a mask: ``python -m deployments.web.children.mask FILE WIDTH HEIGHT``."""

from __future__ import annotations

import sys
from pathlib import Path

from deployments.web.children.program import run_program

_MEMORY_BYTES, _CPU_SECONDS = 4 << 30, 60


def check(path: str, width: str, height: str) -> bool:
    """Return True. Raises BadInput if the file is no mask for a video of that size."""
    from tasks.engine.contract.errors import BadInput, Problem
    from tasks.overlays.detection.mask.parsing import check_mask, parse_mask

    if Path(path).read_bytes()[:8] != b"\x89PNG\r\n\x1a\n":
        raise BadInput("it is not a PNG image")
    given = parse_mask(path)
    problem = given if isinstance(given, Problem) else check_mask(given, int(width), int(height), "the video")
    if isinstance(problem, Problem):
        raise BadInput(f"{problem.given}; allowed: {problem.allowed}")
    return True


if __name__ == "__main__":
    raise SystemExit(run_program(check, sys.argv[1:], _MEMORY_BYTES, _CPU_SECONDS))
