"""The list of a user's uploads, as a page and as JSON."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from deployments.web.access import User
from deployments.web.pages import render
from deployments.web.presets import FLOWS
from deployments.web.routes.common import TheCore, describe_errors
from deployments.web.status import Status, list_statuses

router = APIRouter()


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
async def show_uploads(request: Request, user: User, core: TheCore) -> HTMLResponse:
    """Show the user's uploads, and the form for a new one."""
    statuses, problem = await list_statuses(core, core.store.list(user))
    used = core.store.measure(user)
    return render(
        request, "index.html", flows=FLOWS, uploads=statuses, problem=problem, used=used, settings=core.settings
    )


@router.get("/api/uploads", responses=describe_errors())
async def list_uploads(user: User, core: TheCore) -> list[Status]:
    """List the user's uploads, the newest first."""
    return (await list_statuses(core, core.store.list(user)))[0]
