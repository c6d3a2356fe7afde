"""The flow's process as a client of the run's own Prefect server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tasks.launcher.api import LocalApi

if TYPE_CHECKING:
    from prefect.settings.legacy import Setting

_LOOPBACK = "127.0.0.1"


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
