"""Keep parts running: start them in order, restart those that end, and end them all together.

Each start of a part has a mark. When the part ends, all its processes are found by this mark and ended. The watchdog
does the same for all parts if this process is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deployments.supervision.folder import StateFolder
from deployments.supervision.parts import Part, build_base_environment
from tasks.engine.contract.errors import RunError
from tasks.engine.contract.text import one_line
from tasks.engine.running.watchdog import build_watched_environment, end_marked, new_mark

_LOOK_SECONDS = 0.1
_LAST_BYTES = 4096
_LINE_CHARACTERS = 300


@dataclass(frozen=True)
class Policy:
    """When parts are restarted.

    first_wait, max_wait  seconds before a restart; the wait doubles with each end in a row
    lasting_seconds       a part that ran for so long has worked: its next end is the first in a row
    max_ends              ends in a row after which everything ends
    ready_seconds         time in which a part must answer after the first start
    stop_seconds          time for a part to end before it is killed
    """

    first_wait: float = 1.0
    max_wait: float = 30.0
    lasting_seconds: float = 60.0
    max_ends: int = 5
    ready_seconds: float = 300.0
    stop_seconds: float = 8.0


@dataclass
class Supervisor:
    """The tree. ``say`` gets a line about each restart; ``before_start`` is awaited before each start of a part."""

    parts: Sequence[Part]
    state: StateFolder
    working_folder: Path
    say: Callable[[str], None]
    before_start: Callable[[Part], Awaitable[None]]
    policy: Policy = Policy()
    _running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    _is_stopping: bool = False

    async def run(self, on_ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Run all parts until ``stop`` is set; call ``on_ready`` when they work. Raises RunError if one does not."""
        keepers: list[asyncio.Task[None]] = []
        stopping = asyncio.create_task(self._wait_for(stop))
        starting = asyncio.create_task(self._start_all(keepers, on_ready))
        finished: set[asyncio.Task[None]] = set()
        try:
            while stopping not in finished:
                waiting = {stopping, *(keepers if starting in finished else [starting])} - finished
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # raises the error of a part that failed for good
                finished |= done
        finally:
            self._is_stopping = True
            await self._end_all([stopping, starting], keepers)

    def kill(self) -> None:
        """Kill all parts at once, while :meth:`run` waits for their end."""
        for process in list(self._running.values()):
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def _wait_for(self, stop: asyncio.Event) -> None:
        await stop.wait()

    async def _start_all(self, keepers: list[asyncio.Task[None]], on_ready: Callable[[], None]) -> None:
        """Start the parts one after another; those that work at the same time are awaited together."""
        checks: list[asyncio.Task[None]] = []
        for number, part in enumerate(self.parts):
            keeper = asyncio.create_task(self._keep(part), name=part.key)
            keepers.append(keeper)
            if part.ends:
                await keeper
            elif number == 0:
                await self._wait_until_ready(part, keeper)
            else:
                checks.append(asyncio.create_task(self._wait_until_ready(part, keeper)))
        await asyncio.gather(*checks)
        on_ready()

    async def _wait_until_ready(self, part: Part, keeper: asyncio.Task[None]) -> None:
        deadline = time.monotonic() + self.policy.ready_seconds
        while not await asyncio.to_thread(part.is_ready):
            if keeper.done():
                keeper.result()
            if time.monotonic() > deadline:
                log = self.state.get_log(part.key)
                raise RunError(f"the {part.name} did not answer within {self.policy.ready_seconds:g} s; see {log}")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _keep(self, part: Part) -> None:
        """Run a part again and again. Raises RunError if it ends too often."""
        ends = 0
        while True:
            await self.before_start(part)
            started = time.monotonic()
            code = await self._run_once(part)
            if self._is_stopping or (part.ends and code == 0):
                return
            ends = 1 if time.monotonic() - started > self.policy.lasting_seconds else ends + 1
            if ends >= self.policy.max_ends:
                raise RunError(self._explain_end(part, code, ends))
            wait = min(self.policy.max_wait, self.policy.first_wait * 2 ** (ends - 1))
            self.say(f"the {part.name} ended ({_describe_code(code)}); starting it again in {wait:g} s")
            await asyncio.sleep(wait)

    async def _run_once(self, part: Part) -> int:
        """Start a part; return its exit code after all its processes have ended."""
        mark = new_mark()
        self.state.add_mark(mark)
        try:
            process = await self._start(part, mark)
            self._running[part.key] = process
            return await process.wait()
        finally:  # also if the start is cancelled: it may be done already
            self._running.pop(part.key, None)
            await _end_marked(mark)

    async def _start(self, part: Part, mark: str) -> asyncio.subprocess.Process:
        log = self.state.open_log(part.key)
        try:
            return await asyncio.create_subprocess_exec(
                *part.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.working_folder,
                env={**build_base_environment(), **part.environment, **build_watched_environment(mark)},
                start_new_session=True,  # Ctrl+C is for this process, which ends the parts in order
            )
        finally:
            os.close(log)

    async def _end_all(self, tasks: list[asyncio.Task[None]], keepers: list[asyncio.Task[None]]) -> None:
        """End the parts, the last one first, so that none misses those before it."""
        for task in tasks:
            task.cancel()
        for part in reversed(self.parts):
            if process := self._running.get(part.key):
                await self._end(part, process)
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*tasks, *keepers, return_exceptions=True)

    async def _end(self, part: Part, process: asyncio.subprocess.Process) -> None:
        for number in (part.stop_signal, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), self.policy.stop_seconds)
                return

    def _explain_end(self, part: Part, code: int, ends: int) -> str:
        log = self.state.get_log(part.key)
        last = _read_last_line(log)
        return (
            f"the {part.name} ended {ends} times in a row, the last time with {_describe_code(code)}: {last}; see {log}"
        )


async def _end_marked(mark: str) -> None:
    """End all processes with ``mark``, also if this task is cancelled meanwhile."""
    ending = asyncio.create_task(asyncio.to_thread(end_marked, {mark}))
    try:
        await asyncio.shield(ending)
    except asyncio.CancelledError:
        await ending
        raise


def _describe_code(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def _read_last_line(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LAST_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "no output")
    return one_line(last)[-_LINE_CHARACTERS:]
