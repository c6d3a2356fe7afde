"""Make what pages show from videos: detected overlays before a run, frames before and after it.

Each is a folder that a child process fills and that appears whole. After a restart, a missing one is made again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deployments.web.child import call_child
from deployments.web.core import Core
from deployments.web.results import find_video
from deployments.web.uploads import Upload
from tasks.engine.contract.errors import BadInput

FRAMES = 8
_ABOUT = "about.json"
_DETECTION_SECONDS, _COMPARISON_SECONDS = 1800.0, 900.0


def read_about(folder: Path) -> dict[str, Any] | None:
    """Return what the program has written about the images in ``folder``; None if it is not made yet."""
    try:
        about: dict[str, Any] = json.loads((folder / _ABOUT).read_bytes())
    except OSError:
        return None
    return about


def start_detection(core: Core, upload: Upload) -> None:
    """Detect overlays in the background unless that was done."""
    folder = core.locate(upload)
    if upload.flow != "overlays" or upload.video is None or upload.deleting or folder.detection.exists():
        return
    video = folder.get_video(upload.video.suffix)

    async def detect() -> None:
        await _fill(folder.detection, "detect", _DETECTION_SECONDS, FRAMES, video)

    core.start_job(f"{upload.id} detection", detect, core.searches)


def start_comparison(core: Core, upload: Upload) -> None:
    """Extract frames before and after the last run in the background unless that was done."""
    folder = core.locate(upload)
    after = find_video(upload, folder)
    if upload.video is None or after is None or upload.deleting:
        return
    try:
        status = after.stat()
    except FileNotFoundError:  # a new run has removed it
        return
    version = f"{status.st_mtime_ns}-{status.st_size}"
    target = folder.comparison / version
    if target.exists():
        return
    videos = [folder.get_video(upload.video.suffix), after]

    async def compare() -> None:
        shutil.rmtree(folder.comparison, ignore_errors=True)
        folder.comparison.mkdir()
        await _fill(target, "frames", _COMPARISON_SECONDS, FRAMES, *videos)

    core.start_job(f"{upload.id} comparison", compare, core.searches)


def find_comparison(core: Core, upload: Upload) -> Path | None:
    """Return the folder of the frames before and after; None if it is not made yet."""
    folders = sorted(path for path in core.locate(upload).comparison.glob("*-*") if not path.name.startswith("."))
    return folders[-1] if folders else None


async def _fill(target: Path, program: str, seconds: float, *arguments: object) -> None:
    """Let ``program`` write into a folder that becomes ``target``; its failure is recorded there."""
    aside = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        about = await call_child(program, aside, *arguments, seconds=seconds)
    except BadInput as error:
        about = {"error": str(error)}
    (aside / _ABOUT).write_text(json.dumps(about))
    aside.rename(target)


def list_boxes(about: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """Return the detected overlays."""
    boxes: list[dict[str, Any]] = about.get("overlays", [])
    return boxes
