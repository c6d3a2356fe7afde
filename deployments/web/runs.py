"""Runs of flows in Prefect. No other module of the service imports Prefect.

Every call raises PrefectUnavailable with one sentence if the server does not answer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import httpx

from deployments.problems import NO_SERVER
from deployments.web.errors import PrefectUnavailable
from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.text import one_line

TAG = "upload-service"
_SECONDS = 15.0
_PAGE = 100  # runs per call
_TAGS = 50  # tags per call
_MAX_DETAIL = 200

Phase = Literal["waiting", "running", "done", "incomplete", "failed", "stopped", "stopping"]
_PHASES: Mapping[str, Phase] = {
    "SCHEDULED": "waiting",
    "PENDING": "waiting",
    "PAUSED": "waiting",
    "RUNNING": "running",
    "COMPLETED": "done",
    "FAILED": "failed",
    "CRASHED": "failed",
    "CANCELLED": "stopped",
    "CANCELLING": "stopping",
}
FINAL = frozenset({"done", "incomplete", "failed", "stopped"})


@dataclass(frozen=True)
class Run:
    """A run: its phase, the name of Prefect's state, and its message."""

    id: str
    phase: Phase
    name: str
    message: str

    @property
    def is_active(self) -> bool:
        """True if it has not ended."""
        return self.phase not in FINAL


@dataclass(frozen=True)
class Progress:
    """The progress of a run: percent, and a line per stage such as ``clean: 3/10 (30%), ...``."""

    percent: float = 0.0
    stages: tuple[str, ...] = ()


def check_address() -> None:
    """Raise InvalidInput if no Prefect server is named."""
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        raise InvalidInput([NO_SERVER])


class Runs:
    """A client of the Prefect server."""

    async def start(self, deployment: str, parameters: Mapping[str, Any], key: str, tag: str) -> None:
        """Start a run of ``deployment``, once per ``key``."""
        async with _connect(missing=f"has no deployment {deployment}") as client:
            found = await client.read_deployment_by_name(deployment)
            await client.create_flow_run_from_deployment(
                found.id, parameters=dict(parameters), idempotency_key=key, tags=[TAG, tag]
            )

    async def find(self, tag: str) -> Run | None:
        """Return the latest run with ``tag``; None if the server knows none."""
        return (await self.find_all([tag])).get(tag)

    async def find_all(self, tags: Sequence[str]) -> dict[str, Run]:
        """Return the latest run with each of ``tags``, if the server knows one."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

        latest: dict[str, Any] = {}
        for start in range(0, len(tags), _TAGS):
            wanted = tags[start : start + _TAGS]
            async for run in _read_runs(FlowRunFilter(tags=FlowRunFilterTags(all_=[TAG], any_=list(wanted)))):
                for tag in set(run.tags) & set(wanted):
                    if tag not in latest or _get_age_key(latest[tag]) < _get_age_key(run):
                        latest[tag] = run
        return {tag: _make_run(run) for tag, run in latest.items()}

    async def read_progress(self, run_id: str) -> Progress:
        """Return the progress of a run, from its progress artifact."""
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType
        from prefect.client.schemas.sorting import ArtifactSort

        only = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(run_id)]), type=ArtifactFilterType(any_=["progress"])
        )
        async with _connect() as client:
            artifacts = await client.read_artifacts(artifact_filter=only, sort=ArtifactSort.ID_DESC, limit=1)
        return _make_progress(*artifacts) if artifacts else Progress()

    async def cancel(self, run: Run) -> None:
        """Ask Prefect to cancel a run; nothing happens if it has ended or is unknown."""
        from prefect.exceptions import ObjectNotFound
        from prefect.states import Cancelling

        if not run.is_active or run.phase == "stopping":
            return
        async with _connect() as client:
            try:
                await client.set_flow_run_state(UUID(run.id), Cancelling())
            except ObjectNotFound:
                return

    async def count_by_state(self) -> Counter[str]:
        """Return the number of runs that the service has started, by the type of their state."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

        counts = Counter[str]()
        async for run in _read_runs(FlowRunFilter(tags=FlowRunFilterTags(all_=[TAG]))):
            counts[run.state.type.value.lower() if run.state else "pending"] += 1
        return counts


async def _read_runs(only: Any) -> AsyncIterator[Any]:
    """Yield all runs that match a filter."""
    from prefect.client.schemas.sorting import FlowRunSort

    offset = 0
    async with _connect() as client:
        while True:
            page = await client.read_flow_runs(
                flow_run_filter=only, sort=FlowRunSort.ID_DESC, limit=_PAGE, offset=offset
            )
            for run in page:
                yield run
            offset += len(page)
            if len(page) < _PAGE:
                return


def _get_age_key(run: Any) -> tuple[Any, str]:
    return run.created, str(run.id)


def _make_progress(artifact: Any) -> Progress:
    """Return what a progress artifact says: a list in Markdown, in which signs are escaped."""
    lines = (line.removeprefix("- ") for line in (artifact.description or "").splitlines())
    return Progress(float(artifact.data or 0), tuple(re.sub(r"\\([^\w\s])", r"\1", line) for line in lines if line))


def _make_run(run: Any) -> Run:
    state = run.state
    if state is None:
        return Run(str(run.id), "waiting", "Pending", "")
    phase = _PHASES[state.type.value]
    if phase == "done" and state.name == "Completed with failures":
        phase = "incomplete"
    return Run(str(run.id), phase, state.name, state.message or "")


@asynccontextmanager
async def _connect(missing: str = "does not know this run") -> AsyncIterator[Any]:
    """Yield a client; errors of the connection and of the server become PrefectUnavailable."""
    from prefect import get_client
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

    try:
        async with get_client(httpx_settings={"timeout": _SECONDS}) as client:
            yield client
    except ObjectNotFound:
        raise PrefectUnavailable(missing) from None
    except PrefectHTTPStatusError as error:
        raise PrefectUnavailable(_explain_status(error.response)) from None
    except (httpx.HTTPError, OSError, RuntimeError) as error:
        raise PrefectUnavailable(f"does not answer ({type(error).__name__})") from None


def _explain_status(response: httpx.Response) -> str:
    if response.status_code in {401, 403}:
        return "asks for a password: set PREFECT_API_AUTH_STRING for this service"
    if response.status_code in {409, 422}:
        return f"refuses the parameters of this run: {one_line(response.text)[:_MAX_DETAIL]}"
    return f"answered {response.status_code}"
