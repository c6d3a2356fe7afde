"""The layout of an output folder: the path of every file."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tasks.engine.store.object_folder import ObjectFolder, get_object_folder
from tasks.engine.store.object_tree import make_object_tree
from tasks.engine.store.tree import Tree, is_plain_path

STATE_FOLDER = ".headrace"
RUN_FILES = frozenset({"summary.json", "items.parquet", "failures.json", "report.html"})


@dataclass(frozen=True)
class Layout:
    """The paths of one output folder. See ``docs/outputs.md``.

    store  URL of the folder if it is in a store; ``output_dir`` is the local work folder then. Empty if it is local
    """

    output_dir: Path
    store: str = ""

    @property
    def state_folder(self) -> Path:
        """The engine's own folder."""
        return self.output_dir / STATE_FOLDER

    @property
    def tree(self) -> Tree:
        """The output folder as a tree, for all reads, writes and removals of the engine."""
        return make_object_tree(self.output_dir, self.objects) if self.store else Tree(self.output_dir)

    @property
    def objects(self) -> ObjectFolder:
        """The objects of a folder in a store, as this process knows them."""
        return get_object_folder(self.store, self.output_dir)

    @property
    def local(self) -> Layout:
        """The layout of the local folder."""
        return Layout(self.output_dir)

    @property
    def place(self) -> str:
        """The output folder as users know it: its path or its URL."""
        return self.store or str(self.output_dir)

    def name(self, path: str) -> str:
        """Return the path or the URL of a file, as users know it. ``path`` is relative to the output folder."""
        return f"{self.store}/{path}" if self.store else str(self.output_dir / path)

    @property
    def lock(self) -> Path:
        """The lock of the active run."""
        return self.state_folder / "lock"

    def records(self, stage: str) -> Path:
        """Return the folder of the records, ``<id>.json``, and of ``<id>.stale``: files of unfinished items."""
        return self.state_folder / "records" / stage

    def failures(self, stage: str) -> Path:
        """Return the folder of the failures of the last run, ``<id>.json``."""
        return self.state_folder / "failures" / stage

    def params(self, stage: str) -> Path:
        """Return the folder of the parameters with which items of a stage were done, ``<digest>.json``."""
        return self.state_folder / "params" / stage

    def log(self, stage: str, item_id: str) -> Path:
        """Return the path of a failed item's log: the standard output and error of its process."""
        return self.state_folder / "logs" / stage / f"{item_id}.log"

    @property
    def private(self) -> Path:
        """The private folders of running items, ``<run id>/...``."""
        return self.state_folder / "private"

    @property
    def runs(self) -> Path:
        """The folder with one line per run."""
        return self.state_folder / "runs"

    def relative(self, path: Path) -> str:
        """Return ``path`` relative to the output folder, with forward slashes."""
        root, text = f"{self.output_dir}/", str(path)
        if text.startswith(root):  # as a rule; much faster
            return text.removeprefix(root)
        return path.relative_to(self.output_dir).as_posix()


def is_output_path(path: str) -> bool:
    """Return True if a stage may publish a file at ``path``: in the output folder, but not in the state folder."""
    first = path.partition("/")[0].casefold()
    return is_plain_path(path) and first != STATE_FOLDER and path.casefold() not in RUN_FILES


def remove_output(layout: Layout, path: str) -> None:
    """Remove a published file and its empty parent folders. ``path`` is relative to the output folder.

    Ignores paths that no stage can have published. Raises RunError if one of the parent folders is a symlink.
    """
    if not is_output_path(path):
        return
    layout.tree.unlink(path)
    while path := path.rpartition("/")[0]:
        try:
            layout.tree.remove_empty(path)
        except FileNotFoundError:  # a killed run has removed it, but perhaps not the folders above
            continue
        except OSError:  # not empty
            return


def remove_outputs(layout: Layout, paths: Collection[str]) -> None:
    """Remove published files durably: a power cut cannot bring back a file that no record lists."""
    for path in paths:
        remove_output(layout, path)
    for folder in {
        parent.as_posix() for path in paths if is_output_path(path) for parent in PurePosixPath(path).parents
    }:
        with suppress(FileNotFoundError):  # it went with its last file
            layout.tree.sync_folder("" if folder == "." else folder)


def check_folders(layout: Layout) -> None:
    """Raise RunError if a folder of the engine is a symlink, before anything is read, written or removed."""
    tree = layout.tree
    tree.refuse_link(STATE_FOLDER)
    for path in (STATE_FOLDER, *(f"{STATE_FOLDER}/{folder}" for folder in ("records", "failures", "logs", "params"))):
        for name in tree.names(path):
            tree.refuse_link(f"{path}/{name}")
