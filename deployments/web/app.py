"""The application: its routes, its answers to errors, and what it does in the background."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from deployments.web.access import Gate, read_secret
from deployments.web.core import Core
from deployments.web.errors import WebError, make_full_disk
from deployments.web.pages import answer_error
from deployments.web.receiving import FULL_DISK
from deployments.web.routes import choices, files, lists, metrics, outputs, runs, uploads
from deployments.web.running import sweep
from deployments.web.runs import Runs
from deployments.web.safe_headers import SafeHeaders
from deployments.web.settings import Settings
from deployments.web.store import Store

_STATIC = Path(__file__).with_name("static")


def create_app(settings: Settings) -> FastAPI:
    """Return the application for ``settings``; its folder must exist and be held."""
    app = FastAPI(
        title="Headrace uploads", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json", lifespan=_live
    )
    app.state.core = Core(settings, Store(settings.folder), Runs())
    app.state.gate = Gate(settings.users, read_secret(settings.folder))
    for module in (lists, uploads, choices, runs, files, outputs, metrics):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    app.add_exception_handler(WebError, _answer_web_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(OSError, _answer_os_error)
    app.add_middleware(SafeHeaders)
    return app


@asynccontextmanager
async def _live(app: FastAPI) -> AsyncIterator[None]:
    core: Core = app.state.core
    sweeper = asyncio.create_task(_sweep_forever(core))
    yield
    sweeper.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sweeper
    await core.cancel_jobs()


async def _sweep_forever(core: Core) -> None:
    while True:
        try:
            await sweep(core)
        except Exception:
            logging.getLogger(__name__).exception("the sweep failed; it is repeated")
        await asyncio.sleep(core.settings.sweep_seconds)


async def _answer_web_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, WebError)
    return answer_error(request, error)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return answer_error(
        request, WebError(error.status_code, f"{str(error.detail).rstrip('.')}.", dict(error.headers or {}))
    )


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return answer_error(request, WebError(422, f"{place}: {first['msg']}."))


async def _answer_os_error(request: Request, error: Exception) -> Response:
    """Answer an error of the disk outside an upload, such as a full disk under a record."""
    assert isinstance(error, OSError)
    if error.errno in FULL_DISK:
        return answer_error(request, make_full_disk())
    logging.getLogger(__name__).error("%s", error)
    return answer_error(request, WebError(503, "The server cannot read or write its files: try again later."))
