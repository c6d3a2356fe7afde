"""Check a complete upload by opening it: only videos are kept."""

from __future__ import annotations

import asyncio

from deployments.web.child import call_child
from deployments.web.core import Core
from deployments.web.uploads import Upload, Video
from tasks.engine.contract.errors import BadInput

_SECONDS = 3600.0  # the limit of its processor time ends it earlier


def is_complete(core: Core, upload: Upload) -> bool:
    """Return True if all bytes have arrived, but were not checked yet."""
    waits = upload.video is None and not upload.refusal and not upload.deleting
    return waits and core.locate(upload).received_bytes == upload.size_bytes


async def complete_upload(core: Core, upload: Upload) -> Upload:
    """Check a complete upload, also if its client does not wait for that; return the upload as it is then."""
    await asyncio.wait([start_check(core, upload)])  # not cancelled with this request
    return core.store.get(upload.owner, upload.id)


def start_check(core: Core, upload: Upload) -> asyncio.Task[None]:
    """Check a complete upload in the background, once at a time."""

    async def check() -> None:
        current = core.store.get(upload.owner, upload.id)
        if is_complete(core, current):
            await _check(core, current)

    return core.start_job(f"{upload.id} check", check, core.checks)


async def _check(core: Core, upload: Upload) -> None:
    """Open the video and move it to its place; remove it if it is not a video. It may be interrupted and repeated."""
    folder = core.locate(upload)
    try:
        video = Video(**await call_child("probe", folder.part, seconds=_SECONDS))
    except BadInput as error:
        reason = str(error).replace(folder.part.name, upload.name)
        core.store.update(upload, refusal=f"This file is not a video that can be read: {reason}")
        folder.part.unlink(missing_ok=True)
        return
    place_video(core, core.store.update(upload, video=video))


def place_video(core: Core, upload: Upload) -> Upload:
    """Move a checked video to its place, if that was interrupted."""
    folder = core.locate(upload)
    if upload.video and folder.part.exists():
        folder.input.mkdir(exist_ok=True)
        folder.part.replace(folder.get_video(upload.video.suffix))
    return upload
