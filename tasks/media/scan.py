"""Scanning input folders, for all flows: the files that are read, and the number of others by kind.

A folder is listed once, and the scan never leaves it. No file is skipped silently. Files of other kinds are counted in
a note. Unreadable files of the right kind (broken symlinks, pipes, names that no table can hold, folders without
permission) are listed with the reason, so that they become failed items.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest import InputFolder, is_utf8, shorten
from tasks.engine.contract.placeholders import fill_placeholder
from tasks.engine.contract.text import showable
from tasks.media.folder import natural_sort_key
from tasks.media.kinds import HEAD_BYTES, IMAGE_SUFFIXES, VIDEOS, InputKind, get_suffix, is_ambiguous

MAX_LEVELS = 32  # of nested folders: no collection has more
_IGNORED_NAMES = frozenset({"__MACOSX"})
_STATE_FOLDER = ".headrace"  # identifies output folders
_MAX_KINDS = 12
_MAX_NAMED = 5
# Singular noun and the rest of the clause.
_SKIPPED_WORDS = {
    "hidden": ("hidden name", "skipped"),
    "link": ("symlink", "to folders not followed"),
    "loop": ("symlink", "to a parent folder not followed"),
    "again": ("folder", "not read again through another symlink"),
}


@dataclass(frozen=True)
class File:
    """A file of the requested kind. ``refusal`` is the reason why it cannot be used; empty if it can."""

    name: str
    size_bytes: int
    refusal: str = ""


@dataclass(frozen=True)
class Folder:
    """A folder and the relevant part of its content.

    path         relative to the root, with forward slashes; ``.`` is the root
    folders      direct subfolders, in natural order
    image_count  number of images directly in it
    files        files of the requested kind directly in it, in natural order
    reason       why it could not be listed; empty if it could
    """

    path: str
    name: str
    folders: tuple[Folder, ...] = ()
    image_count: int = 0
    files: tuple[File, ...] = ()
    reason: str = ""

    def walk(self) -> Iterator[Folder]:
        """Yield this folder and all its subfolders, at any depth."""
        yield self
        for folder in self.folders:
            yield from folder.walk()

    def find_child(self, name: str) -> Folder | None:
        """Return the direct subfolder with this name; None if there is none."""
        return next((folder for folder in self.folders if folder.name == name), None)


@dataclass(frozen=True)
class Skipped:
    """Counts of everything that a scan did not read.

    kinds    number of files by suffix
    names    number of hidden names, and of symlinks by the reason why they are not followed
    outputs  output folders of earlier runs, relative to the root
    """

    kinds: Counter[str] = field(default_factory=Counter)
    names: Counter[str] = field(default_factory=Counter)
    outputs: list[str] = field(default_factory=list)

    def describe(self, kind: str, other_suffixes: Collection[str]) -> list[str]:
        """Return a clause per reason, without files with ``other_suffixes``, which are read in another way."""
        kinds = Counter({suffix: number for suffix, number in self.kinds.items() if suffix not in other_suffixes})
        clauses = (
            [f"{_count(kinds.total(), 'file')} not read, because not {kind}: {_list_kinds(kinds)}"] if kinds else []
        )
        for key, words in _SKIPPED_WORDS.items():
            clauses += [f"{_count(self.names[key], words[0])} {words[1]}"] if self.names[key] else []
        if self.outputs:
            names = ", ".join(map(shorten, self.outputs[:_MAX_NAMED])) + (", ..." * (len(self.outputs) > _MAX_NAMED))
            clauses.append(f"{_count(len(self.outputs), 'output folder')} of earlier runs not read: {names}")
        return clauses


@dataclass(frozen=True)
class Tree:
    """The result of a scan. ``problems`` prevent a run.

    where  the option and the folder, for messages
    kind   name of the files that are read
    """

    where: str
    kind: str
    root: Folder
    problems: tuple[Problem, ...]
    skipped: Skipped

    def make_notes(self, other_suffixes: Collection[str] = ()) -> tuple[str, ...]:
        """Return one line that counts everything that is not read; empty if there is none.

        Files with ``other_suffixes`` are read in another way.
        """
        clauses = self.skipped.describe(self.kind, other_suffixes)
        return (showable(f"{self.where}: {'; '.join(clauses)}"),) if clauses else ()


def scan_folder(folder: InputFolder, kind: InputKind, follows_links: bool = False) -> Tree:
    """List everything in ``folder``. Reports a root that cannot be listed as a problem.

    ``follows_links``: follow symlinks to folders inside, each folder once; otherwise count them.
    """
    walk = _Walk(folder.root, folder.option, os.path.realpath(folder.root), kind, follows_links)
    root = walk.list_folder(".", folder.root.name, (walk.real,), linked=False)
    if root.reason:
        walk.problems.append(Problem(walk.where, root.reason, "a folder that can be read", "check its permissions"))
    return walk.make_tree(root)


def scan_videos(folder: InputFolder, notes: list[str]) -> tuple[dict[str, File], list[Problem]]:
    """Return every video in ``folder`` by its path, in natural order, and the problems that prevent a run.

    Appends a line about files that are not read to ``notes``. A folder without videos is a problem.
    """
    tree = scan_folder(folder, VIDEOS)
    files = dict(sorted(list_files(tree.root), key=lambda pair: natural_sort_key(pair[0])))
    notes += tree.make_notes()
    if files or tree.problems:
        return files, list(tree.problems)
    return files, [make_no_files_problem(tree, folder.option, VIDEOS)]


def make_no_files_problem(tree: Tree, option: str, kind: InputKind) -> Problem:
    """Return the problem that a folder holds no file that the flow reads."""
    given = showable("; ".join([f"no {kind.name}", *tree.skipped.describe(kind.name, ())]))
    allowed = f"files ending in {', '.join(sorted(kind.suffixes))}, or others with such content"
    return Problem(tree.where, given, allowed, f"check {option}")


def list_files(folder: Folder) -> list[tuple[str, File]]:
    """Return every file of the requested kind with its path, folder by folder.

    A folder that cannot be listed counts as an unusable file.
    """
    return [pair for subfolder in folder.walk() for pair in _list_own_files(subfolder)]


def _list_own_files(folder: Folder) -> list[tuple[str, File]]:
    if folder.reason:
        return [(folder.path, _make_unlistable(folder))]
    return [(join_path(folder.path, file.name), file) for file in folder.files]


def scan_subfolder(folder: InputFolder, path: str, kind: InputKind) -> Tree:
    """List the folder ``path`` of ``folder`` like ``scan_folder``, following symlinks; ``path`` must be inside."""
    walk = _Walk(folder.root, folder.option, os.path.realpath(folder.root), kind, follows_links=True)
    root = walk.list_folder(path, path, (os.path.realpath(folder.root / path),), linked=False)
    return walk.make_tree(root)


def is_hidden(name: str) -> bool:
    """Return True for names that are skipped: those that begin with a dot, and metadata that macOS adds to archives."""
    return name.startswith(".") or name in _IGNORED_NAMES


def join_path(folder: str, name: str) -> str:
    """Return the relative path of ``name`` in ``folder``."""
    return name if folder == "." else f"{folder}/{name}"


def explain_refused_name(path: str) -> str:
    """Return why the name of ``path`` prevents an item, and the remedy; empty if it does not."""
    if showable(path) == path:
        return ""
    reason = "has control or hidden characters" if is_utf8(path) else "is not UTF-8"
    return f"{showable(path)}: its name {reason}; rename it"


@dataclass
class _Walk:
    """A walk over one tree. The walk fills the last three fields.

    linked  real paths of the folders that were reached through a symlink
    """

    root: Path
    option: str
    real: str
    kind: InputKind
    follows_links: bool
    problems: list[Problem] = field(default_factory=list)
    linked: set[str] = field(default_factory=set)
    skipped: Skipped = field(default_factory=Skipped)

    @property
    def where(self) -> str:
        """The option and the folder, for messages."""
        return showable(f"{self.option} {self.root}")

    def make_tree(self, root: Folder) -> Tree:
        """Return the result of the finished walk."""
        return Tree(self.where, self.kind.name, root, tuple(self.problems), self.skipped)

    def list_folder(self, path: str, name: str, above: tuple[str, ...], linked: bool) -> Folder:
        """List the folder at ``path``; ``above`` are the real paths of its parents and its own."""
        try:
            with os.scandir(self.root / path) as scanned:
                entries = list(scanned)
        except OSError as error:
            return Folder(path, name, reason=f"cannot be listed ({error.strerror})")
        visible = [entry for entry in entries if not is_hidden(entry.name)]
        self.skipped.names["hidden"] += len(entries) - len(visible)
        folders = [entry for entry in visible if entry.is_dir()]
        image_count, files = self._list_files(path, [entry for entry in visible if not entry.is_dir()])
        return Folder(path, name, tuple(self._list_folders(path, folders, above, linked)), image_count, files)

    def _list_files(self, path: str, entries: list[os.DirEntry[str]]) -> tuple[int, tuple[File, ...]]:
        """Return the number of images and the files that are read; count the others."""
        image_count, files = 0, []
        for entry in entries:
            suffix = get_suffix(entry.name)
            if self.kind.counts_images and suffix in IMAGE_SUFFIXES:
                image_count += self._check_inside(path, entry)
            elif not self._is_read(entry, suffix):
                self.skipped.kinds[suffix] += 1
            elif self._check_inside(path, entry):
                files.append(_make_file(join_path(path, entry.name), entry))
        return image_count, tuple(sorted(files, key=lambda file: natural_sort_key(file.name)))

    def _is_read(self, entry: os.DirEntry[str], suffix: str) -> bool:
        if suffix in self.kind.suffixes:
            return True
        return is_ambiguous(suffix) and self.kind.is_readable(_read_head(entry))

    def _list_folders(
        self, path: str, entries: list[os.DirEntry[str]], above: tuple[str, ...], linked: bool
    ) -> Iterator[Folder]:
        for entry in sorted(entries, key=lambda entry: natural_sort_key(entry.name)):
            within, is_link = join_path(path, entry.name), entry.is_symlink()
            if self._skip(within, entry) or not self._check_entry(path, entry, above):
                continue
            real = os.path.realpath(entry.path) if is_link else f"{above[-1].rstrip(os.sep)}/{entry.name}"
            if real in above:
                self.skipped.names["loop"] += 1
            elif (linked or is_link) and real in self.linked:
                self.skipped.names["again"] += 1
            else:
                self.linked |= {real} if linked or is_link else set()
                yield self.list_folder(within, entry.name, (*above, real), linked or is_link)

    def _skip(self, path: str, entry: os.DirEntry[str]) -> bool:
        """Return True for symlinks that are not followed and for output folders of runs, and count them."""
        if entry.is_symlink() and not self.follows_links:
            self.skipped.names["link"] += 1
            return True
        if _is_output_folder(entry):
            self.skipped.outputs.append(path)
            return True
        return False

    def _check_entry(self, path: str, entry: os.DirEntry[str], above: tuple[str, ...]) -> bool:
        """Return True if a subfolder is inside and not too deep; otherwise report a problem."""
        if not self._check_inside(path, entry):
            return False
        if len(above) <= MAX_LEVELS:
            return True
        given = f"more than {MAX_LEVELS} nested folders at {shorten(join_path(path, entry.name))}"
        self._report_problem(given, f"at most {MAX_LEVELS}", "move it up")
        return False

    def _check_inside(self, path: str, entry: os.DirEntry[str]) -> bool:
        """Return True if the entry's real path is inside; otherwise report a problem."""
        if not entry.is_symlink() or _is_within(os.path.realpath(entry.path), self.real):
            return True
        given = f"{shorten(join_path(path, entry.name))} is a symlink that points outside"
        advice = f"copy the files there, or point {self.option} at the folder that holds them"
        self._report_problem(given, f"files inside {self.root}", advice)
        return False

    def _report_problem(self, given: str, allowed: str, advice: str) -> None:
        self.problems.append(Problem(self.where, showable(given), showable(allowed), showable(advice)))


