"""The user's choice of overlays: boxes and times as JSON, a painted mask as PNG."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from fastapi.responses import Response

from deployments.web.child import call_child
from deployments.web.core import Core
from deployments.web.errors import WebError
from deployments.web.routes.common import TheCore, TheUpload, describe_errors
from deployments.web.running import check_can_change
from deployments.web.uploads import Choice, Upload
from tasks.engine.contract.errors import BadInput

router = APIRouter()
_MAX_MASK_BYTES = 8 << 20
_MASK_SECONDS = 60.0
_BODY = {"requestBody": {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}}


@router.get("/api/uploads/{upload_id}/choice", responses=describe_errors())
async def read_choice(upload: TheUpload) -> Choice:
    """Return which overlays the next run removes."""
    return upload.choice


@router.put("/api/uploads/{upload_id}/choice", responses=describe_errors(400, 409))
async def choose(upload: TheUpload, core: TheCore, choice: Choice) -> Choice:
    """Set which overlays the next run removes. ``mask`` is True if the mask that was sent before is used."""
    await _check_changeable(core, upload)
    _check_choice(core, upload, choice)
    core.store.update(upload, choice=choice, changed_at=time.time())
    return choice


@router.put("/api/uploads/{upload_id}/mask", status_code=204, openapi_extra=_BODY, responses=describe_errors(409, 413))
async def send_mask(request: Request, upload: TheUpload, core: TheCore) -> Response:
    """Store a mask: a PNG of the size of the video, white where the overlay is."""
    await _check_changeable(core, upload)
    data = await _read_body(request)
    folder = core.locate(upload)
    aside = folder.mask.with_name("mask.tmp.png")
    aside.write_bytes(data)
    assert upload.video is not None, "it is complete"
    try:
        await call_child("mask", aside, upload.video.width, upload.video.height, seconds=_MASK_SECONDS)
        aside.replace(folder.mask)
    except BadInput as error:
        raise WebError(422, f"The mask cannot be used: {str(error).replace(aside.name, 'it')}") from None
    finally:
        aside.unlink(missing_ok=True)
    return Response(status_code=204)


async def _read_body(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MAX_MASK_BYTES:
            raise WebError(413, f"A mask has at most {_MAX_MASK_BYTES >> 20} MiB.")
    return bytes(data)


async def _check_changeable(core: Core, upload: Upload) -> None:
    if upload.flow != "overlays":
        raise WebError(409, "Only the removal of overlays has boxes and masks.")
    await check_can_change(core, upload)


def _check_choice(core: Core, upload: Upload, choice: Choice) -> None:
    video = upload.video
    assert video is not None, "it is complete"
    for box in choice.boxes:
        if box.x + box.width > video.width or box.y + box.height > video.height:
            raise WebError(422, f"The box {box} leaves the frame of {video.width}x{video.height}.")
        if box.width * box.height == video.width * video.height:
            raise WebError(422, f"The box {box} covers the whole frame.")
    for part in choice.times:
        if not part.start < part.end or part.start >= video.seconds:
            raise WebError(422, f"{part} is not a part of the video, which has {video.seconds:.3f} s.")
    if choice.mask and not core.locate(upload).mask.is_file():
        raise WebError(422, "No mask was sent.")
