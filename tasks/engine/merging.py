"""Merge the parts of a run into one output folder: items, failures, logs and one summary.

Nothing in a part is changed. Files are linked, or copied if the filesystem has no links, and published like the results
of an item. So a merge that was killed can be repeated, parts can run again for new items, and a later merge takes only
what is new.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from tasks.engine.contract.errors import InvalidInput, Problem, RunError
from tasks.engine.contract.part import Part
from tasks.engine.maintenance import list_stages
from tasks.engine.parts import find_parts, list_runs
from tasks.engine.reporting.merged_summary import merge_summaries
from tasks.engine.reporting.summary import Summary
from tasks.engine.run import open_layout, open_output_dir
from tasks.engine.store.layout import STATE_FOLDER, Layout, check_folders
from tasks.engine.store.lock import HeldLock, hold_lock
from tasks.engine.store.outcomes import Record
from tasks.engine.store.publish import publish
from tasks.engine.store.records import RecordStore
from tasks.engine.store.tree import Tree
from tasks.engine.store.write_errors import explain_write_error

# What filesystems say that have no hard links, or not between these two folders.
_NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_MAX_BYTES = 2**28
_COPIED = ("params", "runs")  # folders of the state folder whose files are copied
_STATES = ("completed", "completed_with_failures", "interrupted", "failed")


@dataclass
class MergeCounts:
    """Numbers of items: added or replaced by a merge, merged before, and left out because an output is missing."""

    added: int = 0
    present: int = 0
    incomplete: int = 0


@dataclass(frozen=True)
class MergedParts:
    """The result of a merge. ``unfinished`` names parts whose last run did not finish."""

    parts: Sequence[Part]
    counts: MergeCounts
    summary: Summary
    unfinished: Sequence[str] = field(default_factory=list)


def merge_parts(output_dir: Path, say: Callable[[str], None] = lambda _: None) -> MergedParts:
    """Merge the parts in ``output_dir`` into it.

    Raises InvalidInput if parts are missing or differ in their parameters, and RunError if one of them is in use.
    """
    layout = open_layout(output_dir)
    if layout.store:
        raise InvalidInput([Problem(layout.store, "a folder in a store", "a folder on a filesystem", "copy the parts")])
    parts = _list_all_parts(layout)
    layouts = [Layout(layout.output_dir / part.folder) for part in parts]
    summaries = [_read_summary(each, part) for each, part in zip(layouts, parts, strict=True)]
    _check_parameters(parts, summaries)
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    with ExitStack() as stack:
        lock = stack.enter_context(open_output_dir(layout, run_id, say))
        for part in layouts:
            stack.enter_context(hold_lock(part.lock, run_id, say))
        try:
            merger = _Merger(layout, layouts, layout.private / run_id, lock)
            merger.merge()
            summary = merge_summaries(layout, layouts, run_id, layout.private / run_id)
        except OSError as error:
            raise explain_write_error(layout.output_dir, error) from error
    unfinished = [
        f"part {part}: {content['state']}: {content['message']}"
        for part, content in zip(parts, summaries, strict=True)
        if content["state"] in ("interrupted", "failed")
    ]
    return MergedParts(parts, merger.counts, summary, unfinished)


def _list_all_parts(layout: Layout) -> list[Part]:
    """Return all parts. Raises InvalidInput unless every part of one number has a folder."""
    parts, where = find_parts(layout.output_dir), str(layout.output_dir)
    if not parts:
        raise InvalidInput(
            [Problem(where, "no parts in it", "the output folder of runs with --part", "check the path")]
        )
    counts = {part.count for part in parts}
    if len(counts) > 1:
        given = f"parts of {' and of '.join(map(str, sorted(counts)))}"
        raise InvalidInput([Problem(where, given, "parts of one number", "remove the folders of the others")])
    missing = set(range(1, parts[0].count + 1)) - {part.number for part in parts}
    if missing:
        raise InvalidInput([_describe_missing(where, Part(number, parts[0].count)) for number in sorted(missing)])
    return parts


def _describe_missing(where: str, part: Part) -> Problem:
    return Problem(where, f"part {part} is missing", "all parts", f"run it with --part {part}")


def _read_summary(layout: Layout, part: Part) -> dict[str, Any]:
    """Return the content of a part's ``summary.json``. Raises InvalidInput if there is none."""
    check_folders(layout)
    try:
        content: dict[str, Any] = from_json(layout.tree.read("summary.json", _MAX_BYTES))
        if list_runs(layout) and content["state"] in _STATES and {"flow", "message", "parameters"} <= content.keys():
            return content
    except (OSError, ValueError, KeyError, TypeError):
        pass
    given, allowed = f"part {part} has no summary.json", "parts whose runs have ended"
    raise InvalidInput([Problem(str(layout.output_dir), given, allowed, f"run it with --part {part}")])


