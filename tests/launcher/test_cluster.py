"""Test that the Dask cluster of a run is not exposed to the network, and that its client logs failures only."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import httpx
import psutil
import pytest

from tasks.launcher.cluster import configure_remote_client, local_cluster

_PAGES = (
    "/",
    "/status",
    "/tasks",
    "/system",
    "/individual-task-stream",
    "/info/main/workers.html",
    "/json/counts.json",
)


def find_listening_ports() -> dict[int, str]:
    """Return the TCP ports on which this process listens, with their addresses."""
    connections = psutil.Process().net_connections("tcp")
    return {
        connection.laddr.port: connection.laddr.ip
        for connection in connections
        if connection.status == psutil.CONN_LISTEN
    }


def test_dask_ports_are_on_the_loopback_and_serve_no_page(tmp_path: Path) -> None:
    before = find_listening_ports()
    with local_cluster(tmp_path) as cluster:
        assert cluster.scheduler_address.startswith("inproc://")
        ports = {port: address for port, address in find_listening_ports().items() if port not in before}
        assert set(ports.values()) == {"127.0.0.1"}
        for port in ports:
            codes = [httpx.get(f"http://127.0.0.1:{port}{page}", trust_env=False).status_code for page in _PAGES]
            assert set(codes) == {httpx.codes.NOT_FOUND}


@pytest.mark.parametrize(("error", "logged"), [(asyncio.CancelledError(), 0), (OSError("no route to host"), 1)])
def test_canceled_reconnection_is_not_logged(
    caplog: pytest.LogCaptureFixture, error: BaseException, logged: int
) -> None:
    """A lost scheduler is reported in one line, without the traceback of the client's canceled reconnection."""
    with configure_remote_client():
        try:
            raise error
        except (asyncio.CancelledError, OSError):
            logging.getLogger("distributed.client").exception("reconnecting")
    assert len(caplog.records) == logged
