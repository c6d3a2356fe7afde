"""Work spread over processes, one thread each. Nothing that is timed goes through here."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

Job = TypeVar("Job")
Done = TypeVar("Done")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


def spread(work: Callable[[Job], Done], jobs: Sequence[Job], processes: int, what: str) -> list[Done]:
    """``work`` on each of ``jobs``, in their order; says how far it is."""
    os.environ.update(ONE_THREAD)  # children take it over before they import anything
    done: list[Done] = []
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for result in pool.imap(work, jobs):
            done.append(result)
            if len(done) % max(1, len(jobs) // 10) == 0:
                print(f"  {what}: {len(done)} of {len(jobs)}", flush=True)
    return done
