"""Items that are made in parts: a video is cut into segments, these are worked on in all slots, and then joined.

The parts wait on the disk for the whole, and go when it is done. What an earlier run has put together needs no parts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from tasks.batch import BatchRun, StageRun
from tasks.engine.contract.errors import RunError
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage
from tasks.engine.store.files import format_bytes, free_bytes

_SHARE_OF_FREE = 0.5


@dataclass(frozen=True)
class Whole:
    """What is put together of parts.

    item         of the stage that does so
    parts        items of the stage that makes them
    parts_bytes  about how much disk the parts take until then, and the whole after it
    """

    item: Item
    parts: tuple[Item, ...]
    parts_bytes: int


@dataclass(frozen=True)
class _Waiting:
    """A whole that is to be made, and the disk space for its parts that are not made yet."""

    whole: Whole
    missing_bytes: int

    @property
    def needed_bytes(self) -> int:
        """Disk space for the missing parts and for the whole, which is made while they are there."""
        return self.missing_bytes + self.whole.parts_bytes


@dataclass(frozen=True)
class Assembly:
    """How wholes are put together in a run.

    parts, wholes   the two stages
    scratch_bytes   most disk space for parts that wait; None for half of what is free
    keeps_parts     parts stay when their whole is there; a later run that does not keep them removes them
    """

    parts: Stage
    wholes: Stage
    scratch_bytes: int | None = None
    keeps_parts: bool = False

    def run(self, run: BatchRun, wholes: Sequence[Whole]) -> list[StageRun]:
        """Make the parts of every whole that is not there, put them together, and remove them.

        Returns the runs of the stage of wholes. In a dry run it says what would be done.
        """
        outlook = run.outlook(self.wholes, [whole.item for whole in wholes])
        known = {whole.item.id: whole for whole in wholes}
        todo = [known[planned.item.id] for planned in outlook.todo]
        left = [planned.item for planned in outlook.left]
        if run.execution.dry_run:
            self._predict(run, todo)
            return []
        done = {outcome.id for outcome in outlook.settled if outcome.outcome == "cached"}
        self._keep_parts(run, wholes, done)
        waiting = {whole.item.id for whole in todo} | {item.id for item in left}
        settled = [whole.item for whole in wholes if whole.item.id not in waiting]
        runs = [run.stage(self.wholes, settled)] if settled else []
        for group in self._groups(run, todo):
            if made := self._group(run, group):
                runs.append(made)
                done |= {outcome.id for outcome in made.outcomes if outcome.outcome in ("done", "cached")}
            self._keep_parts(run, wholes, done)
        run.leave(self.wholes, left)
        return runs

    def _keep_parts(self, run: BatchRun, wholes: Sequence[Whole], done: Collection[str]) -> None:
        """Remove all parts but those of wholes that are not there yet."""
        if self.keeps_parts:
            return
        run.keep_only(self.parts, [part for whole in wholes if whole.item.id not in done for part in whole.parts])

    def _group(self, run: BatchRun, group: Sequence[Whole]) -> StageRun | None:
        """The parts of some wholes, and then these; None where the run stops before them."""
        items = [whole.item for whole in group]
        parts = [part for whole in group for part in whole.parts]
        if not run.stop_level and parts:
            run.stage(self.parts, parts, limited=False)
        if run.stop_level:
            run.leave(self.wholes, items)
            return None
        return run.stage(self.wholes, items, limited=False)

    def _groups(self, run: BatchRun, todo: Sequence[Whole]) -> Iterator[list[Whole]]:
        """``todo`` in order, in groups that fit onto the disk as it is then; a whole with many parts is alone.

        Those that do not fit wait for the others. If none fits, the run stops: no whole is to blame for a full disk.
        """
        waiting = [_Waiting(whole, self._missing_bytes(run, whole)) for whole in todo]
        while waiting:
            free = free_bytes(run.output_dir)
            group = self._fitting(waiting, free)
            if not group and not run.stop_level:
                run.fail(_no_room(run, waiting, free))
            group = group or waiting  # of a run that stops, nothing is made
            waiting = [one for one in waiting if not any(one is other for other in group)]
            yield [one.whole for one in group]

    def _missing_bytes(self, run: BatchRun, whole: Whole) -> int:
        """Return about how much disk the parts take that an earlier run has not made."""
        missing = run.outlook(self.parts, whole.parts)
        costs = [planned.item.cost for planned in (*missing.todo, *missing.left)]
        total = sum(part.cost for part in whole.parts)
        return round(whole.parts_bytes * sum(costs) / total) if total > 0 else 0

    def _fitting(self, waiting: Sequence[_Waiting], free: int) -> list[_Waiting]:
        """Return those that fit onto the disk together, the first that fits alone among them."""
        most = free * _SHARE_OF_FREE if self.scratch_bytes is None else self.scratch_bytes
        group: list[_Waiting] = []
        parts = needed = 0
        for one in waiting:
            has_room = needed + one.needed_bytes <= free
            if has_room and (not group or parts + one.missing_bytes <= most):
                group.append(one)
                parts, needed = parts + one.missing_bytes, needed + one.needed_bytes
            elif group:
                break
        return group

    def _predict(self, run: BatchRun, todo: Sequence[Whole]) -> None:
        parts = [part for whole in todo for part in whole.parts]
        if not parts:
            return
        run.stage(self.parts, parts, limited=False)
        largest = max(whole.parts_bytes for whole in todo)
        total = sum(whole.parts_bytes for whole in todo)
        free = free_bytes(run.output_dir)
        lacking = "; MORE THAN IS FREE" if total + largest > free else ""
        run.display.say(
            f"{self.wholes.name}: {len(todo)} to put together, about {format_bytes(total)}; the parts of the largest "
            f"take {format_bytes(largest)} until then, {format_bytes(free)} is free{lacking}"
        )


def _no_room(run: BatchRun, waiting: Sequence[_Waiting], free: int) -> RunError:
    """Return the error that ends a run in which no whole that waits fits onto the disk."""
    least = min(waiting, key=lambda one: one.needed_bytes)
    parts, whole = format_bytes(least.missing_bytes), format_bytes(least.whole.parts_bytes)
    needs = f"{format_bytes(least.needed_bytes)} ({parts} for its parts, {whole} for the whole)"
    return RunError(
        f"the disk of {run.output_dir} has too little room: {format_bytes(free)} is free, and {least.whole.item.title} "
        f"needs about {needs}; "
        "free some space or give another --output-dir, then run the same command again"
    )
