"""Local scratch of a run: where ``--stage-inputs`` puts its copies, and how they go away, however a run ended.

Its place follows from the output folder, in which one run at a time is at work: what lies there at the start of a run
was left by a dead one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tasks.engine.errors import RunError
from tasks.engine.files import bytes_text
from tasks.engine.items import Item
from tasks.engine.staging import input_size_bytes


def local_scratch(output_dir: Path, run_id: str) -> Path:
    """The folder on this host's scratch for the copies of one run. It is not made."""
    return _folder(output_dir) / run_id


def check_local_scratch(items: Sequence[Item], slots: int) -> None:
    """Raise RunError where this host's scratch has no room for the inputs of ``slots`` items at a time."""
    sizes = sorted((sum(input_size_bytes(path) for path in item.inputs) for item in items), reverse=True)
    needed, free = sum(sizes[:slots]), shutil.disk_usage(tempfile.gettempdir()).free
    if needed > free:
        place = f"{tempfile.gettempdir()} has {bytes_text(free)} free"
        raise RunError(
            f"--stage-inputs: {slots} items at a time need {bytes_text(needed)} of scratch, and {place}; "
            "free some space, set TMPDIR, or use fewer --workers"
        )


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
