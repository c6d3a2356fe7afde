"""Health checks, and metrics for Prometheus. They name no users and no files."""

from __future__ import annotations

import hmac
import shutil
from collections import Counter

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse

from deployments.web.core import Core
from deployments.web.errors import PrefectUnavailable, WebError
from deployments.web.results import read_summary
from deployments.web.routes.common import TheCore, describe_errors

router = APIRouter()
_KIND = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/health", response_class=PlainTextResponse)
async def answer_health_check() -> str:
    """Answer a health check; it needs no token."""
    return "ok"


@router.get("/metrics", response_class=PlainTextResponse, responses=describe_errors())
async def show_metrics(request: Request, core: TheCore) -> PlainTextResponse:
    """Return runs, items, failures and disk space in Prometheus' text format."""
    _check_token(request, core.settings.metrics_token)
    try:
        runs, is_up = await core.runs.count_by_state(), True
    except PrefectUnavailable:
        runs, is_up = Counter[str](), False
    lines = [*_list_uploads(core), *_list_disk(core)]
    lines += _format("headrace_prefect_up", "1 if the Prefect server answers", {"": int(is_up)})
    if is_up:
        labeled = {f'state="{state}"': count for state, count in sorted(runs.items())}
        lines += _format("headrace_runs", "Runs that the service has started, by state", labeled)
    return PlainTextResponse("\n".join(lines) + "\n", media_type=_KIND)


def _check_token(request: Request, token: str) -> None:
    if not token:
        raise WebError(404, "Metrics are off: set HEADRACE_WEB_METRICS_TOKEN.")
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
    if not hmac.compare_digest(given, token.encode()):
        raise WebError(401, "Metrics need their own token.", {"WWW-Authenticate": "Bearer"})


def _list_uploads(core: Core) -> list[str]:
    kinds, items, size = Counter[str](), Counter[str](), 0
    for upload in core.store.list_all():
        kinds["refused" if upload.refusal else "complete" if upload.video else "incomplete"] += 1
        counts = read_summary(core.locate(upload)).get("items", {})
        items.update({name: counts.get(name, 0) for name in ("done", "cached", "failed", "remaining")})
        size += upload.size_bytes
    items.setdefault("failed", 0)
    return [
        *_format(
            "headrace_uploads", "Stored uploads", {f'state="{kind}"': count for kind, count in sorted(kinds.items())}
        ),
        *_format("headrace_upload_bytes", "Size of the uploaded files", {"": size}),
        *_format(
            "headrace_items",
            "Items of the last run of each stored upload, by outcome",
            {f'outcome="{name}"': count for name, count in sorted(items.items())},
        ),
        *_format("headrace_failures", "Failed items of these runs", {"": items["failed"]}),
    ]


def _list_disk(core: Core) -> list[str]:
    usage = shutil.disk_usage(core.settings.folder)
    return [
        *_format("headrace_disk_free_bytes", "Free space on the disk of the uploads", {"": usage.free}),
        *_format("headrace_disk_total_bytes", "Size of that disk", {"": usage.total}),
    ]


def _format(name: str, text: str, values: dict[str, int]) -> list[str]:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
    return [*lines, *(f"{name}{{{label}}} {value}" if label else f"{name} {value}" for label, value in values.items())]
