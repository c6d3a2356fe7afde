"""How a run in this process is told to stop: first to finish what runs, then to stop at once."""

from __future__ import annotations

import threading


class StopSignal:
    """Two events: ``draining`` (running items finish, nothing new starts) and ``stopping`` (running items end now)."""

    def __init__(self) -> None:
        self._draining = threading.Event()
        self._stopping = threading.Event()

    @property
    def draining(self) -> bool:
        """Whether no further item may start."""
        return self._draining.is_set()

    @property
    def stopping(self) -> bool:
        """Whether running items must end now."""
        return self._stopping.is_set()

    def drain(self) -> None:
        """Let running items finish and start nothing new."""
        self._draining.set()

    def stop(self) -> None:
        """End running items now."""
        self._draining.set()
        self._stopping.set()


_signals: dict[str, StopSignal] = {}
_lock = threading.Lock()


def stop_signal(run_id: str) -> StopSignal:
    """The signal of one run in this process, made when first asked for."""
    with _lock:
        return _signals.setdefault(run_id, StopSignal())


def forget_signal(run_id: str) -> None:
    """Drop the signal of a run that is over."""
    with _lock:
        _signals.pop(run_id, None)