def _make_file(path: str, entry: os.DirEntry[str]) -> File:
    try:
        status = entry.stat()
    except OSError as error:
        broken = "is a broken symlink; restore its target or remove it"
        reason = broken if entry.is_symlink() else f"cannot be read ({error.strerror}); check its permissions"
        return File(entry.name, 0, explain_refused_name(path) or f"{entry.name}: {reason}")
    special = "" if stat.S_ISREG(status.st_mode) else f"{entry.name}: is a pipe or a device, not a file; remove it"
    return File(entry.name, status.st_size, explain_refused_name(path) or special)


def _make_unlistable(folder: Folder) -> File:
    advice = "check its permissions"
    return File(folder.name, 0, explain_refused_name(folder.path) or f"{folder.path}: {folder.reason}; {advice}")


def _is_output_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISDIR(Path(entry.path, _STATE_FOLDER).stat().st_mode)
    except OSError:
        return False


def _read_head(entry: os.DirEntry[str]) -> bytes:
    """Return the first bytes of a regular file; none if it is not one or cannot be read."""
    try:
        if not stat.S_ISREG(entry.stat().st_mode):
            return b""
        fill_placeholder(entry.path)
        with Path(entry.path).open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _list_kinds(kinds: Counter[str]) -> str:
    """Return the most frequent suffixes with their counts."""
    shown = [f"{number:,} {suffix or 'without a suffix'}" for suffix, number in kinds.most_common(_MAX_KINDS)]
    rest = len(kinds) - len(shown)
    return ", ".join([*shown, *([f"{rest} other kinds"] if rest else [])])


def _is_within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
