"""Settings of the upload service, from environment variables ``HEADRACE_WEB_*``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, ValidationError

from deployments.web.users import Users, read_users
from tasks.engine.contract.errors import InvalidInput, Problem

PREFIX = "HEADRACE_WEB_"
_HOURS_OF_A_DAY = 24.0
Hours = Annotated[float, Field(gt=0, le=24 * 3650)]
Address = Annotated[str, Field(pattern=r"^(https?://[^\s()<>\\\"]+)?$")]
DeploymentName = Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")]


def _split_folders(value: object) -> object:
    return [Path(part).expanduser() for part in value.split(os.pathsep) if part] if isinstance(value, str) else value


def _split_names(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _check_absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("absolute paths of folders")
    return path


Folders = Annotated[tuple[Annotated[Path, AfterValidator(_check_absolute)], ...], BeforeValidator(_split_folders)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split_names)]


class Settings(BaseModel):
    """Settings of the service. Each field is the variable ``HEADRACE_WEB_`` plus its name in capitals.

    folder         all uploads and results; a worker must see it at the same path
    users          NAME:TOKEN pairs, separated by commas; ``users_file`` has one per line
    max_size       maximum size of a video
    quota          maximum size of everything of one user, results included
    reserve        space that must stay free on the disk of ``folder``
    expiry_hours   an upload is deleted this long after its last change
    stalled_hours  an incomplete upload is deleted this long after its last byte
    stall_seconds  a connection that sends nothing for this long is closed
    *_deployment   the Prefect deployment of each flow
    metrics_token  bearer token for /metrics; without it, there are no metrics
    url            address of the service for its users; flows with the same variable link their runs to it
    outputs        folders with output folders of runs that ``viewers`` may see, separated by ``:``
    viewers        names of users, separated by commas
    prefect_ui     address of the Prefect UI, to which the list of uploads links
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    folder: Path
    users: Users
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 4280
    max_size: ByteSize = ByteSize(20 << 30)
    quota: ByteSize = ByteSize(100 << 30)
    reserve: ByteSize = ByteSize(1 << 30)
    expiry_hours: Hours = 14 * _HOURS_OF_A_DAY
    stalled_hours: Hours = _HOURS_OF_A_DAY
    stall_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    sweep_seconds: Annotated[float, Field(gt=0, le=3600)] = 30.0
    overlays_deployment: DeploymentName = "overlay-removal/default"
    tapes_deployment: DeploymentName = "vhs-batch/default"
    frames_deployment: DeploymentName = "dataset-prep/default"
    metrics_token: str = ""
    url: Address = ""
    outputs: Folders = ()
    viewers: Names = ()
    prefect_ui: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = ""

    @property
    def deployments(self) -> Mapping[str, str]:
        """The deployment of each flow, by the flow's key."""
        return {
            "overlays": self.overlays_deployment,
            "tapes": self.tapes_deployment,
            "frames": self.frames_deployment,
        }


def read_settings(variables: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in the environment. Raises InvalidInput with every problem."""
    variables = os.environ if variables is None else variables
    given = {name.removeprefix(PREFIX).lower(): value for name, value in variables.items() if name.startswith(PREFIX)}
    users, problems = read_users(given.pop("users", ""), given.pop("users_file", ""))
    try:
        settings = Settings(**{**given, "users": users})
    except ValidationError as error:
        raise InvalidInput([*problems, *map(_make_problem, error.errors())]) from None
    problems += _check_viewers(settings)
    if problems:
        raise InvalidInput(problems)
    return settings.model_copy(update={"folder": settings.folder.expanduser().absolute()})


def _check_viewers(settings: Settings) -> list[Problem]:
    """Return the problems of ``viewers``: unknown names, or none although there is something to see."""
    name, users = f"{PREFIX}VIEWERS", ", ".join(settings.users.digests)
    unknown = [viewer for viewer in settings.viewers if viewer not in settings.users.digests]
    problems = [
        Problem(name, f"{viewer!r} is no user", f"names of users ({users})", "correct it") for viewer in unknown
    ]
    if settings.outputs and not settings.viewers:
        advice = f"name the users who may see the runs in {PREFIX}OUTPUTS"
        problems.append(Problem(name, "not set", f"names of users ({users})", advice))
    return problems


def _make_problem(error: Mapping[str, object]) -> Problem:
    name = ".".join(str(part) for part in error["loc"])  # type: ignore[attr-defined]
    if error["type"] == "missing":
        return Problem(f"{PREFIX}{name.upper()}", "not set", "a value", "see docs/upload.md")
    if error["type"] == "extra_forbidden":
        return Problem(
            f"{PREFIX}{name.upper()}", "no such setting", "the settings in docs/upload.md", "correct the name"
        )
    return Problem(
        f"{PREFIX}{name.upper()}", repr(error["input"]), str(error["msg"]).removeprefix("Value error, "), "correct it"
    )
