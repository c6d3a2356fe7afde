"""Trace the system calls of a scenario with strace, and make one of them fail or kill the process.

Scenarios are in ``scenarios.py``. Each runs in a child process that a fork server starts in a few milliseconds, and
strace attaches before it begins. Numbers of calls therefore do not depend on imports.
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
_CANNOT = 3  # exit code of a scenario that ended with one of the engine's own errors


@dataclass(frozen=True)
class Call:
    """One system call of the main thread.

    ``place`` counts the calls of this name from 1, as strace's ``when`` does. ``paths`` are absolute; the first is the
    file or the source, the second the target of a rename or link.
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
class Ended:
    """The end of a scenario: exit code (negative: a signal), what it said, and its calls in ``folder``."""

    code: int
    said: str
    calls: tuple[Call, ...]

    @property
    def is_refused(self) -> bool:
        """Return True if the scenario ended with one of the engine's own errors."""
        return self.code == _CANNOT


def run_traced(scenario: str, folder: Path, work: Path, inject: str = "") -> Ended:
    """Run a scenario in ``folder`` under strace; returns the calls of its main thread that concern the folder.

    ``inject`` is the value of strace's option of that name. ``work`` is a new folder for the trace.
    """
    work.mkdir()
    process = _server().Process(target=_run, args=(scenario, folder, work / "said", dict(os.environ)), daemon=True)
    process.start()
    assert process.pid is not None
    trace = work / "trace"
    command = ["strace", "-f", "-y", "-qqq", "-e", "signal=none", "-e", f"trace={','.join(f'?{c}' for c in _TRACED)}"]
    command += ["-e", f"inject={inject}"] if inject else []
    try:
        wait_until(lambda: _state(process.pid) == "T", "the scenario waits for strace")
        tracer = subprocess.Popen([*command, "-o", str(trace), "-p", str(process.pid)], stderr=subprocess.PIPE)
        wait_until(lambda: _tracer(process.pid), f"strace has attached to {process.pid}")
        os.kill(process.pid, signal.SIGCONT)
        _, problem = tracer.communicate()
        assert trace.exists(), problem.decode()
        process.join()
    finally:
        with contextlib.suppress(AttributeError, ValueError):
            process.kill()
    said = (work / "said").read_text() if (work / "said").exists() else ""
    assert process.exitcode is not None
    return Ended(process.exitcode, said, tuple(_calls(trace, process.pid, folder)))


def spoil(call: Call, how: str) -> str:
    """Return the value of ``inject`` that makes ``call`` fail with the error ``how``, or be the last one ("KILL")."""
    effect = "signal=KILL" if how == "KILL" else f"error={how}"
    return f"{call.name}:{effect}:when={call.place}"


@cache
def _server() -> ForkServerContext:
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.engine.scenarios"])
    return context


def _run(name: str, folder: Path, said: Path, environment: Mapping[str, str]) -> None:
    """Be the child: wait for strace, run the scenario, and say how it ended."""
    os.environ.update(environment)  # the fork server has that of the first test
    from tasks.engine.store.lock import SECONDS_VARIABLE
    from tasks.engine.store.write_errors import explain_write_errors
    from tests.engine.scenarios import SCENARIOS

    os.environ[SECONDS_VARIABLE] = "0.5"  # the next run waits no longer if it cannot tell whether this one is dead
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
        said.write_text(str(error))
        code = _CANNOT
    except BaseException:
        said.write_text(traceback.format_exc())
        code = 1
    os._exit(code)


def _state(pid: int | None) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _tracer(pid: int | None) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return "TracerPid:\t0\n" not in status


def _calls(trace: Path, pid: int, folder: Path) -> Sequence[Call]:
    calls, places = [], Counter[str]()
    for line in _whole_lines(trace, pid):
        found = _LINE.match(line)
        if found is None:
            continue
        name, arguments, result, _ = found.groups()
        places[name] += 1
        paths = tuple(_paths(name, arguments))
        if any(path == str(folder) or path.startswith(f"{folder}/") for path in paths):
            calls.append(Call(name, places[name], paths, arguments, not result.startswith(("-", "?"))))
    return calls


def _whole_lines(trace: Path, pid: int) -> Sequence[str]:
    """Return the lines of the main thread; calls that were split by those of other threads are put together."""
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


def _paths(name: str, arguments: str) -> list[str]:
    """Return the absolute paths that a call names: relative ones belong to the descriptor before them."""
    if name in (*READ, *WRITE, *SYNC, "fchmod"):
        return [found[1] for found in [_DESCRIPTOR.match(arguments)] if found]
    paths, folder = [], str(Path.cwd())
    for found in re.finditer(f"{_DESCRIPTOR.pattern}|{_QUOTED.pattern}", arguments):
        if found[2] is None:
            folder = found[1]
        else:
            paths.append(os.path.normpath(Path(folder, found[2])))
    return paths or [found[1] for found in [_DESCRIPTOR.match(arguments)] if found]
