"""Limit the disk space of outputs that wait for the items made from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tasks.engine.contract.errors import RunError
from tasks.engine.running.node_run import WholeRun
from tasks.engine.store.files import format_bytes, free_bytes

SHARE_OF_FREE = 0.5  # that outputs which wait may use, without --scratch


class Space:
    """The disk space of the output folder, shared by the wholes that have started.

    ``max_bytes`` limits the parts; None stands for half of the free space. Not thread-safe: the scheduler owns it.
    ``waiting_bytes`` are the outputs that will be dropped once they are used up.
    """

    def __init__(self, output_dir: Path, max_bytes: int | None) -> None:
        self._output_dir = output_dir
        self._max_bytes = max_bytes
        self._started: list[WholeRun] = []
        self.waiting_bytes = 0

    @property
    def is_full(self) -> bool:
        """True if no more outputs should be made that will be dropped."""
        if not self.waiting_bytes:
            return False
        free = free_bytes(self._output_dir) + self.waiting_bytes
        return self.waiting_bytes >= (free * SHARE_OF_FREE if self._max_bytes is None else self._max_bytes)

    def reserve(self, whole: WholeRun) -> bool:
        """Reserve space for a whole and its missing parts; return False if it must wait for others."""
        if whole.needed_bytes:
            free = free_bytes(self._output_dir)
            written = sum(other.written_bytes for other in self._started)
            outstanding = sum(other.needed_bytes for other in self._started) - written
            if outstanding + whole.needed_bytes > free:
                return False
            max_bytes = (free + written) * SHARE_OF_FREE if self._max_bytes is None else self._max_bytes
            parts = sum(other.missing_bytes for other in self._started) + whole.missing_bytes
            if self._started and parts > max_bytes:
                return False
        self._started.append(whole)
        return True

    def release(self, whole: WholeRun) -> None:
        """Release the space of a whole that is settled."""
        if whole in self._started:
            self._started.remove(whole)

    def explain(self, waiting: Sequence[WholeRun]) -> RunError:
        """Return the error of a run in which no waiting whole fits into the free space."""
        smallest = min(waiting, key=lambda whole: whole.needed_bytes)
        parts, whole = format_bytes(round(smallest.missing_bytes)), format_bytes(smallest.parts_bytes)
        title, free = smallest.entry.planned.item.title, format_bytes(free_bytes(self._output_dir))
        needs = f"{format_bytes(round(smallest.needed_bytes))} ({parts} for its parts, {whole} for the whole)"
        return RunError(
            f"the disk of {self._output_dir} has too little room: {free} is free, and {title} needs about {needs}; "
            "free some space or give another --output-dir, then run the same command again"
        )
