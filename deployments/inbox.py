"""Start the flow of a folder once files have arrived there: ``python deployments/inbox.py``. Ctrl+C ends it.

It watches the input folders of all deployments with the tag ``inbox`` by listing them. When a folder has been quiet for
a while and has new files, it starts one run of its deployment, which lists the folder itself. The run's idempotency key
is a digest of the listing, so that the server creates it once, even if this process is killed at any moment.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_URL

from deployments.arrivals import Handled, Quiet, State, compute_key, find_new, list_files
from deployments.problems import NO_SERVER
from tasks.engine.contract.errors import Problem
from tasks.launcher.terminal import print_problems

ROOT = Path(__file__).resolve().parents[1]
TAG = "inbox"
# The parameters that name the folder of inputs, in order of precedence.
INPUTS = ("videos_dir", "light_curves", "input")
_PAGE = 200  # deployments per call, the maximum of the server
_REFRESH_SECONDS = 60.0  # between reads of the deployments, which can be edited in the UI
_API_ERRORS = (httpx.HTTPError, PrefectException)


@dataclass(frozen=True)
class Watched:
    """A folder, or a single file, that a deployment takes its input from."""

    deployment: str
    name: str
    target: Path


@dataclass
class Inbox:
    """The watched folders. ``quiet_seconds``: time without changes after which files are complete."""

    client: SyncPrefectClient
    state: State
    quiet_seconds: float
    _watched: list[Watched] = field(default_factory=list)
    _quiet: dict[Watched, Quiet] = field(default_factory=dict)
    _next_refresh: float = 0.0
    _said: dict[str, str] = field(default_factory=dict)

    def look(self) -> None:
        """List all folders once, and start the runs that are due."""
        if time.monotonic() >= self._next_refresh:
            self._refresh()
        for watched in self._watched:
            self._look_at(watched)

    def _refresh(self) -> None:
        try:
            found, ignored = find_watched(self.client)
        except _API_ERRORS as error:
            self._say("server", f"the Prefect server does not answer: {error}; trying again")
            return
        self._say("server", f"watching {', '.join(f'{row.target} for {row.name}' for row in found) or 'nothing'}")
        for name in ignored:
            self._say(name, f"{name} has the tag {TAG} and none of the parameters {', '.join(INPUTS)}: not watched")
        self._watched, self._next_refresh = found, time.monotonic() + _REFRESH_SECONDS
        self._quiet = {row: self._quiet.get(row, Quiet(self.quiet_seconds)) for row in found}

    def _look_at(self, watched: Watched) -> None:
        quiet = self._quiet[watched]
        try:
            listing = list_files(watched.target)
        except OSError as error:
            quiet.reset()
            self._say(watched.name, f"{watched.target} cannot be read: {error}; trying again")
            return
        last = self.state.get(watched.deployment)
        new = find_new(listing, last.listing)
        if not quiet.is_quiet(listing, time.monotonic()) or not new:
            return
        key = compute_key(watched.deployment, listing, last.key)
        try:
            run = self.client.create_flow_run_from_deployment(UUID(watched.deployment), idempotency_key=key)
            self.state.set(watched.deployment, Handled(key, listing))
        except (*_API_ERRORS, OSError) as error:
            self._say(watched.name, f"{watched.name}: no run could be started: {error}; trying again")
            return
        count = "1 new file" if len(new) == 1 else f"{len(new)} new files"
        self._say(watched.name, f"{watched.name}: {count} in {watched.target}, run {run.id}")

    def _say(self, subject: str, line: str) -> None:
        """Print ``line``, unless it was the last one about ``subject``."""
        if self._said.get(subject) != line:
            self._said[subject] = line
            print(line, flush=True)


def find_watched(client: SyncPrefectClient) -> tuple[list[Watched], list[str]]:
    """Return the folders of all deployments with the tag, and the names of those without an input.

    Creates folders that are missing.
    """
    found, ignored = list[Watched](), list[str]()
    for row in _read_deployments(client):
        name, target = f"{client.read_flow(row.flow_id).name}/{row.name}", _find_target(row)
        if target is None:
            ignored.append(name)
            continue
        _create_folder(target)
        found.append(Watched(str(row.id), name, target))
    return sorted(found, key=lambda row: row.name), ignored


def _read_deployments(client: SyncPrefectClient) -> Iterator[DeploymentResponse]:
    """Yield all deployments with the tag that are not paused."""
    only = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    for start in itertools.count(0, _PAGE):
        page = client.read_deployments(deployment_filter=only, limit=_PAGE, offset=start)
        yield from (row for row in page if not row.paused)
        if len(page) < _PAGE:
            return


def _find_target(deployment: DeploymentResponse) -> Path | None:
    """Return the input of a deployment; relative paths start where its runs start."""
    values = [deployment.parameters[name] for name in INPUTS if deployment.parameters.get(name)]
    steps = [settings for step in deployment.pull_steps or [] for settings in step.values()]
    base = next((step["directory"] for step in steps if "directory" in step), ROOT)
    return Path(base, values[0]) if values else None


def _create_folder(target: Path) -> None:
    """Create the folder of ``target``, so that users find it; the name of a single file has a suffix."""
    try:
        (target.parent if target.suffix else target).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"{target} cannot be created: {error}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Watch until interrupted; return the exit code."""
    options = _parse(arguments)
    if not PREFECT_API_URL.value():
        return print_problems([NO_SERVER])
    if not 0 < options.poll <= options.quiet:
        allowed = f"more than 0, at most --quiet {options.quiet:g}"
        return print_problems([Problem(f"--poll {options.poll:g}", "out of range", allowed, "change one of them")])
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with get_client(sync_client=True) as client:
        inbox = Inbox(client, State(options.state), options.quiet)
        while not stopped.is_set():
            inbox.look()
            stopped.wait(options.poll)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Start the flow of a folder once files have arrived there completely.")
    parser.add_argument("--poll", type=float, default=5.0, help="seconds between listings (default: 5)")
    parser.add_argument("--quiet", type=float, default=30.0, help="seconds without changes (default: 30)")
    parser.add_argument(
        "--state",
        type=Path,
        default=Path(os.environ.get("HEADRACE_INBOX_STATE") or ROOT / "data" / ".inbox.json"),
        help="file that remembers handled files (default: data/.inbox.json)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
