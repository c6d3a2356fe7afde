"""Local scratch of a run: where ``--stage-inputs`` puts its copies, and how they go away, however a run ended.

Its place follows from the output folder, in which one run at a time is at work: what lies there at the start of a run
was left by a dead one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path


def local_scratch(output_dir: Path, run_id: str) -> Path:
    """The folder on this host's scratch for the copies of one run. It is not made."""
    return _folder(output_dir) / run_id


def sweep_local_scratch(output_dir: Path, but: str = "") -> None:
    """Remove what runs into ``output_dir`` left on this host's scratch, but for the run ``but``."""
    folder = _folder(output_dir)
    if not folder.is_dir():
        return
    for run in folder.iterdir():
        if run.name != but:
            shutil.rmtree(run, ignore_errors=True)
    if not but:
        shutil.rmtree(folder, ignore_errors=True)


def _folder(output_dir: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(output_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"headrace-{os.getuid()}-{digest}")
