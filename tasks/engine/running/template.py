"""The template process of a stage: imports the stage once, then forks a child for a slot at each request.

Started as ``python -P -m tasks.engine.running.template DESCRIPTOR PARENT``. It preloads the stage, but does not open
it. Each child is a child of the process that started the template: see ``sibling.py``. Therefore the end of the
template, for any reason, ends no child and loses no exit status.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
from multiprocessing.connection import Connection

from tasks.engine.contract.stage import Stage
from tasks.engine.running import child
from tasks.engine.running.messages import Forked, ForkRequest, Imported, Rest
from tasks.engine.running.process_image import replace_variable, set_command_line
from tasks.engine.running.sibling import count_threads, fork_sibling

_IDLE_SECONDS = 60.0  # without a request after the first; a template of large libraries keeps much memory
_REST_SECONDS = 2.0  # the same if no child of it is left


def main(descriptor: int, parent: int) -> None:
    """Import the stage from the pipe ``descriptor``; fork a child per request until it closes or none comes."""
    child.end_with_parent(parent)
    os.set_inheritable(descriptor, False)
    control: Connection = Connection(descriptor)
    refusal = _import_stage(control)
    control.send(Imported(refusal))
    forked = None if refusal else serve(control)
    if forked is None:
        os._exit(0)  # functions registered with atexit are for the children
    child.end_with_parent(parent)
    control.close()
    request, descriptor, log = forked
    _become_child(request.variables, log)
    pipe: Connection = Connection(descriptor)
    pipe.send(Forked(os.getpid()))
    child.serve(pipe)


def _import_stage(control: Connection) -> str:
    """Import the stage; return the reason if this process cannot be a template."""
    try:
        stage: Stage = control.recv()
        stage.preload()
    except Exception as error:  # noqa: BLE001 - a child started without a template reports it
        return f"the stage cannot be imported: {type(error).__name__}"
    with open(os.devnull, "r+b", buffering=0) as null:
        for standard in (1, 2):
            os.dup2(null.fileno(), standard)
    gc.collect()
    gc.freeze()  # the garbage collector of a child would write to all shared memory
    gc.disable()
    threads = count_threads()
    return f"the stage's modules have started threads: there are {threads}" if threads > 1 else ""


def serve(control: Connection) -> tuple[ForkRequest, int, int] | None:
    """Fork a child at each request. Returns its request, pipe and log in the child, and None in the template."""
    patience: float | None = None
    with contextlib.suppress(EOFError), socket.socket(fileno=os.dup(control.fileno())) as channel:
        while control.poll(patience):
            message = control.recv()
            patience = _REST_SECONDS if isinstance(message, Rest) else _IDLE_SECONDS
            if isinstance(message, ForkRequest):
                descriptors = socket.recv_fds(channel, 1, 2, socket.MSG_CMSG_CLOEXEC)[1]
                with contextlib.suppress(OSError):  # the pipe closes, and the slot starts its child in another way
                    if fork_sibling() == 0:
                        pipe, log = descriptors
                        return message, pipe, log
                for descriptor in descriptors:
                    os.close(descriptor)
    return None


def _become_child(variables: dict[str, str], log: int) -> None:
    """Change all that a forked process has from the template and a started process would have of its own."""
    os.setsid()
    for standard in (1, 2):
        os.dup2(log, standard)
    os.close(log)
    for name, value in variables.items():
        replace_variable(name, value)
    os.environ.update(variables)
    set_command_line([*sys.orig_argv[: sys.orig_argv.index("-m") + 1], "tasks.engine.running.child"])
    gc.enable()
    if numpy_random := sys.modules.get("numpy.random"):  # the generator of :mod:`random` is seeded at each fork
        numpy_random.seed()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
