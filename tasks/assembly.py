"""Items that are made in parts: a video is cut into segments, these are worked on in all slots, and then joined.

The parts wait on the disk for the whole, and go when it is done. What an earlier run has put together needs no parts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from tasks.batch import BatchRun, StageRun
from tasks.engine.files import free_bytes
from tasks.engine.items import Item
from tasks.engine.stage import Stage

_SHARE_OF_FREE = 0.5
_GIB = 2**30


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
class Assembly:
    """How wholes are put together in a run.

    parts, wholes   the two stages
    refuse          the item that takes the place of a whole whose parts have no room, and fails saying why
    scratch_bytes   most disk space for parts that wait; None for half of what is free
    keeps_parts     parts stay when their whole is there; a later run that does not keep them removes them
    """

    parts: Stage
    wholes: Stage
    refuse: Callable[[Item, str], Item]
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
        """``todo`` in order, in groups whose parts fit into the scratch space as it is then; a large one is alone."""
        waiting = list(todo)
        while waiting:
            free = free_bytes(run.output_dir)
            most = free * _SHARE_OF_FREE if self.scratch_bytes is None else self.scratch_bytes
            group, size = [self._with_room(waiting.pop(0), free)], 0
            size = group[0].parts_bytes
            while waiting and size + waiting[0].parts_bytes <= most:
                size += waiting[0].parts_bytes
                group.append(waiting.pop(0))
            yield group

    def _with_room(self, whole: Whole, free: int) -> Whole:
        """``whole``; one that fails and says so where its parts and itself do not fit onto the disk together."""
        needed = 2 * whole.parts_bytes
        if needed <= free:
            return whole
        words = f"its parts and itself need about {needed / _GIB:.1f} GiB, and {free / _GIB:.1f} GiB is free: make room"
        return Whole(self.refuse(whole.item, words), (), 0)

    def _predict(self, run: BatchRun, todo: Sequence[Whole]) -> None:
        parts = [part for whole in todo for part in whole.parts]
        if not parts:
            return
        run.stage(self.parts, parts, limited=False)
        largest = max(whole.parts_bytes for whole in todo)
        total = sum(whole.parts_bytes for whole in todo)
        free = free_bytes(run.output_dir)
        run.display.say(
            f"{self.wholes.name}: {len(todo)} to put together, about {total / _GIB:.1f} GiB; the parts of the largest "
            f"take {largest / _GIB:.1f} GiB until then, {free / _GIB:.1f} GiB is free"
        )
