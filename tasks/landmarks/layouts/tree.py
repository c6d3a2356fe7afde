"""Listing a folder of pictures or videos: once, quickly, and without leaving it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tasks.engine.errors import Problem
from tasks.engine.manifest import InputFolder, shorten, showable
from tasks.landmarks.layouts.collection import PICTURE_SUFFIXES
from tasks.media.folder import VIDEO_SUFFIXES, natural

MAX_LEVELS = 32  # of folders within each other: no collection has more
_PASSED_OVER = frozenset({"__MACOSX"})
_WANTED = PICTURE_SUFFIXES | VIDEO_SUFFIXES


@dataclass(frozen=True)
class Video:
    """A video file of a folder."""

    name: str
    size_bytes: int


@dataclass(frozen=True)
class Folder:
    """A folder and what counts in it; hidden files and folders do not.

    path      relative to the root, with forward slashes; ``.`` is the root
    folders   in natural order
    pictures  how many there are right in it
    reason    why it could not be listed, "" where it could
    """

    path: str
    name: str
    folders: tuple[Folder, ...] = ()
    pictures: int = 0
    videos: tuple[Video, ...] = ()
    reason: str = ""

    def below(self) -> Iterator[Folder]:
        """This folder and every folder in it, at any depth."""
        yield self
        for folder in self.folders:
            yield from folder.below()

    def child(self, name: str) -> Folder | None:
        """The folder of that name in it."""
        return next((folder for folder in self.folders if folder.name == name), None)


def suffix_of(name: str) -> str:
    """The suffix of a file name in lower case, with its dot; quicker than pathlib's where there are many names."""
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot and stem else ""


def is_hidden(name: str) -> bool:
    """Whether a name is passed over: what begins with a dot, and what macOS leaves in archives."""
    return name.startswith(".") or name in _PASSED_OVER


@dataclass
class _Walk:
    """A walk over one tree. ``problems`` grows on the way."""

    root: Path
    option: str
    real: str
    problems: list[Problem] = field(default_factory=list)

    def folder(self, path: str, name: str, above: tuple[str, ...]) -> Folder:
        """List the folder at ``path``; ``above`` are the real paths of the folders that led here, itself included."""
        try:
            with os.scandir(self.root / path) as found:
                entries = [entry for entry in found if not is_hidden(entry.name)]
        except OSError as error:
            return Folder(path, name, reason=f"cannot be listed ({error.strerror})")
        folders = [entry for entry in entries if entry.is_dir()]
        kinds = [(entry, suffix_of(entry.name)) for entry in entries if not entry.is_dir()]
        files = [(entry, kind) for entry, kind in kinds if kind in _WANTED and self._may_be_read(path, entry)]
        return Folder(
            path,
            name,
            tuple(self._folders(path, folders, above)),
            sum(kind in PICTURE_SUFFIXES for _, kind in files),
            tuple(self._videos(path, [entry for entry, kind in files if kind in VIDEO_SUFFIXES])),
        )

    def _folders(self, path: str, entries: list[os.DirEntry[str]], above: tuple[str, ...]) -> Iterator[Folder]:
        for entry in sorted(entries, key=lambda entry: natural(entry.name)):
            within = joined(path, entry.name)
            if not self._may_be_read(path, entry) or not self._is_shallow(within, above):
                continue
            real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(above[-1], entry.name)  # noqa: PTH118
            if real not in above:  # else a link to a folder that it lies in
                yield self.folder(within, entry.name, (*above, real))

    def _videos(self, path: str, entries: list[os.DirEntry[str]]) -> Iterator[Video]:
        for entry in sorted(entries, key=lambda entry: natural(entry.name)):
            if self._has_plain_name(path, entry.name):
                try:
                    yield Video(entry.name, entry.stat().st_size)
                except OSError:  # a link to nothing: its item says so
                    yield Video(entry.name, 0)

    def _may_be_read(self, path: str, entry: os.DirEntry[str]) -> bool:
        """Whether the entry stays inside once links are followed, and, of a folder, has a name that can be shown."""
        if entry.is_symlink() and not _is_within(os.path.realpath(entry.path), self.real):
            given = f"{shorten(joined(path, entry.name))} is a link that leads out"
            advice = f"copy the files there, or point {self.option} at the folder that holds them"
            self._say(given, f"files inside {self.root}", advice)
            return False
        return not entry.is_dir() or self._has_plain_name(path, entry.name)

    def _has_plain_name(self, path: str, name: str) -> bool:
        if showable(name) == name:
            return True
        given = shorten(joined(path, name))
        self._say(given, "a name in UTF-8 without control characters", "rename it")
        return False

    def _is_shallow(self, path: str, above: tuple[str, ...]) -> bool:
        if len(above) <= MAX_LEVELS:
            return True
        self._say(
            f"more than {MAX_LEVELS} folders within each other at {shorten(path)}",
            f"at most {MAX_LEVELS}",
            "move it up",
        )
        return False

    def _say(self, given: str, allowed: str, advice: str) -> None:
        self.problems.append(Problem(showable(f"{self.option} {self.root}"), showable(given), allowed, advice))


def read_tree(root: Path, option: str) -> tuple[Folder | None, list[Problem]]:
    """Everything in ``root``, which the parameter ``option`` named, and a problem for all that may not be read.

    One listing a folder and no look at a picture: 650,000 pictures in 5,671 folders take some seconds.
    """
    wrong = InputFolder(root, option).problems()
    if wrong:
        return None, wrong
    walk = _Walk(root.absolute(), option, os.path.realpath(root))
    tree = walk.folder(".", root.absolute().name, (walk.real,))
    if tree.reason:
        return None, [Problem(f"{option} {root}", tree.reason, "a folder that can be read", "check its permissions")]
    return tree, walk.problems


def list_folder(root: Path, path: str) -> tuple[Folder, list[Problem]]:
    """What lies in the folder ``path`` of ``root``, as in :func:`read_tree`."""
    walk = _Walk(root, "--input", os.path.realpath(root))
    return walk.folder(path, path, (os.path.realpath(root / path),)), walk.problems


def joined(folder: str, name: str) -> str:
    """The relative path of ``name`` in ``folder``."""
    return name if folder == "." else f"{folder}/{name}"


def _is_within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
