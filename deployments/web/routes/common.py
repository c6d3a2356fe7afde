"""What routes share: the upload of a request, and the answers that the schema lists."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import BaseModel

from deployments.web.access import User
from deployments.web.core import Core
from deployments.web.uploads import Upload


class ErrorAnswer(BaseModel):
    """An error: one sentence."""

    detail: str


def describe_errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a route for the schema."""
    return {code: {"model": ErrorAnswer} for code in (401, 403, 404, 422, 503, *codes)}


def _get_core(request: Request) -> Core:
    core: Core = request.app.state.core
    return core


TheCore = Annotated[Core, Depends(_get_core)]


def _get_upload(upload_id: str, user: User, core: TheCore) -> Upload:
    return core.store.get(user, upload_id)


TheUpload = Annotated[Upload, Depends(_get_upload)]
