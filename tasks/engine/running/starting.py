"""Start the child of a slot: forked by the template of its stage, or as a new Python process.

A forked child has imported its stage already. Both kinds have the same environment, session, log, limits and end.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from typing import BinaryIO, TypeVar

from tasks.engine.contract.stage import Stage
from tasks.engine.running.child_process import ChildProcess, PortableChild, WatchedChild, start_module
from tasks.engine.running.devices import Device
from tasks.engine.running.sibling import is_supported
from tasks.engine.running.templates import find_template
from tasks.engine.running.watchdog import build_watched_environment

T = TypeVar("T")

# Variables that limit libraries to one thread: the slots run in parallel, and a template must not have several.
_THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # of Arrow, which starts this thread when it is imported
}

# Linux kills a child when the *thread* that started it ends (prctl(2), PR_SET_PDEATHSIG). Therefore one thread that
# lives as long as this process starts all processes. A forked child counts as started by it, too.
_spawner = ThreadPoolExecutor(1, thread_name_prefix="headrace-spawner")


def start_child(
    stage: Stage, log: BinaryIO, number: int, mark: str, device: Device | None = None
) -> tuple[ChildProcess, Connection]:
    """Start a child for ``stage`` in the slot ``number``; return it and the pipe to it.

    All its processes have the mark ``mark``, by default that of this process. A child with a device is not forked:
    libraries may read the variables for devices when they are imported.
    """
    environment = _build_environment()
    kept = _run_in_spawner(lambda: build_watched_environment(mark) if mark else build_watched_environment())
    own = {**kept, "HEADRACE_SLOT": str(number)}
    if device:
        own |= device.build_variables(stage.hides_devices)
    elif is_supported():
        template = find_template(stage, environment, _run_in_spawner)
        if started := template.fork(log, own):
            return started
    return _spawn_child(log, {**environment, **own})


def warm_template(stage: Stage) -> None:
    """Let the template of ``stage`` import it in the background, so that the first child need not wait for that."""
    if is_supported():
        template = find_template(stage, _build_environment(), _run_in_spawner)
        threading.Thread(target=template.warm, daemon=True).start()


def _spawn_child(log: BinaryIO, environment: Mapping[str, str]) -> tuple[ChildProcess, Connection]:
    """Start a child as a new Python process."""
    ours, theirs = Pipe()
    with theirs:
        descriptor = theirs.fileno()
        process = _run_in_spawner(lambda: start_module("tasks.engine.running.child", descriptor, log, environment))
    return WatchedChild(process.pid, process.wait) if is_supported() else PortableChild(process), ours


def _run_in_spawner(start: Callable[[], T]) -> T:
    return _spawner.submit(start).result()


def _build_environment() -> dict[str, str]:
    """Return this process's environment with its import path; the folder of the started script comes last.

    ``python flows/x.py`` puts ``flows/`` first on the path, where a module would hide a library of the same name.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    script_folder = os.path.dirname(os.path.abspath(script)) if script else None
    path = sorted(filter(None, sys.path), key=lambda entry: os.path.abspath(entry) == script_folder)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **_THREADS}
