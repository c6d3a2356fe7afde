"""Uploads by tus 1.0, with its extensions creation, expiration and termination; and the page of an upload."""

from __future__ import annotations

import base64
import binascii
from email.utils import formatdate
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect

from deployments.web.access import SIGNED_IN, User
from deployments.web.completing import complete_upload, is_complete
from deployments.web.core import Core
from deployments.web.errors import WebError
from deployments.web.pages import render
from deployments.web.preparing import find_comparison, read_about, start_comparison, start_detection
from deployments.web.presets import FLOWS
from deployments.web.receiving import create_upload, get_offset, receive_bytes
from deployments.web.routes.common import TheCore, TheUpload, describe_errors
from deployments.web.running import delete_upload
from deployments.web.status import Status, read_status
from deployments.web.uploads import FlowKey, Upload

_VERSION = "1.0.0"
_TUS = {"Tus-Resumable": _VERSION}
_BYTES = "application/offset+octet-stream"
router = APIRouter()
_BODY = {"requestBody": {"content": {_BYTES: {"schema": {"type": "string", "format": "binary"}}}}}


def _check_version(tus_resumable: Annotated[str, Header()] = _VERSION) -> None:
    if tus_resumable != _VERSION:
        raise WebError(412, f"This server speaks version {_VERSION} of tus.", {"Tus-Version": _VERSION})


_CHECKED = [Depends(_check_version)]


@router.options("/api/uploads", status_code=204, dependencies=[SIGNED_IN], responses=describe_errors())
async def describe_tus(core: TheCore) -> Response:
    """Tell what the server supports."""
    extensions = "creation,expiration,termination"
    limits = {"Tus-Version": _VERSION, "Tus-Extension": extensions, "Tus-Max-Size": str(int(core.settings.max_size))}
    return Response(status_code=204, headers={**_TUS, **limits})


@router.post("/api/uploads", status_code=201, dependencies=_CHECKED, responses=describe_errors(412, 413, 507))
async def create(
    user: User,
    core: TheCore,
    upload_length: Annotated[int, Header(ge=0, le=2**53)],
    upload_metadata: Annotated[str, Header(max_length=4000)],
) -> Response:
    """Create an upload. The metadata hold ``filename``, ``flow`` and ``preset``, each in Base64."""
    metadata = _read_metadata(upload_metadata)
    flow = metadata.get("flow", "")
    if flow not in FLOWS:
        raise WebError(422, f"The metadata name no flow; allowed: {', '.join(FLOWS)}.")
    name, preset = metadata.get("filename", ""), metadata.get("preset", "")
    upload = create_upload(core, user, name, upload_length, cast("FlowKey", flow), preset)
    headers = {"Location": f"/api/uploads/{upload.id}", **_make_headers(core, upload)}
    return JSONResponse({"id": upload.id}, 201, headers)


@router.head("/api/uploads/{upload_id}", dependencies=_CHECKED, responses=describe_errors(412))
async def read_offset(upload: TheUpload, core: TheCore) -> Response:
    """Return in ``Upload-Offset`` where the upload continues."""
    return Response(headers=_make_headers(core, upload))


@router.patch(
    "/api/uploads/{upload_id}",
    status_code=204,
    openapi_extra=_BODY,
    dependencies=_CHECKED,
    responses=describe_errors(408, 409, 412, 413, 415, 423, 507),
)
async def send_bytes(
    request: Request, upload: TheUpload, core: TheCore, upload_offset: Annotated[int, Header(ge=0, le=2**53)]
) -> Response:
    """Append bytes at ``Upload-Offset``. With the last byte, the file is checked: 422 if it is not a video."""
    if request.headers.get("Content-Type", "") != _BYTES:
        raise WebError(415, f"Bytes are sent as {_BYTES}.")
    try:
        await receive_bytes(core, upload, upload_offset, request.stream())
    except ClientDisconnect:
        return Response(status_code=204)  # nobody reads it
    upload = await _check(core, upload)
    return Response(status_code=204, headers=_make_headers(core, upload))


async def _check(core: Core, upload: Upload) -> Upload:
    upload = core.store.get(upload.owner, upload.id)
    if not is_complete(core, upload):
        return upload
    upload = await complete_upload(core, upload)
    if upload.refusal:
        raise WebError(422, upload.refusal)
    start_detection(core, upload)
    return upload


@router.delete(
    "/api/uploads/{upload_id}", status_code=204, dependencies=_CHECKED, responses={**describe_errors(412), 202: {}}
)
async def remove(upload: TheUpload, core: TheCore) -> Response:
    """Delete an upload and its results. A run is cancelled first; 202 if it has not ended yet."""
    return Response(status_code=204 if await delete_upload(core, upload) else 202, headers=_TUS)


@router.get("/api/uploads/{upload_id}", responses=describe_errors())
async def read(upload: TheUpload, core: TheCore) -> Status:
    """Return the state of an upload and the progress of its run."""
    return await read_status(core, upload)


@router.get("/uploads/{upload_id}", response_class=HTMLResponse, include_in_schema=False)
async def show_upload(request: Request, upload: TheUpload, core: TheCore) -> HTMLResponse:
    """Show one upload."""
    start_comparison(core, upload)
    folder, comparison = core.locate(upload), find_comparison(core, upload)
    return render(
        request,
        "upload.html",
        upload=upload,
        status=await read_status(core, upload),
        flow=FLOWS[upload.flow],
        detection=read_about(folder.detection),
        comparison=read_about(comparison) if comparison else None,
        has_report=(folder.output / "report.html").is_file(),
        expires_at=formatdate(_get_expiry(core, upload), usegmt=True),
    )


def _make_headers(core: Core, upload: Upload) -> dict[str, str]:
    return {
        **_TUS,
        "Upload-Offset": str(get_offset(core, upload)),
        "Upload-Length": str(upload.size_bytes),
        "Upload-Expires": formatdate(_get_expiry(core, upload), usegmt=True),
    }


def _get_expiry(core: Core, upload: Upload) -> float:
    hours = core.settings.expiry_hours if upload.video else core.settings.stalled_hours
    return upload.changed_at + 3600 * hours


def _read_metadata(header: str) -> dict[str, str]:
    """Return the metadata of tus: keys and Base64, separated by commas. Raises WebError if they are damaged."""
    try:
        pairs = [part.strip().split(" ", 1) for part in header.split(",") if part.strip()]
        return {pair[0]: base64.b64decode(pair[1] if pair[1:] else "", validate=True).decode() for pair in pairs}
    except (binascii.Error, ValueError):
        raise WebError(422, "Upload-Metadata holds keys and values in Base64, separated by commas.") from None
