"""Fork a process whose parent is not this process but the parent of this process (Linux).

The new process is a child of the process that started this one, which waits for it and reads its exit status. It
survives the end of this process. ``os.fork`` cannot do this: the flag CLONE_PARENT of clone(2) does.

Functions that C libraries registered with pthread_atfork(3) do not run. They protect locks from other threads, so this
process must have one thread only. Functions registered with :func:`os.register_at_fork` run as usual.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import signal
import sys
from collections.abc import Callable
from functools import cache

_CLONE_PARENT, _CLONE_CHILD_CLEARTID, _CLONE_CHILD_SETTID = 0x8000, 0x200000, 0x1000000  # from linux/sched.h
_PR_GET_TID_ADDRESS = 40  # from linux/prctl.h
# By machine: number of the system call, and True if the address of the thread's id comes before its local storage.
_CLONE = {"x86_64": (56, True), "aarch64": (220, False)}


def is_supported() -> bool:
    """Return True if this system can fork siblings and wait for them."""
    if sys.platform != "linux" or platform.machine() not in _CLONE:
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return all(hasattr(ctypes.pythonapi, name) for name in ("PyOS_BeforeFork", "PyOS_AfterFork_Child"))


def count_threads() -> int:
    """Return the number of threads of this process, including those that Python does not know."""
    return len(os.listdir("/proc/self/task"))


def fork_sibling() -> int:
    """Return 0 in the new process and its process id in this one. Raises OSError, also if there are several threads.

    Leaves the cyclic garbage collector disabled in both processes.
    """
    if count_threads() > 1:
        raise OSError("a process with several threads cannot fork a sibling")
    clone, api = _load_clone(), ctypes.pythonapi
    sys.stdout.flush()
    sys.stderr.flush()
    gc.disable()  # Python's internal locks are held between these calls
    api.PyOS_BeforeFork()
    pid = clone()
    if pid == 0:
        api.PyOS_AfterFork_Child()
    else:
        api.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone")
    return pid


@cache
def _load_clone() -> Callable[[], int]:
    """Return a function that calls clone(2) as fork(3) does, with CLONE_PARENT. It keeps the interpreter's lock."""
    libc = ctypes.PyDLL(None, use_errno=True)
    syscall, number = libc.syscall, ctypes.c_long
    syscall.restype = number
    call, is_address_first = _CLONE[platform.machine()]
    address = ctypes.c_void_p()
    flags = _CLONE_PARENT | int(signal.SIGCHLD)
    if libc.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(address), number(0), number(0), number(0)) == 0:
        flags |= _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID  # the C library keeps the thread's id there
    storage = ctypes.c_void_p()
    last = (address, storage) if is_address_first else (storage, address)
    arguments = (number(call), number(flags), number(0), number(0), *last)
    return lambda: int(syscall(*arguments))
