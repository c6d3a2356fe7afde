"""Run a Prefect server on a machine of an emulated network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.network import Machine
from tests.homes import build_server_environment
from tests.runs.bench import ROOT

_PORT = 4200
# Ends when an address answers.
_WAIT_FOR_SERVER = """
import sys, time, urllib.request
while True:
    try:
        urllib.request.urlopen(sys.argv[1])
        break
    except OSError:
        time.sleep(0.05)
"""


@contextmanager
def serve_prefect(machine: Machine, home: Path) -> Iterator[str]:
    """Start a server with the Prefect home ``home``; yield the address of its API, which all machines reach."""
    code = (
        "import socket; from tests.open_server import main; "
        f"listening = socket.create_server(({machine.address!r}, {_PORT})); main(listening.detach())"
    )
    environment = {**build_server_environment(home), "PYTHONPATH": str(ROOT)}
    command = [*machine.prefix, sys.executable, "-P", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment):
        url = f"http://{machine.address}:{_PORT}/api"
        subprocess.run(
            [*machine.prefix, sys.executable, "-c", _WAIT_FOR_SERVER, f"{url}/health"], check=True, timeout=600
        )
        yield url
