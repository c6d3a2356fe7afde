"""One scan of input folders for all flows: the files that are read, and how many are not, by kind.

A folder is listed once, quickly, and without leaving it. Nothing is passed over silently: what a flow does not read is
counted in a note, and what it should read but cannot (a broken symlink, a pipe, a name that no table can hold, a folder
without permission) is listed with the reason, so that it becomes a failed item.
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
from tasks.engine.contract.text import showable
from tasks.media.folder import natural
from tasks.media.kinds import HEAD_BYTES, PICTURE_SUFFIXES, VIDEOS, Reads, may_be_anything, suffix_of

MAX_LEVELS = 32  # of folders within each other: no collection has more
_PASSED_OVER = frozenset({"__MACOSX"})
_OUTPUT_MARK = ".headrace"  # what every run leaves in its output folder
_MAX_KINDS = 12
_MAX_NAMED = 5
_PASSED_WORDS = {
    "hidden": ("hidden name", "passed over"),
    "link": ("symlink", "to folders not followed"),
    "loop": ("symlink", "to a folder around it not followed"),
    "again": ("folder", "that a further symlink leads to not read again"),
}


@dataclass(frozen=True)
class File:
    """A file of the wanted kind. ``refusal`` says why it cannot be used; it is empty if it can."""

    name: str
    size_bytes: int
    refusal: str = ""


@dataclass(frozen=True)
class Folder:
    """A folder and what counts in it.

    path      relative to the root, with forward slashes; ``.`` is the root
    folders   in natural order
    pictures  number of images right in it
    files     those of the wanted kind right in it, in natural order
    reason    why it could not be listed; empty if it could
    """

    path: str
    name: str
    folders: tuple[Folder, ...] = ()
    pictures: int = 0
    files: tuple[File, ...] = ()
    reason: str = ""

    def below(self) -> Iterator[Folder]:
        """Yield this folder and every folder in it, at any depth."""
        yield self
        for folder in self.folders:
            yield from folder.below()

    def child(self, name: str) -> Folder | None:
        """Return the folder of that name in it."""
        return next((folder for folder in self.folders if folder.name == name), None)


@dataclass(frozen=True)
class Passed:
    """What a scan did not read.

    kinds    number of files by suffix
    names    number of hidden names, and of symlinks by the reason why they are not followed
    outputs  output folders of earlier runs, relative to the root
    """

    kinds: Counter[str] = field(default_factory=Counter)
    names: Counter[str] = field(default_factory=Counter)
    outputs: list[str] = field(default_factory=list)

    def clauses(self, what: str, known: Collection[str]) -> list[str]:
        """Return a clause for each sort; files with a suffix in ``known`` are read in another way."""
        kinds = Counter({suffix: number for suffix, number in self.kinds.items() if suffix not in known})
        clauses = [f"{_many(kinds.total(), 'file')} not read, because not {what}: {_listed(kinds)}"] if kinds else []
        for key, words in _PASSED_WORDS.items():
            clauses += [f"{_many(self.names[key], words[0])} {words[1]}"] if self.names[key] else []
        if self.outputs:
            names = ", ".join(map(shorten, self.outputs[:_MAX_NAMED])) + (", ..." * (len(self.outputs) > _MAX_NAMED))
            clauses.append(f"{_many(len(self.outputs), 'output folder')} of earlier runs not read: {names}")
        return clauses


@dataclass(frozen=True)
class Tree:
    """All that a scan found: its root, problems that forbid a run, and what is not read."""

    where: str
    what: str
    root: Folder
    problems: tuple[Problem, ...]
    passed: Passed

    def notes(self, known: Collection[str] = ()) -> tuple[str, ...]:
        """Return one line that counts what is not read, none if everything is.

        Files with a suffix in ``known`` are read in another way.
        """
        clauses = self.passed.clauses(self.what, known)
        return (showable(f"{self.where}: {'; '.join(clauses)}"),) if clauses else ()


def scan_folder(folder: InputFolder, reads: Reads, follows_links: bool = False) -> Tree:
    """List everything in ``folder``. Raises nothing: a root that cannot be listed is a problem.

    ``follows_links``: symlinks to folders inside are followed, each folder once; else they are counted.
    """
    walk = _Walk(folder.root, folder.option, os.path.realpath(folder.root), reads, follows_links)
    tree = walk.folder(".", folder.root.name, (walk.real,), linked=False)
    if tree.reason:
        walk.problems.append(Problem(walk.where, tree.reason, "a folder that can be read", "check its permissions"))
    return walk.tree(tree)


def scan_videos(folder: InputFolder, notes: list[str]) -> tuple[dict[str, File], list[Problem]]:
    """Return every video in ``folder`` by its path, in natural order, and what forbids a run.

    ``notes`` gets a line about what is not read. A folder without videos is a problem.
    """
    tree = scan_folder(folder, VIDEOS)
    files = dict(sorted(files_below(tree.root), key=lambda one: natural(one[0])))
    notes += tree.notes()
    if files or tree.problems:
        return files, list(tree.problems)
    return files, [nothing_found(tree, folder.option, VIDEOS)]


def nothing_found(tree: Tree, option: str, reads: Reads) -> Problem:
    """Return the problem of a folder without a single file that the flow reads."""
    given = showable("; ".join([f"no {reads.what}", *tree.passed.clauses(reads.what, ())]))
    allowed = f"files ending in {', '.join(sorted(reads.suffixes))}, or others with such content"
    return Problem(tree.where, given, allowed, f"check {option}")


def files_below(folder: Folder) -> list[tuple[str, File]]:
    """Return every file of the wanted kind with its path, folder by folder.

    A folder that cannot be listed counts as a file that is refused.
    """
    return [found for one in folder.below() for found in _files_in(one)]


def _files_in(folder: Folder) -> list[tuple[str, File]]:
    if folder.reason:
        return [(folder.path, _unlistable(folder))]
    return [(joined(folder.path, file.name), file) for file in folder.files]


def list_below(folder: InputFolder, path: str, reads: Reads) -> Tree:
    """List the folder ``path`` of ``folder`` as :func:`scan_folder` does; ``path`` leads inside."""
    walk = _Walk(folder.root, folder.option, os.path.realpath(folder.root), reads, follows_links=True)
    tree = walk.folder(path, path, (os.path.realpath(folder.root / path),), linked=False)
    return walk.tree(tree)


def is_hidden(name: str) -> bool:
    """Return True for names that are passed over: those that begin with a dot, and what macOS leaves in archives."""
    return name.startswith(".") or name in _PASSED_OVER


def joined(folder: str, name: str) -> str:
    """Return the relative path of ``name`` in ``folder``."""
    return name if folder == "." else f"{folder}/{name}"


def name_refusal(path: str) -> str:
    """Return why no item can be made of what is called ``path``, and what to do; empty if one can."""
    if showable(path) == path:
        return ""
    what = "has control or hidden characters" if is_utf8(path) else "is not UTF-8"
    return f"{showable(path)}: its name {what}; rename it"


@dataclass
class _Walk:
    """A walk over one tree. The fields without a parameter grow on the way.

    linked  real paths of the folders that were reached through a symlink
    """

    root: Path
    option: str
    real: str
    reads: Reads
    follows_links: bool
    problems: list[Problem] = field(default_factory=list)
    linked: set[str] = field(default_factory=set)
    passed: Passed = field(default_factory=Passed)

    @property
    def where(self) -> str:
        """The option and the folder, for messages."""
        return showable(f"{self.option} {self.root}")

    def tree(self, root: Folder) -> Tree:
        """Return all that was found, when the walk is over."""
        return Tree(self.where, self.reads.what, root, tuple(self.problems), self.passed)

    def folder(self, path: str, name: str, above: tuple[str, ...], linked: bool) -> Folder:
        """List the folder at ``path``; ``above`` are the real paths of the folders that led here, itself included."""
        try:
            with os.scandir(self.root / path) as found:
                entries = list(found)
        except OSError as error:
            return Folder(path, name, reason=f"cannot be listed ({error.strerror})")
        visible = [entry for entry in entries if not is_hidden(entry.name)]
        self.passed.names["hidden"] += len(entries) - len(visible)
        folders = [entry for entry in visible if entry.is_dir()]
        pictures, files = self._files(path, [entry for entry in visible if not entry.is_dir()])
        return Folder(path, name, tuple(self._folders(path, folders, above, linked)), pictures, files)

    def _files(self, path: str, entries: list[os.DirEntry[str]]) -> tuple[int, tuple[File, ...]]:
        """Return how many images there are, and the files that are read; the others are counted."""
        pictures, files = 0, []
        for entry in entries:
            suffix = suffix_of(entry.name)
            if self.reads.pictures and suffix in PICTURE_SUFFIXES:
                pictures += self._stays_inside(path, entry)
            elif not self._is_read(entry, suffix):
                self.passed.kinds[suffix] += 1
            elif self._stays_inside(path, entry):
                files.append(_file(joined(path, entry.name), entry))
        return pictures, tuple(sorted(files, key=lambda file: natural(file.name)))

    def _is_read(self, entry: os.DirEntry[str], suffix: str) -> bool:
        if suffix in self.reads.suffixes:
            return True
        return may_be_anything(suffix) and self.reads.is_readable(_head(entry))

    def _folders(
        self, path: str, entries: list[os.DirEntry[str]], above: tuple[str, ...], linked: bool
    ) -> Iterator[Folder]:
        for entry in sorted(entries, key=lambda entry: natural(entry.name)):
            within, is_link = joined(path, entry.name), entry.is_symlink()
            if self._is_passed_over(within, entry) or not self._may_be_entered(path, entry, above):
                continue
            real = os.path.realpath(entry.path) if is_link else f"{above[-1].rstrip(os.sep)}/{entry.name}"
            if real in above:
                self.passed.names["loop"] += 1
            elif (linked or is_link) and real in self.linked:
                self.passed.names["again"] += 1
            else:
                self.linked |= {real} if linked or is_link else set()
                yield self.folder(within, entry.name, (*above, real), linked or is_link)

    def _is_passed_over(self, path: str, entry: os.DirEntry[str]) -> bool:
        """Return True, and count it, for a symlink that is not followed and for the output folder of a run."""
        if entry.is_symlink() and not self.follows_links:
            self.passed.names["link"] += 1
            return True
        if _is_output_folder(entry):
            self.passed.outputs.append(path)
            return True
        return False

    def _may_be_entered(self, path: str, entry: os.DirEntry[str], above: tuple[str, ...]) -> bool:
        if not self._stays_inside(path, entry):
            return False
        if len(above) <= MAX_LEVELS:
            return True
        given = f"more than {MAX_LEVELS} folders within each other at {shorten(joined(path, entry.name))}"
        self._say(given, f"at most {MAX_LEVELS}", "move it up")
        return False

    def _stays_inside(self, path: str, entry: os.DirEntry[str]) -> bool:
        """Return True if the entry stays inside once symlinks are followed; else it is a problem."""
        if not entry.is_symlink() or _is_within(os.path.realpath(entry.path), self.real):
            return True
        given = f"{shorten(joined(path, entry.name))} is a symlink that points outside"
        advice = f"copy the files there, or point {self.option} at the folder that holds them"
        self._say(given, f"files inside {self.root}", advice)
        return False

    def _say(self, given: str, allowed: str, advice: str) -> None:
        self.problems.append(Problem(self.where, showable(given), showable(allowed), showable(advice)))


def _file(path: str, entry: os.DirEntry[str]) -> File:
    try:
        status = entry.stat()
    except OSError as error:
        broken = "is a broken symlink; restore its target or remove it"
        reason = broken if entry.is_symlink() else f"cannot be read ({error.strerror}); check its permissions"
        return File(entry.name, 0, name_refusal(path) or f"{entry.name}: {reason}")
    special = "" if stat.S_ISREG(status.st_mode) else f"{entry.name}: is a pipe or a device, not a file; remove it"
    return File(entry.name, status.st_size, name_refusal(path) or special)


def _unlistable(folder: Folder) -> File:
    advice = "check its permissions"
    return File(folder.name, 0, name_refusal(folder.path) or f"{folder.path}: {folder.reason}; {advice}")


def _is_output_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISDIR(Path(entry.path, _OUTPUT_MARK).stat().st_mode)
    except OSError:
        return False


def _head(entry: os.DirEntry[str]) -> bytes:
    """Return the first bytes of a plain file; none if it is something else or cannot be read."""
    try:
        if not stat.S_ISREG(entry.stat().st_mode):
            return b""
        with Path(entry.path).open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _listed(kinds: Counter[str]) -> str:
    """Return the most frequent suffixes with their numbers."""
    shown = [f"{number:,} {suffix or 'without a suffix'}" for suffix, number in kinds.most_common(_MAX_KINDS)]
    rest = len(kinds) - len(shown)
    return ", ".join([*shown, *([f"{rest} other kinds"] if rest else [])])


def _is_within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
