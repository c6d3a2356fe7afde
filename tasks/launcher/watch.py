"""Show a run's progress in Prefect, and check whether it was cancelled there.

This runs in a separate thread: an unavailable server blocks its callers, and no slot may wait for it.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from contextvars import copy_context
from types import TracebackType
from typing import Self, cast

import httpx
from prefect import get_client
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

from tasks.engine.contract.text import markdown
from tasks.engine.reporting.progress import RunProgress

_FIRST_ARTIFACT_SECONDS = 2.0  # shorter runs have no artifact
_ARTIFACT_SECONDS = 10.0  # between updates of the progress artifact
_CHECK_SECONDS = 5.0  # between checks for a cancellation
_LAST_UPDATE_SECONDS = 5.0  # for the last update, after the last item

# Errors of a call to a Prefect server that is unavailable or failing.
API_ERRORS = (PrefectException, httpx.HTTPError, OSError)


class Watch:
    """Context that watches the current flow run."""

    def __init__(self, progress: RunProgress, key: str, on_cancel: Callable[[], None]) -> None:
        self._progress = progress
        self._key = key
        self._on_cancel = on_cancel
        self._artifact: uuid.UUID | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=copy_context().run, args=(self._watch,), daemon=True)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show the final state of the run, unless the server is unavailable."""
        self._is_over.set()
        self._thread.join(_LAST_UPDATE_SECONDS)

    def _watch(self) -> None:
        next_show = time.monotonic() + _FIRST_ARTIFACT_SECONDS
        next_check = time.monotonic() + _CHECK_SECONDS
        while not self._is_over.wait(max(0.0, min(next_show, next_check) - time.monotonic())):
            if time.monotonic() >= next_show:
                self._try(self._show)
                next_show = time.monotonic() + _ARTIFACT_SECONDS
            if time.monotonic() >= next_check:
                self._try(self._check_cancellation)
                next_check = time.monotonic() + _CHECK_SECONDS
        if self._artifact:
            self._try(self._show)

    def _try(self, call: Callable[[], None]) -> None:
        try:
            call()
        except API_ERRORS:
            logging.getLogger(__name__).debug("the Prefect server does not answer", exc_info=True)

    def _show(self) -> None:
        percent = 100 * self._progress.share
        lines = [*filter(None, [self._progress.status]), *(each.line() for each in self._progress.standings())]
        text = "\n".join(f"- {markdown(line)}" for line in lines)
        if self._artifact is None:
            self._artifact = cast("uuid.UUID", create_progress_artifact(percent, key=self._key, description=text))
        else:
            update_progress_artifact(self._artifact, percent, description=text)

    def _check_cancellation(self) -> None:
        context = FlowRunContext.get()
        if context is None or context.flow_run is None:
            return
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(context.flow_run.id).state
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            self._on_cancel()
