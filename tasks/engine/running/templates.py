"""The template processes of this process: one per stage, started at its first child.

A template ends when it is no longer needed, or for any other reason, and the next child starts another.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, Pipe
from typing import BinaryIO

from tasks.engine.contract.stage import Stage
from tasks.engine.running.child_process import WatchedChild, start_module
from tasks.engine.running.messages import Forked, ForkRequest, Imported, Rest
from tasks.engine.running.watchdog import build_watched_environment

_IMPORT_SECONDS = 180.0  # large libraries on a cold network share, or kernels that must be compiled
_FORK_SECONDS = 30.0
_TRIES = 2  # the template may end between two requests

_MAX_DEATHS = 3  # during the import

Spawn = Callable[[Callable[[], subprocess.Popen[bytes]]], subprocess.Popen[bytes]]
Started = tuple[WatchedChild, Connection]
_Key = tuple[str, str, frozenset[tuple[str, str]]]


class Template:
    """Starts children of one stage by forking. ``spawn`` starts a process from a thread that never ends."""

    def __init__(self, stage: Stage, environment: Mapping[str, str], spawn: Spawn) -> None:
        self._stage = stage
        self._environment = environment
        self._spawn = spawn
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Connection | None = None
        self._children = 0
        self._deaths = 0
        self._refusal = ""
        self._is_dropped = False

    def fork(self, log: BinaryIO, variables: Mapping[str, str]) -> Started | None:
        """Start a child; return None if the template cannot."""
        for _ in range(_TRIES):
            ours, theirs = Pipe()
            with theirs:
                if not self._request(ForkRequest(dict(variables)), theirs, log):
                    ours.close()
                    return None
            if child := self._meet(ours):
                return child, ours
            ours.close()
        return None

    def warm(self) -> None:
        """Start the process if it does not run."""
        with self._lock, open(os.devnull, "wb") as log:
            if not (self._refusal or self._is_dropped or self._is_running()):
                self._start(log)

    def drop(self) -> None:
        """End the template for good: a thread that still has it starts it no more."""
        with self._lock:
            self._is_dropped = True
            self._end()

    def end(self) -> None:
        """End the template. Its children continue."""
        with self._lock:
            self._end()

    @property
    def has_children(self) -> bool:
        """Return True if children that it forked have not been reaped."""
        return self._children > 0

    @property
    def is_needed(self) -> bool:
        """Return False if it can be forgotten: it has no process and no child, and is not known to fail."""
        return bool(self._children or self._refusal or self._is_running())

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _request(self, request: ForkRequest, pipe: Connection, log: BinaryIO) -> bool:
        """Ask for a child; return False if the template cannot be started."""
        with self._lock:
            if self._refusal or self._is_dropped or not (self._is_running() or self._start(log)):
                return False
            assert self._control is not None
            with contextlib.suppress(OSError):  # it has just ended: the pipe closes
                self._control.send(request)
                with socket.socket(fileno=os.dup(self._control.fileno())) as channel:
                    socket.send_fds(channel, [b"-"], [pipe.fileno(), log.fileno()])
            return True

    def _meet(self, pipe: Connection) -> WatchedChild | None:
        """Return the child that says its process id through ``pipe``; None if there is none."""
        with contextlib.suppress(OSError, EOFError):
            if not pipe.poll(_FORK_SECONDS):
                self.end()  # it hangs
                return None
            answer = pipe.recv()
            assert isinstance(answer, Forked)
            with self._lock:
                self._children += 1
            return WatchedChild(answer.pid, lambda: self._release(answer.pid))
        return None

    def _release(self, pid: int) -> None:
        """Reap a child. Without children, the template ends soon."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        with self._lock:
            self._children -= 1
            if not self._children and self._control is not None:
                with contextlib.suppress(OSError):
                    self._control.send(Rest())

    def _start(self, log: BinaryIO) -> bool:
        """Start the process; return True if it has imported the stage."""
        self._end()
        self._control, theirs = Pipe()
        with theirs:
            descriptor = theirs.fileno()
            environment = {**self._environment, **build_watched_environment()}
            module = "tasks.engine.running.template"
            self._process = self._spawn(lambda: start_module(module, descriptor, log, environment))
        refusal = _introduce(self._control, self._stage)
        if refusal == "":
            return True
        self._deaths += refusal is None
        self._refusal = refusal or "its processes died" * (self._deaths >= _MAX_DEATHS)
        self._end()
        return False

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _introduce(control: Connection, stage: Stage) -> str | None:
    """Send the stage; return the reason if its template cannot fork children, and None if the template has died."""
    try:
        control.send(stage)
    except OSError:
        return None
    except Exception as error:  # noqa: BLE001 - pickling runs the stage's code, which may raise anything
        return f"the stage cannot be pickled: {type(error).__name__}"
    with contextlib.suppress(OSError, EOFError):
        if control.poll(_IMPORT_SECONDS):
            answer = control.recv()
            assert isinstance(answer, Imported)
            return answer.refusal
    return None


_templates: dict[_Key, Template] = {}
_guard = threading.Lock()


def find_template(stage: Stage, environment: Mapping[str, str], spawn: Spawn) -> Template:
    """Return the template for children of ``stage`` with this environment and this process's current folder."""
    kind = type(stage)
    key = (f"{kind.__module__}.{kind.__qualname__}", os.getcwd(), frozenset(environment.items()))
    with _guard:
        if key not in _templates:
            for old in [each for each, template in _templates.items() if not template.is_needed]:
                _templates.pop(old).drop()
            _templates[key] = Template(stage, environment, spawn)
        return _templates[key]


def end_unused_templates() -> None:
    """End the templates that have no children."""
    with _guard:
        for key in [key for key, template in _templates.items() if not template.has_children]:
            _templates.pop(key).drop()


@atexit.register
def end_templates() -> None:
    """End all templates of this process."""
    with _guard:
        for template in _templates.values():
            template.drop()
        _templates.clear()
