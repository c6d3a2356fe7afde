"""Files of an upload: the result, the report, and images. No path of a request is used as a path on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, Response, StreamingResponse

from deployments.web.errors import WebError
from deployments.web.preparing import FRAMES, find_comparison
from deployments.web.results import find_log, find_report, find_video, iterate_zip, list_results, name_result
from deployments.web.routes.common import TheCore, TheUpload, describe_errors
from deployments.web.safe_headers import REPORT_POLICY

router = APIRouter()
Number = Annotated[int, PathParameter(ge=0, lt=FRAMES)]


@router.get("/uploads/{upload_id}/result", response_class=Response, responses=describe_errors())
async def download(upload: TheUpload, core: TheCore) -> Response:
    """Download the result: a video, or a ZIP file of frames."""
    folder = core.locate(upload)
    video = find_video(upload, folder)
    if video is not None:
        kind = "application/octet-stream"
        return _send(video, kind, filename=name_result(upload, video.suffix))
    paths = list_results(upload, folder)
    if not paths:
        raise WebError(404, "There is no result yet.")
    name = name_result(upload, ".zip").encode("ascii", "replace").decode().replace('"', "_").replace("\\", "_")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(iterate_zip(paths, folder.output), media_type="application/zip", headers=headers)


@router.get("/uploads/{upload_id}/report", response_class=Response, responses=describe_errors())
async def show_report(upload: TheUpload, core: TheCore) -> Response:
    """Show the report of the last run."""
    report = find_report(core.locate(upload))
    if report is None:
        raise WebError(404, "There is no report yet.")
    return _send(report, "text/html", headers={"Content-Security-Policy": REPORT_POLICY})


@router.get("/uploads/{upload_id}/.headrace/logs/{stage}/{name}", response_class=Response, responses=describe_errors())
async def show_log(upload: TheUpload, core: TheCore, stage: str, name: str) -> Response:
    """Show the log of a failed item; the report links to it."""
    log = find_log(core.locate(upload), stage, name)
    if log is None:
        raise WebError(404, "There is no such log.")
    return _send(log, "text/plain; charset=utf-8")


@router.get("/uploads/{upload_id}/frames/{number}", response_class=Response, responses=describe_errors())
async def show_frame(upload: TheUpload, core: TheCore, number: Number) -> Response:
    """Show a frame of the video."""
    return _send_image(core.locate(upload).detection / f"{number}-0.jpg")


@router.get("/uploads/{upload_id}/before/{number}", response_class=Response, responses=describe_errors())
async def show_before(upload: TheUpload, core: TheCore, number: Number) -> Response:
    """Show a frame before the run."""
    return _send_image((find_comparison(core, upload) or Path()) / f"{number}-0.jpg")


@router.get("/uploads/{upload_id}/after/{number}", response_class=Response, responses=describe_errors())
async def show_after(upload: TheUpload, core: TheCore, number: Number) -> Response:
    """Show the same frame after the run."""
    return _send_image((find_comparison(core, upload) or Path()) / f"{number}-1.jpg")


@router.get("/uploads/{upload_id}/mask", response_class=Response, responses=describe_errors())
async def show_mask(upload: TheUpload, core: TheCore) -> Response:
    """Show the mask that the user painted."""
    return _send_image(core.locate(upload).mask, "image/png")


def _send_image(path: Path, kind: str = "image/jpeg") -> Response:
    if not path.is_absolute() or not path.is_file():
        raise WebError(404, "There is no such image.")
    return _send(path, kind, headers={"Cache-Control": "private, no-cache"})


def _send(path: Path, kind: str, **options: Any) -> FileResponse:
    """Return a file that may vanish at any time, because a run works in its folder."""
    return FileResponse(path, media_type=kind, stat_result=path.stat(), **options)
