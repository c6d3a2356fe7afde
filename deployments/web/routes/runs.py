"""Start and cancel the run of an upload."""

from __future__ import annotations

from fastapi import APIRouter

from deployments.web.routes.common import TheCore, TheUpload, describe_errors
from deployments.web.running import cancel_run, start_run
from deployments.web.status import Status, read_status

router = APIRouter()


@router.post("/api/uploads/{upload_id}/run", status_code=202, responses=describe_errors(409))
async def start(upload: TheUpload, core: TheCore) -> Status:
    """Start a run, or repeat it: finished parts are kept."""
    return await read_status(core, await start_run(core, upload))


@router.post("/api/uploads/{upload_id}/cancel", status_code=202, responses=describe_errors())
async def cancel(upload: TheUpload, core: TheCore) -> Status:
    """Cancel the run. Finished parts are kept."""
    await cancel_run(core, upload)
    return await read_status(core, upload)
