"""The stop signal of a run: first let running items finish, then stop immediately."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

StopLevel = Literal["drain", "stop"]


class StopSignal:
    """Two events: ``draining`` (running items finish, no item starts) and ``stopping`` (running items end now)."""

    def __init__(self) -> None:
        self._draining = threading.Event()
        self._stopping = threading.Event()

    @property
    def draining(self) -> bool:
        """True if no more items may start."""
        return self._draining.is_set()

    @property
    def stopping(self) -> bool:
        """True if running items must end now."""
        return self._stopping.is_set()

    def drain(self) -> None:
        """Let running items finish; start no more items."""
        self._draining.set()

    def stop(self) -> None:
        """End running items now."""
        self._draining.set()
        self._stopping.set()


_signals: dict[str, StopSignal] = {}
_lock = threading.Lock()


def get_stop_signal(run_id: str) -> StopSignal:
    """Return the signal of a run in this process; create it on first use."""
    with _lock:
        return _signals.setdefault(run_id, StopSignal())


def forget_signal(run_id: str) -> None:
    """Drop the signal of a run that is over."""
    with _lock:
        _signals.pop(run_id, None)


def tell_to_stop(run_id: str, level: StopLevel) -> None:
    """Set the signal of a run in this process. Called remotely on workers."""
    signal_of_run = get_stop_signal(run_id)
    if level == "drain":
        signal_of_run.drain()
    else:
        signal_of_run.stop()


@contextmanager
def handle_signals(on_interrupt: Callable[[], None], on_terminate: Callable[[], None]) -> Iterator[None]:
    """Call ``on_interrupt`` on SIGINT and ``on_terminate`` on SIGTERM. Has an effect in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: on_interrupt()),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: on_terminate()),
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
