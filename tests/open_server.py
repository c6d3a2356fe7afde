"""Run a Prefect server without a password, as a user may: ``python -m tests.open_server DESCRIPTOR``.

It serves on the listening socket DESCRIPTOR until standard input closes.
"""

from __future__ import annotations

import socket
import sys

from tasks.launcher.api_server import serve


def main(descriptor: int) -> None:
    """Serve until standard input closes."""
    from prefect.server.api.server import create_app

    serve(create_app(final=True), socket.socket(fileno=descriptor))


if __name__ == "__main__":
    main(int(sys.argv[1]))
