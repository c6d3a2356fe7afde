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
from tasks.engine.items import Item


def local_scratch(output_dir: Path, run_id: str) -> Path:
    """The folder on this host's scratch for the copies of one run. It is not made."""
    return _folder(output_dir) / run_id


def check_local_scratch(items: Sequence[Item], slots: int) -> None:
    """Raise RunError where this host's scratch has no room for the inputs of ``slots`` items at a time."""
    sizes = sorted((sum(_size_bytes(path) for path in item.inputs) for item in items), reverse=True)
    needed, free = sum(sizes[:slots]), shutil.disk_usage(tempfile.gettempdir()).free
    if needed > free:
        place = f"{tempfile.gettempdir()} has {free / 2**20:.0f} MiB free"
        raise RunError(
            f"--stage-inputs: {slots} items at a time need {needed / 2**20:.0f} MiB of scratch, and {place}; "
            "make room, set TMPDIR, or take fewer --workers"
        )


def _size_bytes(path: str) -> int:
    """Size of a file, or of all files in a folder; 0 where it cannot be read, which the item will say."""
    try:
        if os.path.isdir(path):
            return sum(_size_bytes(entry.path) for entry in os.scandir(path))
        return os.stat(path).st_size
    except OSError:
        return 0


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
