"""Pages and files of runs, to which Prefect's artifacts link. :mod:`deployments.web.outputs` decides who sees which."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from deployments.web.access import User
from deployments.web.outputs import find_output, make_not_found
from deployments.web.pages import render
from deployments.web.routes.common import TheCore, describe_errors
from deployments.web.safe_headers import REPORT_POLICY
from tasks.engine.contract.errors import RunError

router = APIRouter()


@router.get("/runs/{path:path}", response_class=Response, responses=describe_errors())
def show_run(request: Request, path: str, user: User, core: TheCore) -> Response:
    """Show the last run of an output folder, or its report, its failures, the log of a failed item or an image."""
    try:
        folder, rest = find_output(core, user, path.rstrip("/"))
        if not rest:
            return render(
                request,
                "run.html",
                folder=folder,
                summary=folder.read_summary(),
                failures=folder.list_failures(),
                images=folder.list_images(),
            )
        content, kind = folder.read(rest)
    except (OSError, ValueError, RunError):  # it vanished, or no file has such a name
        raise make_not_found() from None
    headers = {"Content-Security-Policy": REPORT_POLICY} if kind == "text/html" else {}
    return Response(content, media_type=kind, headers=headers)
