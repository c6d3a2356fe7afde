"""Run a real PostgreSQL server on the loopback, in a temporary folder, as an unprivileged user."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.engine.processes import wait_until
from tests.flows.service import find_free_port

_UNPRIVILEGED = ("postgres", "nobody")


def find_postgres() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest version first; None if it is not installed."""
    if program := shutil.which("initdb"):
        return Path(program).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return installed[-1].parent if installed else None


@contextlib.contextmanager
def run_postgres(programs: Path, port: int | None = None, password: str | None = None) -> Iterator[str]:
    """Start a server with an empty database; yield the URL of the database ``postgres`` in Prefect's format."""
    user = _find_unprivileged_user()
    folder, port = Path(tempfile.mkdtemp(prefix="postgres-")), port or find_free_port()
    password = password or secrets.token_hex(8)
    given = {"user": user, "cwd": folder, "stdin": subprocess.DEVNULL}
    (folder / "password").write_text(password)
    if user is not None:
        for path in (folder, folder / "password"):
            shutil.chown(path, user)
    try:
        create = [programs / "initdb", "--pgdata=data", "--username=prefect", "--auth=scram-sha-256", "--no-sync"]
        subprocess.run([*create, "--pwfile=password", "--encoding=UTF8"], check=True, capture_output=True, **given)
        settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen([programs / "postgres", "-D", "data", *options], stdout=log, stderr=log, **given)
        with server:
            try:
                check = [programs / "pg_isready", "--host=127.0.0.1", f"--port={port}"]
                wait_until(lambda: _is_ready(check, server, folder / "log"), "PostgreSQL", 60.0)
                yield f"postgresql+asyncpg://prefect:{password}@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)  # ends all connections, then the server
    finally:
        shutil.rmtree(folder)


def _find_unprivileged_user() -> str | None:
    """Return the user for PostgreSQL, which refuses to run as root; None for the current user."""
    if os.geteuid() != 0:
        return None
    users = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _UNPRIVILEGED if name in users)


def _is_ready(check: list[object], server: subprocess.Popen[bytes], log: Path) -> bool:
    assert server.poll() is None, log.read_text()
    return subprocess.run(check, check=False, capture_output=True).returncode == 0  # type: ignore[call-overload]
