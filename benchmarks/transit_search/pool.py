"""Runs work without timing in several processes, one thread each."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

Job = TypeVar("Job")
Done = TypeVar("Done")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


def run_parallel(work: Callable[[Job], Done], jobs: Sequence[Job], processes: int, label: str) -> list[Done]:
    """Call ``work`` for each of ``jobs`` and return the results in order; print the progress after ``label``."""
    os.environ.update(ONE_THREAD)  # child processes inherit it before they import anything
    results: list[Done] = []
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for result in pool.imap(work, jobs):
            results.append(result)
            if len(results) % max(1, len(jobs) // 10) == 0:
                print(f"  {label}: {len(results)} of {len(jobs)}", flush=True)
    return results
