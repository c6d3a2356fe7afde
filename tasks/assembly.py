"""Items that are processed in parts: a video is divided into segments, which run in all slots and are then joined.

Parts stay on the disk until their whole is done. Wholes that an earlier run finished need no parts.
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
    """A whole and its parts.

    item         item of the stage that joins the parts
    parts        items of the stage that creates the parts
    parts_bytes  estimated disk space of the parts, and also of the whole
    """

    item: Item
    parts: tuple[Item, ...]
    parts_bytes: int


@dataclass(frozen=True)
class _Waiting:
    """A pending whole, and the disk space for its missing parts."""

    whole: Whole
    missing_bytes: int

    @property
    def needed_bytes(self) -> int:
        """Disk space for the missing parts and for the whole, which exist at the same time."""
        return self.missing_bytes + self.whole.parts_bytes


@dataclass(frozen=True)
class Assembly:
    """Runs the stages of parts and wholes.

    parts, wholes   the two stages
    scratch_bytes   maximum disk space for waiting parts; None for half of the free space
    keeps_parts     keep the parts of finished wholes; a later run without this removes them
    """

    parts: Stage
    wholes: Stage
    scratch_bytes: int | None = None
    keeps_parts: bool = False

    def run(self, run: BatchRun, wholes: Sequence[Whole]) -> list[StageRun]:
        """Process the parts of every pending whole, join them, and remove them.

        Returns the runs of the stage of wholes. In a dry run it predicts the work.
        """
        outlook = run.outlook(self.wholes, [whole.item for whole in wholes])
        by_id = {whole.item.id: whole for whole in wholes}
        todo = [by_id[planned.item.id] for planned in outlook.todo]
        left = [planned.item for planned in outlook.left]
        if run.execution.dry_run:
            self._predict(run, todo)
            return []
        done = {outcome.id for outcome in outlook.settled if outcome.outcome == "cached"}
        self._keep_parts(run, wholes, done)
        waiting = {whole.item.id for whole in todo} | {item.id for item in left}
        settled = [whole.item for whole in wholes if whole.item.id not in waiting]
        runs = [run.stage(self.wholes, settled)] if settled else []
        for group in self._form_groups(run, todo):
            if made := self._run_group(run, group):
                runs.append(made)
                done |= {outcome.id for outcome in made.outcomes if outcome.outcome in ("done", "cached")}
            self._keep_parts(run, wholes, done)
        run.leave(self.wholes, left)
        return runs

    def _keep_parts(self, run: BatchRun, wholes: Sequence[Whole], done: Collection[str]) -> None:
        """Remove all parts except those of pending wholes."""
        if self.keeps_parts:
            return
        run.keep_only(self.parts, [part for whole in wholes if whole.item.id not in done for part in whole.parts])

    def _run_group(self, run: BatchRun, group: Sequence[Whole]) -> StageRun | None:
        """Run the parts of some wholes, then the wholes; return None if the run stops before them."""
        items = [whole.item for whole in group]
        parts = [part for whole in group for part in whole.parts]
        if not run.stop_level and parts:
            run.stage(self.parts, parts, limited=False)
        if run.stop_level:
            run.leave(self.wholes, items)
            return None
        return run.stage(self.wholes, items, limited=False)

    def _form_groups(self, run: BatchRun, todo: Sequence[Whole]) -> Iterator[list[Whole]]:
        """Yield ``todo`` in order, in groups that fit into the free space; a large whole forms a group alone.

        Wholes that do not fit wait for the others. If none fits, the run stops, because no whole causes a full disk.
        """
        waiting = [_Waiting(whole, self._estimate_missing_bytes(run, whole)) for whole in todo]
        while waiting:
            free = free_bytes(run.output_dir)
            group = self._select_fitting(waiting, free)
            if not group and not run.stop_level:
                run.fail(_make_space_error(run, waiting, free))
            group = group or waiting  # a stopping run leaves all of them
            waiting = [entry for entry in waiting if not any(entry is other for other in group)]
            yield [entry.whole for entry in group]

    def _estimate_missing_bytes(self, run: BatchRun, whole: Whole) -> int:
        """Return the estimated disk space of the parts that earlier runs have not finished."""
        missing = run.outlook(self.parts, whole.parts)
        costs = [planned.item.cost for planned in (*missing.todo, *missing.left)]
        total = sum(part.cost for part in whole.parts)
        return round(whole.parts_bytes * sum(costs) / total) if total > 0 else 0

    def _select_fitting(self, waiting: Sequence[_Waiting], free: int) -> list[_Waiting]:
        """Return the wholes that fit together, starting with the first that fits alone."""
        max_bytes = free * _SHARE_OF_FREE if self.scratch_bytes is None else self.scratch_bytes
        group: list[_Waiting] = []
        parts = needed = 0
        for entry in waiting:
            has_room = needed + entry.needed_bytes <= free
            if has_room and (not group or parts + entry.missing_bytes <= max_bytes):
                group.append(entry)
                parts, needed = parts + entry.missing_bytes, needed + entry.needed_bytes
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


def _make_space_error(run: BatchRun, waiting: Sequence[_Waiting], free: int) -> RunError:
    """Return the error of a run in which no waiting whole fits into the free space."""
    smallest = min(waiting, key=lambda entry: entry.needed_bytes)
    parts, whole = format_bytes(smallest.missing_bytes), format_bytes(smallest.whole.parts_bytes)
    title = smallest.whole.item.title
    needs = f"{format_bytes(smallest.needed_bytes)} ({parts} for its parts, {whole} for the whole)"
    return RunError(
        f"the disk of {run.output_dir} has too little room: {format_bytes(free)} is free, and {title} "
        f"needs about {needs}; "
        "free some space or give another --output-dir, then run the same command again"
    )
