"""Stop a run: on request, or because it cannot continue."""

from __future__ import annotations

from tasks.engine.contract.errors import RunError
from tasks.engine.running.control import StopLevel, get_stop_signal


class RunControl:
    """Stops one run of this process, and remembers why."""

    def __init__(self, run_id: str) -> None:
        self._signal = get_stop_signal(run_id)
        self.error = ""

    @property
    def level(self) -> StopLevel | None:
        """How the run was told to stop; None while it continues."""
        if self._signal.stopping:
            return "stop"
        return "drain" if self._signal.draining else None

    def interrupt(self) -> None:
        """First call: running items finish, nothing new starts. Second call: stop now."""
        if self._signal.draining:
            self._signal.stop()
        else:
            self._signal.drain()

    def stop(self) -> None:
        """Stop now."""
        self._signal.stop()

    def fail(self, error: RunError) -> None:
        """Stop now because the run cannot continue; the summary gives the first error."""
        self.error = self.error or str(error)
        self._signal.stop()
