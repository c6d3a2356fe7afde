"""Start, cancel and remove runs and uploads."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from deployments.web.completing import is_complete, place_video, start_check
from deployments.web.core import Core
from deployments.web.errors import PrefectUnavailable, WebError
from deployments.web.preparing import start_detection
from deployments.web.presets import build_parameters
from deployments.web.runs import Run
from deployments.web.uploads import Upload
from tasks.engine.store.layout import Layout
from tasks.engine.store.lock import Owner

_HOUR_SECONDS = 3600.0
_UNKNOWN_OWNER_SECONDS = 120.0


async def check_can_change(core: Core, upload: Upload) -> Run | None:
    """Return the last run. Raises WebError unless the upload is complete and no run uses it."""
    if upload.deleting:
        raise WebError(409, "This upload is being deleted.")
    if upload.video is None:
        raise WebError(409, "The upload is not complete yet: wait until its video has been checked.")
    run = await core.runs.find(upload.tag)
    if run is not None and run.is_active:
        raise WebError(409, "A run is working on this video: wait until it ends, or cancel it.")
    return run


async def start_run(core: Core, upload: Upload) -> Upload:
    """Start a run on a complete upload. A repeated request, also after a crash, does not start a second one."""
    last = await check_can_change(core, upload)
    await core.runs.start(
        core.settings.deployments[upload.flow],
        build_parameters(upload, core.locate(upload)),
        f"{upload.tag}:{last.id if last else 'first'}",
        upload.tag,
    )
    return core.store.update(upload, changed_at=time.time())


async def cancel_run(core: Core, upload: Upload) -> None:
    """Cancel the last run if it has not ended."""
    if run := await core.runs.find(upload.tag):
        await core.runs.cancel(run)


async def delete_upload(core: Core, upload: Upload) -> bool:
    """Remove an upload, after its run has ended; return False if that takes longer. The sweep continues it."""
    upload = core.store.update(upload, deleting=True)
    await core.cancel_jobs(upload.id)
    if not await _is_idle(core, upload):
        return False
    await core.store.remove(upload)
    return True


async def _is_idle(core: Core, upload: Upload) -> bool:
    """Cancel the run; return True if nothing writes into the folder any more."""
    try:
        await cancel_run(core, upload)
        if await _may_be_active(core, upload):
            return False
    except PrefectUnavailable:
        return False
    return not is_locked(core.locate(upload).output)


def is_locked(output: Path) -> bool:
    """Return True if a run may still write into ``output``: it may be final in Prefect before its process ends."""
    path = Layout(output).lock
    try:
        owner, touched = Owner.decode(path.read_bytes()), path.stat().st_mtime
    except OSError:
        return False
    if owner is None:
        return time.time() - touched < _UNKNOWN_OWNER_SECONDS
    is_alive = owner.process.is_alive()
    return is_alive is True or (is_alive is None and time.time() - touched < 2 * owner.seconds)


async def sweep(core: Core) -> None:
    """Remove expired uploads, and continue what a restart or a run has interrupted."""
    core.store.sweep()
    for upload in list(core.store.list_all()):
        try:
            await _sweep_upload(core, upload)
        except (OSError, WebError) as error:  # others must not wait for it
            logging.getLogger(__name__).warning("the upload %s cannot be swept: %s", upload.id, error)


async def _sweep_upload(core: Core, upload: Upload) -> None:
    if upload.deleting or (_is_expired(core, upload) and not await _may_be_active(core, upload)):
        await delete_upload(core, upload)
    elif upload.id in core.receiving:
        return
    elif is_complete(core, upload):
        start_check(core, upload)
    else:
        start_detection(core, place_video(core, upload))


def _is_expired(core: Core, upload: Upload) -> bool:
    hours = core.settings.expiry_hours if upload.video else core.settings.stalled_hours
    return time.time() - upload.changed_at > _HOUR_SECONDS * hours and upload.id not in core.receiving


async def _may_be_active(core: Core, upload: Upload) -> bool:
    try:
        run = await core.runs.find(upload.tag)
    except PrefectUnavailable:
        return True
    return run is not None and run.is_active
