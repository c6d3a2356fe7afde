"""Where everything lies in an output folder."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tasks.engine.store.tree import Tree, is_plain_path

HOUSE = ".headrace"
RUN_FILES = frozenset({"summary.json", "items.parquet", "failures.json", "report.html"})


@dataclass(frozen=True)
class Layout:
    """The paths of one output folder. See ``docs/outputs.md``."""

    output_dir: Path

    @property
    def house(self) -> Path:
        """The engine's own folder."""
        return self.output_dir / HOUSE

    @property
    def tree(self) -> Tree:
        """The output folder, for everything that the engine reads, writes or removes in it."""
        return Tree(self.output_dir)

    @property
    def lock(self) -> Path:
        """Held by the run that is at work."""
        return self.house / "lock"

    def records(self, stage: str) -> Path:
        """Records of done items, ``<id>.json``, and ``<id>.stale``: files that an item in the making may have."""
        return self.house / "records" / stage

    def failures(self, stage: str) -> Path:
        """What is known of the items that failed last time, ``<id>.json``."""
        return self.house / "failures" / stage

    def log(self, stage: str, item_id: str) -> Path:
        """What a failed item's process wrote to its standard output and error."""
        return self.house / "logs" / stage / f"{item_id}.log"

    @property
    def private(self) -> Path:
        """Private folders of the items that run now, ``<run id>/...``."""
        return self.house / "private"

    @property
    def runs(self) -> Path:
        """One file of one line a run."""
        return self.house / "runs"

    def relative(self, path: Path) -> str:
        """``path`` as seen from the output folder, with forward slashes."""
        return path.relative_to(self.output_dir).as_posix()


def is_output_path(path: str) -> bool:
    """Return True if a stage may publish a file at ``path``: inside the output folder, and none of the engine's own."""
    first = path.partition("/")[0].casefold()
    return is_plain_path(path) and first != HOUSE and path.casefold() not in RUN_FILES


def remove_output(layout: Layout, path: str) -> None:
    """Remove a published file, and the folders that it leaves empty. ``path`` is relative to the output folder.

    A path that no stage can have published is left alone. Raises RunError if one of its folders is a symlink.
    """
    if not is_output_path(path):
        return
    layout.tree.unlink(path)
    while path := path.rpartition("/")[0]:
        try:
            layout.tree.remove_empty(path)
        except OSError:  # not empty
            return


def remove_outputs(layout: Layout, paths: Collection[str]) -> None:
    """Remove published files for good: after a power cut none is back that no record knows."""
    for path in paths:
        remove_output(layout, path)
    for folder in {
        parent.as_posix() for path in paths if is_output_path(path) for parent in PurePosixPath(path).parents
    }:
        with suppress(FileNotFoundError):  # it went with its last file
            layout.tree.sync_folder("" if folder == "." else folder)


def check_folders(layout: Layout) -> None:
    """Raise RunError if a folder of the engine is a symlink. Nothing has been read, written or removed then."""
    tree = layout.tree
    for folder in ("", "records", "failures", "logs", "private", "runs"):
        path = f"{HOUSE}/{folder}".rstrip("/")
        tree.refuse_link(path)
        if folder not in ("private", "runs"):
            for name in tree.names(path):
                tree.refuse_link(f"{path}/{name}")
