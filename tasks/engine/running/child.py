"""The child process of a slot: imports its stage and nothing else, and runs one item after another.

Forked by the stage's template process, or started as ``python -P -m tasks.engine.running.child DESCRIPTOR PARENT``.
A hang, a segfault or a memory cap ends this process only. It never outlives its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from pydantic import TypeAdapter

from tasks.engine.contract.errors import BadInput, TransientError
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Workspace
from tasks.engine.contract.text import short_line
from tasks.engine.running.descendants import end_descendants
from tasks.engine.running.messages import Failed, Finished, Ready, Reply, Request, send_message
from tasks.engine.running.scratch import make_local_scratch, remove_local_scratch
from tasks.engine.running.staging import copy_input
from tasks.engine.running.watchdog import set_mark
from tasks.engine.store.outcomes import COLUMNS, FailureKind, Usage
from tasks.engine.store.publish import collect_outputs
from tasks.engine.store.tree import Tree
from tasks.engine.store.write_errors import find_full_disk

_RESULT = TypeAdapter(StageResult)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # from linux/prctl.h
_RESET_PEAK = b"5"  # from proc(5), clear_refs: sets the peak resident set size to the current one


def main(descriptor: int, parent: int) -> None:
    """Serve requests on the pipe ``descriptor`` until it closes."""
    end_with_parent(parent)
    serve(Connection(descriptor))


def serve(pipe: Connection) -> None:
    """Open the stage that comes through ``pipe``, then run one item per request until the pipe closes."""
    set_mark()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    try:
        stage: Stage = pipe.recv()
        stage.open()
    except Exception as error:  # noqa: BLE001 - any stage may raise anything
        traceback.print_exc()
        pipe.send(Failed("error", _format_message(error), Usage()))
        return
    pipe.send(Ready())
    with contextlib.suppress(EOFError):
        while True:
            send_message(pipe, run_item(stage, pipe.recv()))


def end_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent ends for any reason."""
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # abandoned processes become its children
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("900")  # the kernel kills a child before the scheduler
    if os.getppid() != parent:  # the parent ended before the request
        os._exit(1)


def run_item(stage: Stage, request: Request) -> Reply:
    """Run one item in its private folder; return its result or its failure."""
    meter = _Meter()
    try:
        with _make_workspace(request) as work, end_descendants():
            result = _record_outputs(_run_stage(stage, request.item, work))
        outputs = collect_outputs(work.outputs)
    except Exception as error:  # noqa: BLE001 - turns an exception into a failure
        traceback.print_exc()
        transient = isinstance(error, TransientError)
        return Failed(_classify(error), _format_message(error), meter.read(), transient, find_full_disk(error))
    return Finished(result, outputs, meter.read())


def _run_stage(stage: Stage, item: Item, work: Workspace) -> StageResult:
    """Run the stage. Raises BadInput if the item was refused at planning."""
    if item.refusal:
        raise BadInput(item.refusal)
    return stage.run(item, work)


@contextlib.contextmanager
def _make_workspace(request: Request) -> Iterator[Workspace]:
    """Provide the item's private folders; remove scratch and staged inputs afterwards."""
    outputs, scratch = request.private / "outputs", request.private / "scratch"
    for folder in (outputs, scratch):
        os.makedirs(folder, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_scratch, request.private)
        staged = dict(request.staged)
        if request.local and not request.item.refusal:
            stack.callback(remove_local_scratch, request.local)
            staged = {path: _stage_input(path, request.local / str(n)) for n, path in enumerate(request.item.inputs)}
        yield Workspace(outputs, scratch, request.output_dir, staged)


def _remove_scratch(private: Path) -> None:
    try:
        os.rmdir(private / "scratch")  # most stages leave it empty, and this is faster
    except OSError:
        Tree(private).clear("scratch")


def _stage_input(path: str, folder: Path) -> str:
    make_local_scratch(folder)
    target = str(folder / Path(path).name)
    copy_input(path, target)
    return target


def _record_outputs(result: StageResult) -> StageResult:
    """Return ``result`` as the next run will read it from the record, so that cached and done items are equal.

    Raises TypeError for values that a record cannot hold, and ValueError for reserved names.
    """
    try:
        recorded = _RESULT.validate_json(_RESULT.dump_json(result, warnings=False))
    except ValueError as error:
        raise TypeError(f"the stage's result cannot be kept in a record: {error}") from error
    if taken := sorted(COLUMNS & recorded.values.keys()):
        names = ", ".join(taken)
        raise ValueError(
            f"every row of items.parquet has columns of these names: {names}; the stage's values need others"
        )
    return recorded


def _classify(error: Exception) -> FailureKind:
    if isinstance(error, BadInput):
        return "bad_input"
    return "out_of_memory" if isinstance(error, MemoryError) else "error"


def _format_message(error: Exception) -> str:
    """Describe an exception in one line; the item's log has the traceback."""
    text = short_line(str(error))
    if isinstance(error, BadInput | TransientError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class _Meter:
    """Measures one item: wall and CPU seconds (this process and its ended children), peak resident memory."""

    def __init__(self) -> None:
        self._started_at = time.time()
        self._clock = time.perf_counter()
        self._cpu = _read_cpu_seconds()
        with contextlib.suppress(OSError):
            _write_file("/proc/self/clear_refs", _RESET_PEAK)

    def read(self) -> Usage:
        seconds = time.perf_counter() - self._clock
        return Usage(self._started_at, seconds, _read_cpu_seconds() - self._cpu, _read_peak_memory())


def _read_cpu_seconds() -> float:
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def _read_peak_memory() -> int:
    with contextlib.suppress(OSError):
        if found := re.search(rb"^VmHWM:\s*(\d+) kB$", _read_file("/proc/self/status"), re.MULTILINE):
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB elsewhere


def _read_file(path: str) -> bytes:
    """Return the first 16 KiB of a file of the kernel, faster than :class:`Path` does."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 16 * 1024)
    finally:
        os.close(descriptor)


def _write_file(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
