"""Stop a run by a call and by a signal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from tasks.engine.running.control import StopSignal, forget_signal, get_stop_signal, handle_signals, tell_to_stop


@pytest.fixture
def run_id() -> Iterator[str]:
    yield "run-of-a-test"
    forget_signal("run-of-a-test")


def test_new_stop_signal_is_not_set() -> None:
    stop = StopSignal()
    assert not stop.draining
    assert not stop.stopping


def test_drain_lets_running_items_finish() -> None:
    stop = StopSignal()
    stop.drain()
    assert stop.draining
    assert not stop.stopping


def test_stop_also_drains() -> None:
    stop = StopSignal()
    stop.stop()
    assert stop.draining
    assert stop.stopping


def test_each_run_has_one_stop_signal_until_it_is_forgotten(run_id: str) -> None:
    first = get_stop_signal(run_id)
    assert get_stop_signal(run_id) is first
    assert get_stop_signal("another run") is not first
    forget_signal("another run")
    forget_signal("a run that never was")
    forget_signal(run_id)
    assert get_stop_signal(run_id) is not first


def test_run_is_stopped_by_its_id(run_id: str) -> None:
    tell_to_stop(run_id, "drain")
    assert (get_stop_signal(run_id).draining, get_stop_signal(run_id).stopping) == (True, False)
    tell_to_stop(run_id, "stop")
    assert (get_stop_signal(run_id).draining, get_stop_signal(run_id).stopping) == (True, True)


def test_signals_are_handled_only_within_the_block() -> None:
    heard: list[str] = []
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with handle_signals(lambda: heard.append("interrupt"), lambda: heard.append("terminate")):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert heard == ["terminate", "interrupt"]
    assert {number: signal.getsignal(number) for number in former} == former


def test_signals_are_not_handled_in_other_threads() -> None:
    """Python does not allow it; the block runs without handlers."""
    ran: list[bool] = []

    def act() -> None:
        former = signal.getsignal(signal.SIGTERM)
        with handle_signals(lambda: None, lambda: None):
            ran.append(signal.getsignal(signal.SIGTERM) is former)

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    assert ran == [True]
