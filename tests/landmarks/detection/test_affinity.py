"""Threads that are made on one core may run on all of them afterwards."""

import os
import threading
from pathlib import Path

import pytest

from tasks.landmarks.detection.affinity import one_core

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinities on this platform")


@pytest.fixture
def running():
    """Starts threads that live until the end of the test; gives the ids under which the system knows them."""
    end, threads = threading.Event(), []

    def start():
        threads.append(threading.Thread(target=end.wait))
        threads[-1].start()
        return threads[-1].native_id

    yield start
    end.set()
    for thread in threads:
        thread.join()


def test_within_there_is_one_core_and_afterwards_all_for_each_thread(running):
    allowed = os.sched_getaffinity(0)
    before = running()
    with one_core():
        assert len(os.sched_getaffinity(0)) == 1
        within = running()
        assert os.sched_getaffinity(within) == os.sched_getaffinity(0)
        assert os.sched_getaffinity(before) == allowed
    assert [os.sched_getaffinity(thread) for thread in (0, before, within, running())] == [allowed] * 4


def test_a_thread_that_others_bound_stays_bound(running):
    allowed = os.sched_getaffinity(0)
    bound = running()
    os.sched_setaffinity(bound, {max(allowed)})
    for _ in range(2):
        with one_core():
            pass
        assert os.sched_getaffinity(bound) == {max(allowed)}


def test_an_error_gives_the_cores_back(running):
    allowed = os.sched_getaffinity(0)
    made = []

    def fail():
        with one_core():
            made.append(running())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert os.sched_getaffinity(0) == os.sched_getaffinity(made[0]) == allowed


def test_a_process_of_one_core_keeps_it(running):
    allowed = os.sched_getaffinity(0)
    only = {min(allowed)}
    os.sched_setaffinity(0, only)
    try:
        with one_core():
            thread = running()
        assert os.sched_getaffinity(0) == os.sched_getaffinity(thread) == only
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_landmarkers_threads_may_run_everywhere(landmarkers):
    allowed = os.sched_getaffinity(0)
    landmarkers("hands")
    threads = [int(entry.name) for entry in Path("/proc/self/task").iterdir()]
    assert len(threads) > 1
    assert [os.sched_getaffinity(thread) for thread in threads] == [allowed] * len(threads)
