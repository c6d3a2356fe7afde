"""The flow's process as a client of the run's own Prefect server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.engine.contract.errors import RunError
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


def check_prefect_home(api: LocalApi | None) -> str:
    """Return a message if the user's Prefect home cannot be read; then that of ``api`` is used instead.

    Prefect cannot be imported with such a home. Raises RunError if there is no ``api``.
    """
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    try:
        (home / "profiles.toml").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        if api is None:
            raise RunError(f"the Prefect home cannot be read: {error}; set PREFECT_HOME to a folder of yours") from None
        os.environ["PREFECT_HOME"] = str(api.home)
        return f"the Prefect home cannot be read: {error}; its profiles are not used"
    return ""


def bypass_proxies() -> None:
    """Keep calls to the run's own server, with its password, away from the proxies that the environment names."""
    hosts = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if hosts != "*" and _LOOPBACK not in hosts.split(","):
        os.environ["no_proxy"] = ",".join(filter(None, (hosts, _LOOPBACK)))  # it takes precedence over NO_PROXY
