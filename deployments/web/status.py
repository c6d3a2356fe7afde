"""The state of an upload in one word and one sentence, for pages and the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from deployments.web.completing import is_complete
from deployments.web.core import Core
from deployments.web.errors import PrefectUnavailable
from deployments.web.preparing import find_comparison, list_boxes, read_about
from deployments.web.receiving import get_offset
from deployments.web.results import list_failures, list_results
from deployments.web.runs import Progress, Run
from deployments.web.uploads import Upload
from tasks.engine.reporting.summary import RETRY

State = Literal[
    "receiving", "checking", "refused", "detecting", "ready", "waiting", "running", "stopping", "done", "incomplete",
    "failed", "stopped", "deleting", "unknown",
]  # fmt: skip
_SENTENCES: Mapping[str, str] = {
    "waiting": "The run waits for a worker.",
    "running": "The run is in progress.",
    "stopping": "The run is being cancelled.",
    "stopped": "The run was cancelled. Finished parts are kept: start it again to continue.",
    "done": "The result is ready.",
}


class Status(BaseModel):
    """The state of an upload.

    offset     number of bytes that have arrived
    percent    progress of the run; ``stages`` has a line per stage
    compared   True if frames before and after can be shown
    """

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    flow: str
    preset: str
    size: int
    offset: int
    state: State
    sentence: str
    percent: float = 0.0
    stages: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    has_result: bool = False
    compared: bool = False


async def read_status(core: Core, upload: Upload) -> Status:
    """Return the state of one upload, with the progress of its run."""
    if upload.video is None or upload.deleting:
        return describe(core, upload, None)
    try:
        run = await core.runs.find(upload.tag)
        progress = await core.runs.read_progress(run.id) if run else Progress()
    except PrefectUnavailable as error:
        return _make_status(core, upload, "unknown", error.sentence)
    status = describe(core, upload, run)
    compared = find_comparison(core, upload) is not None
    changes = {"percent": progress.percent, "stages": progress.stages, "compared": compared}
    return status.model_copy(update=changes)


async def list_statuses(core: Core, uploads: list[Upload]) -> tuple[list[Status], str]:
    """Return the states of ``uploads``, and a sentence if Prefect is unavailable."""
    try:
        runs, sentence = await core.runs.find_all([upload.tag for upload in uploads if upload.video]), ""
    except PrefectUnavailable as error:
        runs, sentence = {}, error.sentence
    return [
        _make_status(core, upload, "unknown", sentence)
        if sentence and upload.video and not upload.deleting
        else describe(core, upload, runs.get(upload.tag))
        for upload in uploads
    ], sentence


def describe(core: Core, upload: Upload, run: Run | None) -> Status:
    """Return the state of an upload whose last run is ``run``."""
    if upload.deleting:
        return _make_status(core, upload, "deleting", "The upload is deleted as soon as its run has ended.")
    if upload.refusal:
        return _make_status(core, upload, "refused", upload.refusal)
    if upload.video is None:
        return _describe_incomplete(core, upload)
    if run is None:
        return _describe_ready(core, upload)
    return _make_status(core, upload, run.phase, _explain(run))


def _describe_incomplete(core: Core, upload: Upload) -> Status:
    if is_complete(core, upload):
        return _make_status(core, upload, "checking", "The file is being checked.")
    sentence = "The upload is not complete: choose the same file again to continue."
    return _make_status(core, upload, "receiving", sentence)


def _describe_ready(core: Core, upload: Upload) -> Status:
    if upload.flow != "overlays":
        return _make_status(core, upload, "ready", "The video is ready: start the run.")
    about = read_about(core.locate(upload).detection)
    if about is None:
        return _make_status(core, upload, "detecting", "Overlays are being detected.")
    if "error" in about:
        sentence = f"Overlays could not be detected: {about['error']}. Draw them by hand, or start the run."
        return _make_status(core, upload, "ready", sentence)
    count = len(list_boxes(about))
    sentence = f"Detected: {about['reason']}. Nothing has been removed yet: check the boxes, then start the run."
    return _make_status(core, upload, "ready", sentence if count else f"Nothing was detected: {about['reason']}.")


def _explain(run: Run) -> str:
    if run.phase in _SENTENCES:
        return _SENTENCES[run.phase]
    message = (run.message or run.name).partition(f". {RETRY}")[0].rstrip(".")  # the page has its own button
    if run.phase == "incomplete":
        return f"The run finished with failures: {message}."
    return f"The run failed: {message}. Your video is kept: start the run again."


def _make_status(core: Core, upload: Upload, state: State, sentence: str) -> Status:
    folder = core.locate(upload)
    return Status(
        id=upload.id,
        name=upload.name,
        flow=upload.flow,
        preset=upload.preset,
        size=upload.size_bytes,
        offset=get_offset(core, upload),
        state=state,
        sentence=sentence,
        failures=tuple(list_failures(folder)[:20]) if state in {"incomplete", "failed"} else (),
        has_result=state in {"done", "incomplete"} and bool(list_results(upload, folder)),
    )
