"""Compiles numba code once per machine, instead of once in each child process that starts at the same time."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

from tasks.transits.light_curve import LightCurve, Segment, Star
from tasks.transits.params import TransitParams

_loaded: list[bool] = []  # inherited by forked processes


def compile_once(needs_lock: bool = False) -> None:
    """Load all compiled kernels, compiling them if this machine has not yet; other processes wait meanwhile.

    numba keeps compiled code next to the sources, or in the user's cache folder if that is read-only. A cold cache
    takes half a minute, a warm one a fraction of a second. Two processes that write to the cache at the same time can
    leave code under another function's name, which crashes every process that loads it. Some imports compile code too,
    so call this before importing any module that computes.

    Raises OSError with ``needs_lock`` if no lock can be held. Without, this process then has a cache of its own.
    """
    if _loaded:
        return
    with _lock_cache() as is_alone:
        if needs_lock and not is_alone:
            raise OSError("the cache of compiled code cannot be locked")
        if not is_alone:
            _use_private_cache()
        import numba

        from tasks.transits.preparation import prepare
        from tasks.transits.searching import search

        numba.set_num_threads(1)
        search(prepare(_make_sample_curve(), TransitParams()), TransitParams(min_sde=0, min_snr=0, max_planets=1))
    _loaded.append(True)


@contextmanager
def _lock_cache() -> Iterator[bool]:
    """Hold a lock that one process of this user has at a time; False if there is none.

    There is none without a home, without a folder that can be written to, on a filesystem without locks, or if the lock
    is a symlink.
    """
    with ExitStack() as stack:
        is_alone = False
        with suppress(OSError, RuntimeError):  # RuntimeError: the user has no home folder
            folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace"
            folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            file = stack.enter_context(os.fdopen(os.open(folder / "kernels.lock", flags, 0o600), "wb"))
            fcntl.flock(file, fcntl.LOCK_EX)
            is_alone = True
        yield is_alone


def _use_private_cache() -> None:
    """Have this process compile for itself: without a lock, another could write to a shared cache at the same time."""
    folder = tempfile.mkdtemp(prefix="headrace-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = folder


def _make_sample_curve() -> LightCurve:
    """Return twenty days at ten minutes with a transit every three days, of the same types as real curves."""
    time = np.arange(0.0, 20.0, 1 / 144)
    flux = 1.0 + 1e-4 * np.random.default_rng(0).standard_normal(len(time))
    flux[time % 3.0 < 0.1] -= 1e-3
    segment = Segment("S1", "TESS", "SPOC", 600.0, "BTJD")
    zeros = np.zeros(len(time), dtype=np.int64)
    return LightCurve(time, flux, np.full(len(time), 1e-4), zeros, (segment,), Star())
