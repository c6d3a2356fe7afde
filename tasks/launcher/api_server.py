"""The process of a run's Prefect server: ``python -P -m tasks.launcher.api_server DESCRIPTOR``.

Imports the server, starts it on the listening socket DESCRIPTOR when a line arrives on standard input, and ends when
standard input closes. The current folder is the private folder of the run; the database is created in it.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from tasks.launcher.api_database import copy_template, keep_template, template_path
from tasks.launcher.api_guard import Guard

DATABASE = "prefect.db"
_NICENESS = 10  # the items have the first right to the cores; the books can be kept a moment later


def main(descriptor: int) -> None:
    """Serve until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # while a million objects are made that all stay: a fifth of the start
    listener = socket.socket(fileno=descriptor)
    database, template = Path(DATABASE).absolute(), template_path()
    copied = copy_template(template, database)
    if copied:  # it has the tables and the block types; checking them takes seconds
        os.environ["PREFECT_SERVER_DATABASE_MIGRATE_ON_START"] = "false"
        os.environ["PREFECT_SERVER_REGISTER_BLOCKS_ON_START"] = "false"
    from prefect.server.api.server import create_app  # the long import, done while the flow's process imports Prefect

    if not sys.stdin.readline():
        return
    os.nice(_NICENESS)
    port = listener.getsockname()[1]
    hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
    app = Guard(create_app(final=True), hosts, lambda: None if copied else keep_template(database, template))
    gc.freeze()
    gc.enable()
    serve(app, listener)


def serve(app: Callable[..., Any], listener: socket.socket) -> None:
    """Serve ``app`` on ``listener`` until standard input closes."""
    config = uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
    server.run(sockets=[listener])


def _end_with_input(server: uvicorn.Server) -> None:
    """When the parent process ends, let the server finish its requests, then end it."""
    sys.stdin.read()
    server.should_exit = True
    threading.Timer(5.0, os._exit, (0,)).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
