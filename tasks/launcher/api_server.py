"""The process of a local Prefect API: ``python -P -m tasks.launcher.api_server DESCRIPTOR``.

Imports the server, starts it on the listening socket DESCRIPTOR when a line arrives on standard input, and ends when
standard input closes.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading

import uvicorn

_NICENESS = 10  # the items have the first right to the cores; the books can be kept a moment later


def main(descriptor: int) -> None:
    """Serve until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # while a million objects are made that all stay: a fifth of the start
    from prefect.server.api.server import create_app  # the long import, done while the flow's process imports Prefect

    if not sys.stdin.readline():
        return
    os.nice(_NICENESS)
    app = create_app(final=True)
    gc.freeze()
    gc.enable()
    config = uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
    server.run(sockets=[socket.socket(fileno=descriptor)])


def _end_with_input(server: uvicorn.Server) -> None:
    """Let the server finish what it is at when our parent is gone, then end whatever hangs."""
    sys.stdin.read()
    server.should_exit = True
    threading.Timer(5.0, os._exit, (0,)).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
