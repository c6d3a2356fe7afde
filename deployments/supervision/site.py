"""Serve one working folder, from its lock to its last process."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import httpx

from deployments.pool import POOL
from deployments.supervision.addresses import choose_address
from deployments.supervision.folder import hold_state_folder
from deployments.supervision.lost_runs import continue_lost_runs
from deployments.supervision.parts import Part, Site, build_parts
from deployments.supervision.supervisor import Supervisor
from tasks.engine.contract.errors import RunError
from tasks.launcher.extras import check_extra
from tasks.launcher.terminal import print_line, print_output

_WEB_PORT, _PREFECT_PORT = 4280, 4200
_RETRY_SECONDS = 0.5


def serve_site(working_folder: Path, host: str, port: int | None, prefect_port: int | None) -> None:
    """Serve until a signal. Raises InvalidInput for an address that is not free, RunError for a part that fails."""
    if sys.platform != "linux":
        raise RunError("headrace serve needs Linux, where it can end all its processes; see deployments/README.md")
    check_extra("headrace serve", "video")
    with hold_state_folder(working_folder / "data" / "serve") as state:
        try:
            state.end_remains()  # they may hold the ports
            web = choose_address(host, port, _WEB_PORT, "--port")
            prefect = choose_address(host, prefect_port, _PREFECT_PORT, "--prefect-port", taken=web.port)
            asyncio.run(_serve(Site(working_folder, state, web, prefect, state.read_password())))
        except OSError as error:
            raise RunError(f"{error.filename or state.path}: {error.strerror}; correct it, and serve again") from None


async def _serve(site: Site) -> None:
    async def prepare(part: Part) -> None:
        if part.key == "worker":
            await _continue_lost_runs(site)

    stop = asyncio.Event()
    supervisor = Supervisor(build_parts(site), site.state, site.working_folder, print_line, prepare)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:  # nohup
            continue
        asyncio.get_running_loop().add_signal_handler(number, _request_stop, stop, supervisor)
    print_line(f"starting; state and logs are in {site.state.path}")
    await supervisor.run(lambda: _announce(site), stop)
    print_line("stopped; runs in progress continue at the next start")


def _request_stop(stop: asyncio.Event, supervisor: Supervisor) -> None:
    """Stop in order at the first signal, at once at the second."""
    if stop.is_set():
        supervisor.kill()
    stop.set()


def _announce(site: Site) -> None:
    site.state.announce(site.web.public_url)
    print_output(f"Headrace: {site.web.public_url} (user:password is the first line of {site.state.users})")
    sys.stdout.flush()


async def _continue_lost_runs(site: Site) -> None:
    """Schedule the runs that have lost their worker; wait for the server while it does not answer."""
    while True:
        try:
            for line in await asyncio.to_thread(continue_lost_runs, site.api, POOL):
                print_line(line)
        except httpx.HTTPError:
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return
