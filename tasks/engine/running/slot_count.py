"""Change the number of slots of a run while it runs: on request, or as the limits of its host change."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.stage import Lane
from tasks.engine.contract.text import count_noun
from tasks.engine.planning.sizing import RunSize
from tasks.engine.store.layout import Layout
from tasks.engine.store.lock import find_owner

MAX_SLOTS = 256
_FILE = "slots"  # in the private folder of the run, which is removed at its end
_REQUEST_SECONDS = 1.0  # between looks for a request
_HOST_SECONDS = 5.0  # between looks at the host


def request_slots(layout: Layout, slots: int) -> str:
    """Ask the active run of an output folder to use ``slots`` slots; return its id.

    Raises RunError if no run is active.
    """
    owner = find_owner(layout.lock)
    if owner is None:
        raise RunError(f"no run is active in {layout.place}; start one, or set its slots with --workers")
    layout.tree.write(_get_path(layout, owner.run_id), f"{slots}\n".encode(), durable=False)
    return owner.run_id


def read_requested_slots(layout: Layout, run_id: str) -> int | None:
    """Return the number of slots that was requested for a run; None if there is no valid request."""
    with suppress(OSError, ValueError):
        slots = int(layout.tree.read(_get_path(layout, run_id), 16))
        return slots if 1 <= slots <= MAX_SLOTS else None
    return None


def _get_path(layout: Layout, run_id: str) -> str:
    return f"{layout.relative(layout.private)}/{run_id}/{_FILE}"


@dataclass
class SlotCount:
    """Keeps ``widths``, the number of slots per lane, up to date.

    A request overrides the size that the host allows. Without ``resize`` only requests count: the user has set the
    number. ``say`` gets a line about every change.
    """

    layout: Layout
    run_id: str
    widths: dict[Lane, int]
    say: Callable[[str], None]
    resize: Callable[[], RunSize] | None = None
    _next_request: float = 0.0
    _next_host: float = 0.0
    _requested: int | None = None
    _allowed: int | None = None

    def update(self, now: float) -> RunSize | None:
        """Look for a request and at the host if it is time; return the new size of the host if it changed."""
        size = None
        if now >= self._next_request:
            self._next_request = now + _REQUEST_SECONDS
            requested = read_requested_slots(self.layout, self.run_id)
            if requested != self._requested:
                self._requested = requested
                self._set(requested or self._allowed or self.widths["cpu"], "requested")
        if self.resize and now >= self._next_host:
            self._next_host = now + _HOST_SECONDS
            size = self.resize()
            if self._allowed is not None and size.widths["cpu"] != self._allowed and not self._requested:
                self._set(size.widths["cpu"], "the limits of this host have changed")
            self._allowed = size.widths["cpu"]
        return size

    def allow(self, slots: int, reason: str) -> None:
        """Take the number of slots that the workers of a cluster have together."""
        self._allowed = slots
        if not self._requested:
            self._set(slots, reason)

    def _set(self, slots: int, reason: str) -> None:
        if slots != self.widths["cpu"]:
            self.widths["cpu"] = slots
            self.say(f"{count_noun(slots, 'slot')} from now on ({reason})")
