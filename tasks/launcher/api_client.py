"""The flow's process as a client of the run's own Prefect server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from tasks.launcher.api import LocalApi

if TYPE_CHECKING:
    from prefect.settings.legacy import Setting

_LOOPBACK = "127.0.0.1"
OVERLOAD_SECONDS = 60.0  # for which a call to an overloaded server is repeated


def client_settings(api: LocalApi) -> dict[Setting, Any]:
    """Return the settings of a client of ``api``: address, password, and a Prefect home that goes with the run."""
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_HOME,
        PREFECT_LOCAL_STORAGE_PATH,
        PREFECT_UI_URL,
    )

    return {
        PREFECT_API_URL: api.url,
        PREFECT_UI_URL: api.ui_url,
        PREFECT_API_AUTH_STRING: api.auth_string,
        PREFECT_HOME: api.home,
        PREFECT_LOCAL_STORAGE_PATH: api.home / "storage",
    }


def bypass_proxies() -> None:
    """Keep calls to the run's own server, with its password, away from the proxies that the environment names."""
    hosts = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if hosts != "*" and _LOOPBACK not in hosts.split(","):
        os.environ["no_proxy"] = ",".join(filter(None, (hosts, _LOOPBACK)))  # it takes precedence over NO_PROXY


@contextmanager
def wait_for_overloaded_servers() -> Iterator[None]:
    """Let Prefect's clients repeat a call for a minute while the server answers 503, as SQLite makes it under load.

    Prefect has one setting for the retries of all failures; a server that is gone must not be waited for as long.
    """
    from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient

    send, send_async = PrefectHttpxSyncClient._send_with_retry, PrefectHttpxAsyncClient._send_with_retry  # noqa: SLF001

    def keep_sending(*arguments: Any, **options: Any) -> httpx.Response:
        deadline = time.monotonic() + OVERLOAD_SECONDS
        while True:
            response: httpx.Response = send(*arguments, **options)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() >= deadline:
                return response

    async def keep_sending_async(*arguments: Any, **options: Any) -> httpx.Response:
        deadline = time.monotonic() + OVERLOAD_SECONDS
        while True:
            response: httpx.Response = await send_async(*arguments, **options)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() >= deadline:
                return response

    clients: list[tuple[Any, Any, Any]] = [
        (PrefectHttpxSyncClient, send, keep_sending),
        (PrefectHttpxAsyncClient, send_async, keep_sending_async),
    ]
    for client, _, patient in clients:
        client._send_with_retry = patient  # noqa: SLF001
    try:
        yield
    finally:
        for client, original, _ in clients:
            client._send_with_retry = original  # noqa: SLF001
