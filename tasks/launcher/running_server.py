"""Find a Prefect server that already runs on this machine, for a run whose user has named none.

Another user, or a server with another database, may listen on the same port. A server is used only if the kernel says
that its listening socket belongs to this user, its process has the same Prefect home as this one, and it has the same
version of Prefect. In other cases, such as a server in a container, the run starts its own.
"""

from __future__ import annotations

import importlib.metadata
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

_DEFAULT_PORT = 4200
_ANSWER_SECONDS = 5.0
_LISTENING = "0A"
# 127.0.0.1, all addresses, and the same in IPv6, as the kernel writes them.
_ADDRESSES = {"0100007F", "00000000", "0" * 32, "0000000000000000FFFF00000100007F"}


@dataclass(frozen=True)
class RunningServer:
    """A server of this user. ``refusal``: why it cannot be used; empty if it can."""

    ui_url: str
    refusal: str = ""

    @property
    def url(self) -> str:
        """The address of its API."""
        return f"{self.ui_url}/api"


def find_running_server() -> RunningServer | None:
    """Return the server of this user on this machine's port for Prefect servers; None if there is none."""
    try:
        settings = _read_settings()
    except (OSError, ValueError, AttributeError):  # the profiles cannot be read; see prefect_home.py
        return None
    if "PREFECT_API_URL" in settings:  # the user has named a server
        return None
    port = _get_port(settings)
    if port is None or not any(_has_this_home(pid) for pid in _find_owners(port)):
        return None
    ui_url = f"http://127.0.0.1:{port}"
    return RunningServer(ui_url, _find_refusal(f"{ui_url}/api", settings.get("PREFECT_API_AUTH_STRING", "")))


def _read_settings() -> Mapping[str, str]:
    """Return Prefect's settings in the environment and the active profile, without importing Prefect."""
    variables = {name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}
    try:
        content = tomllib.loads((_get_home(os.environ, Path()) / "profiles.toml").read_text(encoding="utf-8"))
        active = variables.get("PREFECT_PROFILE") or content.get("active", "")
        profile: Mapping[str, Any] = content.get("profiles", {}).get(active, {})
        return {**{name: str(value) for name, value in profile.items()}, **variables}
    except (FileNotFoundError, NotADirectoryError):
        return variables


def _get_port(settings: Mapping[str, str]) -> int | None:
    text = settings.get("PREFECT_SERVER_API_PORT", str(_DEFAULT_PORT))
    return int(text) if text.isascii() and text.isdigit() else None


def _get_home(variables: Mapping[str, str], folder: Path) -> Path:
    """Return the Prefect home of a process with these variables and this current folder."""
    home = variables.get("PREFECT_HOME") or str(Path(variables.get("HOME") or "~") / ".prefect")
    return (folder / Path(home).expanduser()).resolve()


def _has_this_home(pid: str) -> bool:
    process = Path("/proc", pid)
    try:
        text = (process / "environ").read_text(encoding="utf-8", errors="surrogateescape")
        variables = dict(entry.partition("=")[::2] for entry in text.split("\0"))
        return _get_home(variables, (process / "cwd").readlink()) == _get_home(os.environ, Path())
    except (OSError, RuntimeError):  # it has ended, or it has no home folder
        return False


def _find_owners(port: int) -> Iterator[str]:
    """Yield the ids of this user's processes that listen on ``port`` of the loopback."""
    sockets = {f"socket:[{inode}]" for inode in _find_listening(port)}
    for process in Path("/proc").glob("[0-9]*") if sockets else ():
        try:
            if any(str(descriptor.readlink()) in sockets for descriptor in (process / "fd").iterdir()):
                yield process.name
        except OSError:  # of another user, or it has ended
            continue


def _find_listening(port: int) -> Iterator[str]:
    """Yield the inodes of this user's sockets that listen on ``port``."""
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:  # no such system, or no IPv6
            continue
        for line in lines:
            words = line.split()
            address, _, number = words[1].partition(":")
            is_here = address in _ADDRESSES and int(number, 16) == port
            if is_here and words[3] == _LISTENING and int(words[7]) == os.geteuid():
                yield words[9]


def _find_refusal(url: str, password: str) -> str:
    """Return why the server at ``url`` cannot be used; empty if it can."""
    try:
        with httpx.Client(timeout=_ANSWER_SECONDS, trust_env=False) as client:
            client.get(f"{url}/health").raise_for_status()
            answer = client.get(f"{url}/admin/version", auth=split_password(password))
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                return describe_unauthorized(bool(password))
            return _compare_versions(answer.raise_for_status().json())
    except (httpx.HTTPError, ValueError) as error:
        return f"does not answer: {error}"


def split_password(password: str) -> tuple[str, str] | None:
    """Return user and password of ``USER:PASSWORD``; None if it has another form."""
    user, colon, secret = password.partition(":")
    return (user, secret) if colon else None


def describe_unauthorized(is_given: bool) -> str:
    """Return the advice for a server that answers 401. ``is_given``: the user has set a password."""
    if is_given:
        return "rejects the password in PREFECT_API_AUTH_STRING: set the one of the server"
    return "asks for a password: set PREFECT_API_AUTH_STRING"


def _compare_versions(theirs: str) -> str:
    ours = importlib.metadata.version("prefect")
    if theirs.split(".")[:2] == ours.split(".")[:2]:
        return ""
    return f"has version {theirs} of Prefect, and this run has {ours}: start it with this installation"