def _check_parameters(parts: Sequence[Part], summaries: Sequence[dict[str, Any]]) -> None:
    """Raise InvalidInput if parts are of different flows, or have different parameters."""
    first, problems = summaries[0], list[Problem]()
    for part, other in zip(parts[1:], summaries[1:], strict=True):
        if other["flow"] != first["flow"]:
            given = f"{other['flow']}, and part {parts[0]} of {first['flow']}"
            problems.append(Problem(f"part {part}", f"a run of {given}", "one flow", "check the folders"))
            continue
        mine, others = _get_parameters(first), _get_parameters(other)
        for name in sorted(mine.keys() | others.keys()):
            if mine.get(name) != others.get(name):
                given = f"{name} is {others.get(name)!r}, and {mine.get(name)!r} in part {parts[0]}"
                problems.append(Problem(f"part {part}", given, "equal parameters", f"run --part {part} again"))
    if problems:
        raise InvalidInput(problems)


def _get_parameters(summary: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that may affect results."""
    parameters: dict[str, Any] = summary["parameters"]
    return {name: value for name, value in parameters.items() if name not in ("output_dir", "execution")}


class _Merger:
    """Copies the items of all parts. The locks of all folders are held."""

    def __init__(self, layout: Layout, parts: Sequence[Layout], private: Path, lock: HeldLock) -> None:
        self.counts = MergeCounts()
        self._layout = layout
        self._parts = parts
        self._private = private
        self._lock = lock

    def merge(self) -> None:
        """Merge records, failures with their logs, and the files about runs and parameters."""
        for part in self._parts:
            for stage in list_stages(part):
                source, target = RecordStore(part, stage), RecordStore(self._layout, stage)
                target.prepare()
                with source.holding(), target.holding():
                    self._merge_records(part, source, target)
                    self._merge_failures(source, target)
            for folder in _COPIED:
                self._copy_files(part, f"{STATE_FOLDER}/{folder}")

    def _merge_records(self, part: Layout, source: RecordStore, target: RecordStore) -> None:
        present = target.ids()
        for item_id in sorted(source.ids()):
            record = source.get(item_id)
            own = target.get(item_id) if item_id in present else None
            if record is None or not (record.dropped or source.has_intact_outputs(record, "size")):
                self.counts.incomplete += 1
            elif own and _is_same(own, record, target):
                self.counts.present += 1
            else:
                if own:
                    self._check_owner(part, record)
                self._publish(part, target, record)
                self.counts.added += 1

    def _publish(self, part: Layout, target: RecordStore, record: Record) -> None:
        """Publish the results of an item like those of a run: all or nothing, the record last."""
        self._lock.check()
        target.look(record.id)
        if record.dropped:
            target.set_aside(record)
            target.write(record)
            target.settle(record)
            target.drop_outputs(record.id)
            return
        private = self._layout.relative(self._private)
        for output in record.outputs:
            link_file(part.tree, output.path, target.tree, f"{private}/outputs/{output.path}")
        publish(self._private / "outputs", record, target)
        target.tree.clear(f"{private}/outputs")

    def _merge_failures(self, source: RecordStore, target: RecordStore) -> None:
        """Copy failures with their logs, unless the item was done here since."""
        done_here = target.ids() - source.ids()
        for item_id in sorted(source.failed_ids() - done_here):
            log = source.layout.log(source.stage, item_id)
            for path in (source.failures_folder / f"{item_id}.json", log):
                name = source.layout.relative(path)
                if source.tree.status(name):
                    self._copy_file(source.tree, name)

    def _check_owner(self, part: Layout, record: Record) -> None:
        """Raise RunError if another part has the item too: one of the results would be lost."""
        for other in self._parts:
            if other is not part and RecordStore(other, record.stage).get(record.id):
                names = f"{part.output_dir.name} and {other.output_dir.name}"
                advice = "remove the part that it does not belong to"
                raise RunError(f"{record.stage} {record.id} is in {names} with different results; {advice}")

    def _copy_files(self, part: Layout, folder: str) -> None:
        for name in part.tree.names(folder):
            path = f"{folder}/{name}"
            if part.tree.is_folder(path):
                self._copy_files(part, path)
            elif not name.startswith("."):
                self._copy_file(part.tree, path)

    def _copy_file(self, source: Tree, path: str) -> None:
        self._lock.check()
        target = self._layout.tree
        with target.opened(path.rpartition("/")[0], make=True):
            target.write(path, source.read(path, _MAX_BYTES), durable=False)


def _is_same(own: Record, record: Record, target: RecordStore) -> bool:
    """Return True if the output folder has the result of a part already."""
    if own.key != record.key or own.dropped != record.dropped:
        return False
    return own.dropped or target.has_intact_outputs(own, "size")


def link_file(source: Tree, path: str, target: Tree, place: str) -> None:
    """Make a file of ``source`` appear in ``target``: as a hard link, or as a copy with the same mtime."""
    (parent, _, name), (to_parent, _, to_name) = path.rpartition("/"), place.rpartition("/")
    with source.opened(parent) as folder, target.opened(to_parent, make=True) as to_folder:
        if _link(name, folder, to_name, to_folder):
            return
        with source.reading(path) as descriptor:
            _copy(descriptor, os.open(to_name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=to_folder))


def _link(name: str, folder: int, to_name: str, to_folder: int) -> bool:
    """Make a hard link between two open folders; return False if there can be none."""
    try:
        os.link(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def _copy(source: int, target: int) -> None:
    status = os.fstat(source)
    with open(target, "wb") as written:
        with open(os.dup(source), "rb") as read:
            shutil.copyfileobj(read, written, 2**20)
        written.flush()
        os.utime(written.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
