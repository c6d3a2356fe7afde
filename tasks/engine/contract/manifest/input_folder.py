"""Paths in a manifest, relative to one folder and checked to stay in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest.values import is_url, is_utf8, shorten
from tasks.engine.contract.text import UNSHOWABLE, count_noun, showable

_MAX_EXAMPLES = 3
_MAX_FOLDERS = 200  # that are looked at for one that fits
_MAX_NESTED = 40
_MAX_PARENTS = 4


class InputFolder:
    """The base folder of a manifest's relative paths. Paths must not leave it."""

    def __init__(self, root: Path, option: str) -> None:
        """Use the folder ``root``; messages name it by ``option``."""
        self.root = root.absolute()
        self.option = option
        self._real = Path(os.path.realpath(self.root))
        self._real_parents: dict[Path, Path] = {}
        self._missing: dict[Problem, str] = {}
        self._has_files = False
        self._repeated: tuple[str, ...] = ()

    def problems(self) -> list[Problem]:
        """Return the problems of the folder."""
        if self.root.is_dir():
            return []
        given = "is not a folder" if self.root.exists() else "does not exist"
        return [Problem(f"{self.option} {self.root}", given, "a folder that exists", f"check {self.option}")]

    def accept_repeated_names(self, paths: Iterable[object]) -> str:
        """Accept paths that repeat the last names of this folder: ``train/videos/x.mp4`` in ``.../train/videos``.

        Only if none of ``paths`` is in the folder as given, all of them repeat the names, and exactly one number of
        names leads to files. Every such path still names the file that it names in the parent. Returns a line that says
        so, or an empty text.
        """
        given = [path for path in map(_parse_plain_path, paths) if path]
        if not given or any(os.path.exists(self.root / path) for path in given):
            return ""
        fits = {names: base for names, base in self._list_own_names() if self._fits(names, given)}
        if len(fits) != 1:
            return ""
        [(self._repeated, base)] = fits.items()
        repeated = shorten("/".join(self._repeated))
        return f"{self.option} {self.root}: the manifest's paths repeat {repeated}; they are read below {base}"

    def _list_own_names(self) -> Iterator[tuple[tuple[str, ...], Path]]:
        """Yield the last names of the folder's path, of every length, and the parent that they are below."""
        for path in {Path(os.path.normpath(self.root)), self._real}:
            yield from ((path.parts[-length:], path.parents[length - 1]) for length in range(1, len(path.parts)))

    def _fits(self, names: tuple[str, ...], paths: Sequence[PurePosixPath]) -> bool:
        """Return True if all ``paths`` begin with ``names``, and the rest of one of them is a file here."""
        rests = [_strip_names(path, names) for path in paths]
        return all(map(PurePosixPath.__ne__, rests, paths)) and any(os.path.isfile(self.root / rest) for rest in rests)

    def relative(self, given: object, where: str) -> str | Problem:
        """Return ``given`` as a normalized relative path with forward slashes, or its problem.

        Refused: absolute paths, ``..``, symlinks that point outside the folder, missing files, anything but files, and
        names with control or hidden characters, which could forge log lines or look like other names.
        """
        where = showable(where)
        advice = f"give the path relative to {self.option} {self.root}"
        if not isinstance(given, str) or not given.strip() or "\0" in given or not is_utf8(given):
            return Problem(where, shorten(given), "a relative path in UTF-8", advice)
        if UNSHOWABLE.search(given):
            return Problem(where, shorten(given), "a name without control or hidden characters", "rename the file")
        if is_url(given) and not (self.root / given).exists():
            url_advice = f"download the file into {self.root}, and {advice}"
            return Problem(where, f"the URL {shorten(given)}", "a relative path", url_advice)
        path = PurePosixPath(given)
        if path.is_absolute() or PureWindowsPath(given).drive:
            return Problem(where, f"the absolute path {shorten(given)}", "a relative path", advice)
        if ".." in path.parts:
            return Problem(where, f"'..' in {shorten(given)}", "a path that stays in its folder", advice)
        return self._check_existing(path, where)

    def _check_existing(self, path: PurePosixPath, where: str) -> str | Problem:
        given, path = shorten(str(path)), _strip_names(path, self._repeated)
        full = self.root / path
        try:
            mode = full.stat().st_mode
        except OSError as error:
            is_missing = isinstance(error, FileNotFoundError)
            reason = "is missing" if is_missing else f"cannot be read ({error.strerror})"
            problem = Problem(where, f"{given} {reason}", f"a file in {self.root}", f"check it and {self.option}")
            if is_missing:
                self._missing[problem] = str(path)
            return problem
        self._has_files = True
        if not self._is_inside(full):
            advice = f"copy the file there, or point {self.option} at the folder that holds it"
            return Problem(where, f"{given} is a symlink that points outside", f"files inside {self.root}", advice)
        if not stat.S_ISREG(mode):
            return Problem(where, f"{given} is not a file", f"a file in {self.root}", f"check it and {self.option}")
        return str(path)

    def summarize_missing(self, problems: Iterable[Problem]) -> list[Problem]:
        """Return ``problems``; if none of several files was found, one problem stands for those of the missing files.

        It names a folder next to this one, or in it, that has the first of the files.
        """
        given = list(problems)
        if self._has_files or len(self._missing) < 2:
            return given
        summary = self._describe_missing(list(dict.fromkeys(self._missing.values())))
        return [summary, *(problem for problem in given if problem not in self._missing)]

    def _describe_missing(self, paths: Sequence[str]) -> Problem:
        examples = ", ".join(map(shorten, paths[:_MAX_EXAMPLES])) + (", ..." if len(paths) > _MAX_EXAMPLES else "")
        given = f"has none of {count_noun(len(paths), 'file')} in {count_noun(len(self._missing), 'row')}: {examples}"
        fit = next((folder for folder in self._list_folders() if _has_all(folder, paths[:_MAX_EXAMPLES])), None)
        surplus = None if fit else self._find_surplus_names(paths[:_MAX_EXAMPLES])
        advice = f"they are in {fit}: give {self.option} {fit}" if fit else f"check {self.option}"
        if surplus:
            advice = f"it has them without {shorten(surplus)}: if they are the same files, remove that from the paths"
        return Problem(f"{self.option} {self.root}", given, "the folder that the paths are relative to", advice)

    def _find_surplus_names(self, paths: Sequence[str]) -> str:
        """Return the first folders in ``paths`` without which all of them are files here; empty if there are none."""
        common = os.path.commonpath([os.path.dirname(path) for path in paths])
        names = PurePosixPath(common).parts
        for length in range(1, len(names) + 1):
            if _has_all(self.root, [str(_strip_names(PurePosixPath(path), names[:length])) for path in paths]):
                return "/".join(names[:length])
        return ""

    def _list_folders(self) -> Iterator[Path]:
        """Yield the parents of the folder, the folders in it, those next to it, and those in both."""
        yield from self.root.parents[:_MAX_PARENTS]
        near = [folder for parent in (self.root, self.root.parent) for folder in _list_subfolders(parent)]
        yield from near
        for folder in near[:_MAX_NESTED]:
            yield from _list_subfolders(folder)

    def _is_inside(self, full: Path) -> bool:
        """Return True if ``full`` is in the folder after resolving symlinks. Resolved folders are cached."""
        if full.is_symlink():
            return Path(os.path.realpath(full)).is_relative_to(self._real)
        parent = full.parent
        if parent not in self._real_parents:
            self._real_parents[parent] = Path(os.path.realpath(parent))
        return self._real_parents[parent].is_relative_to(self._real)


def _has_all(folder: Path, paths: Iterable[str]) -> bool:
    """Return True if all ``paths`` are files in ``folder``."""
    return all(os.path.isfile(folder / path) for path in paths)


def _list_subfolders(parent: Path) -> list[Path]:
    with suppress(OSError), os.scandir(parent) as entries:
        folders = (entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        return [parent / name for name in sorted(islice(folders, _MAX_FOLDERS))]
    return []


def _parse_plain_path(given: object) -> PurePosixPath | None:
    """Return ``given`` if it is a relative path without ``..``; None otherwise."""
    if not isinstance(given, str) or not given.strip() or "\0" in given or not is_utf8(given):
        return None
    path = PurePosixPath(given)
    return None if path.is_absolute() or ".." in path.parts else path


def _strip_names(path: PurePosixPath, names: Sequence[str]) -> PurePosixPath:
    """Return ``path`` without its first folders if they are ``names``."""
    count = len(names)
    has_names = path.parts[:count] == tuple(names) and len(path.parts) > count
    return PurePosixPath(*path.parts[count:]) if has_names else path
