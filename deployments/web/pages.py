"""Render pages, and errors as a page or as JSON."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, PackageLoader, select_autoescape
from pydantic import ByteSize

from deployments.web.access import Gate
from deployments.web.errors import WebError
from tasks.engine.contract.text import showable

_PAGES = Environment(
    loader=PackageLoader("deployments.web"),
    autoescape=select_autoescape(default=True),
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters["size"] = lambda value: ByteSize(value).human_readable()
_PAGES.filters["showable"] = showable


def render(request: Request, template: str, code: int = 200, **values: Any) -> HTMLResponse:
    """Return a page for the user of ``request``."""
    user = getattr(request.state, "user", None)
    gate: Gate = request.app.state.gate
    token = gate.make_page_token(user) if user else ""
    page = _PAGES.get_template(template).render(user=user, token=token, **values)
    return HTMLResponse(page, code)


def answer_error(request: Request, error: WebError) -> Response:
    """Return an error as a page if a browser shows it, else as JSON."""
    shows_page = "text/html" in request.headers.get("Accept", "") and not request.url.path.startswith("/api/")
    if shows_page:
        response: Response = render(request, "error.html", error.status, sentence=error.sentence)
    else:
        response = JSONResponse({"detail": error.sentence}, error.status)
    response.headers.update(error.headers)
    return response
