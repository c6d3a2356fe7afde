"""Run a flow in Prefect, with a server for the time of the run if the user has none."""

from __future__ import annotations

import os
import queue
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx

from tasks.engine.contract.errors import HeadraceError, RunError, RunUnfinished
from tasks.engine.contract.text import showable_lines
from tasks.launcher.api import LocalApi
from tasks.launcher.api_client import bypass_proxies, client_settings, wait_for_overloaded_servers
from tasks.launcher.batch_flow import BatchFlow, Steps
from tasks.launcher.loading import ExitOnInterrupt
from tasks.launcher.prefect_home import check_prefect_home
from tasks.launcher.running_server import RunningServer, describe_unauthorized, find_running_server
from tasks.launcher.terminal import EXIT_ERROR, print_line

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import State
    from prefect.settings.legacy import Setting

_DRAIN_SECONDS = 5.0
_MAX_RETRIES = 2  # of a call to the server, 10 s; with Prefect's five, a run whose server has died takes minutes to end


def run_in_prefect(flow: BatchFlow, parameters: Mapping[str, Any], steps: Steps) -> int:
    """Run ``steps`` as a run of ``flow`` in Prefect; return the exit code."""
    with ExitStack() as stack:
        server = find_running_server()
        if server and server.refusal:
            print_line(f"the Prefect server at {server.ui_url} {server.refusal}; this run starts its own")
            server = None
        api = None if server or "PREFECT_API_URL" in os.environ else stack.enter_context(LocalApi())
        with ExitOnInterrupt(stack.close):
            _load(flow, api)
        if server:
            stack.enter_context(_use(server))
        if api:
            stack.enter_context(_started(api))
        return _run(flow.as_prefect_flow(steps), parameters)


def run_dry(flow: BatchFlow, parameters: Mapping[str, Any], steps: Steps) -> int:
    """Predict the run of ``steps``, without a server; return the exit code."""
    with ExitOnInterrupt():
        _load(flow, None)
    flow.run(parameters, steps)
    return 0


def _load(flow: BatchFlow, api: LocalApi | None) -> None:
    """Import Prefect and the flow's steps; with ``api``, its process imports the server in the meantime."""
    if message := check_prefect_home(api):
        print_line(message)
    flow.load()


@contextmanager
def _use(server: RunningServer) -> Iterator[None]:
    """Point Prefect to ``server``, unless a settings file names another."""
    from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

    if PREFECT_API_URL.value():
        yield
        return
    bypass_proxies()
    print_line(f"Prefect UI: {server.ui_url}")
    with temporary_settings({PREFECT_API_URL: server.url, PREFECT_UI_URL: server.ui_url}):
        try:
            yield
        finally:
            _send_pending_events()


@contextmanager
def _started(api: LocalApi) -> Iterator[None]:
    """Start ``api`` and point Prefect to it, unless a profile or a settings file names another."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    if PREFECT_API_URL.value():
        yield
        return
    bypass_proxies()
    api.start()
    api.wait()
    print_line(f"Prefect UI while this runs: {api.ui_url} (password: {api.password_file})")
    with temporary_settings(client_settings(api)):
        try:
            yield
        finally:
            _send_pending_events()


def _send_pending_events() -> None:
    """Let Prefect send the logs and events that it still holds, while there is a server to receive them."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=_DRAIN_SECONDS)
    EventsWorker.drain_all(timeout=_DRAIN_SECONDS)


def _drop_pending_events() -> None:
    """Drop what Prefect still holds for a server that is gone: it would retry each for seconds at its exit."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    kinds: list[Any] = [EventsWorker, APILogWorker]  # Prefect has no public way to do this
    for service in [service for kind in kinds for service in kind._instances.values()]:  # noqa: SLF001
        with suppress(queue.Empty):
            while True:
                service._queue.get_nowait()  # noqa: SLF001


def retry_settings() -> dict[Setting, Any]:
    """Return how often Prefect's client retries a call: as the user has set it, or a few times without jitter."""
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, PREFECT_CLIENT_RETRY_JITTER_FACTOR, get_current_settings

    given = get_current_settings().client.model_fields_set
    defaults = {
        "max_retries": (PREFECT_CLIENT_MAX_RETRIES, _MAX_RETRIES),
        "retry_jitter_factor": (PREFECT_CLIENT_RETRY_JITTER_FACTOR, 0),
    }
    return dict(setting for name, setting in defaults.items() if name not in given)


def _run(flow: Flow[..., Any], parameters: Mapping[str, Any]) -> int:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    try:
        with temporary_settings(retry_settings()), wait_for_overloaded_servers():
            state: State[Any] = flow(**parameters, return_state=True)  # type: ignore[assignment]
    except (httpx.HTTPError, RuntimeError) as error:
        if not isinstance(error, httpx.HTTPError) and not isinstance(error.__cause__, httpx.HTTPError):
            raise
        _drop_pending_events()
        raise RunError(f"the Prefect server at {PREFECT_API_URL.value()} {_describe(error)}") from None
    return _exit_code(state.result(raise_on_failure=False))


def _describe(error: Exception) -> str:
    """Return the problem of a server that a call has failed with ``error``, and what to do."""
    from prefect.settings import PREFECT_API_AUTH_STRING

    cause = error if isinstance(error, httpx.HTTPError) else error.__cause__
    status = cause.response.status_code if isinstance(cause, httpx.HTTPStatusError) else None
    if status == httpx.codes.UNAUTHORIZED:
        return describe_unauthorized(bool(PREFECT_API_AUTH_STRING.value()))
    if status == httpx.codes.NOT_FOUND:
        return f"is not the address of an API: {_first_line(error)}; it ends with /api"
    if status == httpx.codes.SERVICE_UNAVAILABLE:
        return "is overloaded (503); give the same command again when it has less to do: finished items stay done"
    advice = "start it and give the same command again: finished items stay done"
    return f"does not answer: {_first_line(error)}; {advice}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _exit_code(result: Any) -> int:
    """Return the exit code of a run that ended with ``result``. Raises it if it is an error with a message."""
    if isinstance(result, RunUnfinished):  # the run's closing lines have said why
        return result.exit_code
    if isinstance(result, HeadraceError):
        raise result
    if isinstance(result, BaseException):
        sys.stderr.write(showable_lines("".join(traceback.format_exception(result))))
        return EXIT_ERROR
    return int(result.exit_code)
