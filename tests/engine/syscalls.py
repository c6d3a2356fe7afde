"""Trace the system calls of a scenario with strace, and make one of them fail or kill the process.

Scenarios are in ``scenarios.py``. Each runs in a child process that a fork server starts in a few milliseconds; strace
attaches before it begins. The numbers of calls therefore do not depend on imports.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path

from tasks.engine.contract.errors import HeadraceError
from tests.engine.processes import wait_until

OPEN = ("open", "openat", "creat")
READ = ("read", "pread64", "getdents64")
WRITE = ("write", "pwrite64", "writev", "sendfile", "copy_file_range", "ftruncate")
SYNC = ("fsync", "fdatasync")
RENAME = ("rename", "renameat", "renameat2")
REMOVE = ("unlink", "unlinkat", "rmdir")
MAKE = ("mkdir", "mkdirat", "link", "linkat", "symlink", "symlinkat")
TOUCH = ("utimensat", "chmod", "fchmod", "fchmodat", "fchmodat2")
_TRACED = (*OPEN, *READ, *WRITE, *SYNC, *RENAME, *REMOVE, *MAKE, *TOUCH)

_LINE = re.compile(r"(?:\d+ +)?(\w+)\((.*)\) += (-?\d+|\?)(.*)$")
_DESCRIPTOR = re.compile(r"(?:AT_FDCWD|\d+)<([^>]*)>")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_PR_SET_PTRACER, _ANY_PROCESS = 0x59616D61, -1  # from linux/prctl.h
_REFUSED = 3  # exit code of a scenario that ended with one of the engine's own errors


@dataclass(frozen=True)
class Call:
    """System call of the main thread.

    ``place`` counts the calls of this name from 1, as strace's ``when`` does. ``paths`` are absolute: first the file
    or the source, then the target of a rename or link.
    """

    name: str
    place: int
    paths: tuple[str, ...]
    arguments: str
    succeeded: bool

    @property
    def changes(self) -> bool:
        """Return True if the call changes a file, a folder or a name."""
        if self.name in OPEN:
            return "O_CREAT" in self.arguments or "O_TRUNC" in self.arguments or self.name == "creat"
        return self.name not in READ

    def __str__(self) -> str:
        return f"{self.name} {self.place}: {' -> '.join(self.paths)}"


@dataclass(frozen=True)
class TraceResult:
    """Result of a traced scenario: exit code (negative for a signal), error message, and its calls in ``folder``."""

    code: int
    message: str
    calls: tuple[Call, ...]

    @property
    def is_refused(self) -> bool:
        """Return True if the scenario ended with one of the engine's own errors."""
        return self.code == _REFUSED


def run_traced(scenario: str, folder: Path, work: Path, inject: str = "") -> TraceResult:
    """Run a scenario in ``folder`` under strace; return the calls of its main thread that concern the folder.

    ``inject`` is the value of strace's option of that name. ``work`` is a new folder for the trace.
    """
    work.mkdir()
    process = _get_server().Process(target=_run, args=(scenario, folder, work / "said", dict(os.environ)), daemon=True)
    process.start()
    assert process.pid is not None
    trace = work / "trace"
    command = ["strace", "-f", "-y", "-qqq", "-e", "signal=none", "-e", f"trace={','.join(f'?{c}' for c in _TRACED)}"]
    command += ["-e", f"inject={inject}"] if inject else []
    try:
        wait_until(lambda: _read_state(process.pid) == "T", "the scenario waits for strace")
        tracer = subprocess.Popen([*command, "-o", str(trace), "-p", str(process.pid)], stderr=subprocess.PIPE)
        wait_until(lambda: _has_tracer(process.pid), f"strace has attached to {process.pid}")
        os.kill(process.pid, signal.SIGCONT)
        _, problem = tracer.communicate()
        assert trace.exists(), problem.decode()
        process.join()
    finally:
        with contextlib.suppress(AttributeError, ValueError):
            process.kill()
    message = (work / "said").read_text() if (work / "said").exists() else ""
    assert process.exitcode is not None
    return TraceResult(process.exitcode, message, tuple(_read_calls(trace, process.pid, folder)))


def build_injection(call: Call, how: str) -> str:
    """Return the value of ``inject`` that makes ``call`` fail with the error ``how``, or kills the process ("KILL")."""
    effect = "signal=KILL" if how == "KILL" else f"error={how}"
    return f"{call.name}:{effect}:when={call.place}"


@cache
def _get_server() -> ForkServerContext:
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.engine.scenarios"])
    return context


def _run(name: str, folder: Path, message: Path, environment: Mapping[str, str]) -> None:
    """Run the scenario in the child process after strace has attached; write the error message, if any."""
    os.environ.update(environment)  # the fork server has the first test's environment
    from tasks.engine.store.lock import SECONDS_VARIABLE
    from tasks.engine.store.write_errors import explain_write_errors
    from tests.engine.scenarios import SCENARIOS

    os.environ[SECONDS_VARIABLE] = "0.5"  # the next run's maximum wait if it cannot tell whether this one is dead
    scenario = SCENARIOS[name]
    scenario.prepare(folder)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY_PROCESS, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    code = 0
    try:
        with explain_write_errors(folder):  # as a run does
            scenario.act(folder)
    except HeadraceError as error:
        message.write_text(str(error))
        code = _REFUSED
    except BaseException:
        message.write_text(traceback.format_exc())
        code = 1
    os._exit(code)


def _read_state(pid: int | None) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _has_tracer(pid: int | None) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return "TracerPid:\t0\n" not in status


def _read_calls(trace: Path, pid: int, folder: Path) -> Sequence[Call]:
    calls, places = [], Counter[str]()
    for line in _read_lines(trace, pid):
        match = _LINE.match(line)
        if match is None:
            continue
        name, arguments, result, _ = match.groups()
        places[name] += 1
        paths = tuple(_find_paths(name, arguments))
        if any(path == str(folder) or path.startswith(f"{folder}/") for path in paths):
            calls.append(Call(name, places[name], paths, arguments, not result.startswith(("-", "?"))))
    return calls


def _read_lines(trace: Path, pid: int) -> Sequence[str]:
    """Return the lines of the main thread; calls that were interrupted by other threads are joined."""
    lines, begun = [], ""
    for line in trace.read_text(errors="surrogateescape").splitlines():
        number, _, text = line.partition(" ")
        if number.isdigit() and int(number) != pid:
            continue
        text = text.strip() if number.isdigit() else line
        if text.endswith("<unfinished ...>"):
            begun = text.removesuffix("<unfinished ...>").rstrip()
        elif text.startswith("<... "):
            lines.append(begun + text.partition("resumed>")[2])
        else:
            lines.append(text)
    return lines


def _find_paths(name: str, arguments: str) -> list[str]:
    """Return the absolute paths of a call: a relative path belongs to the descriptor before it."""
    if name in (*READ, *WRITE, *SYNC, "fchmod"):
        return [match[1] for match in [_DESCRIPTOR.match(arguments)] if match]
    paths, folder = [], str(Path.cwd())
    for match in re.finditer(f"{_DESCRIPTOR.pattern}|{_QUOTED.pattern}", arguments):
        if match[2] is None:
            folder = match[1]
        else:
            paths.append(os.path.normpath(Path(folder, match[2])))
    return paths or [match[1] for match in [_DESCRIPTOR.match(arguments)] if match]
