"""Paths in a manifest, relative to one folder and checked to stay in it."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest.values import is_url, is_utf8, shorten
from tasks.engine.contract.text import UNSHOWABLE, showable


class InputFolder:
    """The base folder of a manifest's relative paths. Paths must not leave it."""

    def __init__(self, root: Path, option: str) -> None:
        """Use the folder ``root``; messages name it by ``option``."""
        self.root = root.absolute()
        self.option = option
        self._real = Path(os.path.realpath(self.root))
        self._real_parents: dict[Path, Path] = {}

    def problems(self) -> list[Problem]:
        """Return the problems of the folder."""
        if self.root.is_dir():
            return []
        given = "is not a folder" if self.root.exists() else "does not exist"
        return [Problem(f"{self.option} {self.root}", given, "a folder that exists", f"check {self.option}")]

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
        given, full = shorten(str(path)), self.root / path
        try:
            mode = full.stat().st_mode
        except OSError as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
            return Problem(where, f"{given} {reason}", f"a file in {self.root}", f"check it and {self.option}")
        if not self._is_inside(full):
            advice = f"copy the file there, or point {self.option} at the folder that holds it"
            return Problem(where, f"{given} is a symlink that points outside", f"files inside {self.root}", advice)
        if not stat.S_ISREG(mode):
            return Problem(where, f"{given} is not a file", f"a file in {self.root}", f"check it and {self.option}")
        return str(path)

    def _is_inside(self, full: Path) -> bool:
        """Return True if ``full`` is in the folder after resolving symlinks. Resolved folders are cached."""
        if full.is_symlink():
            return Path(os.path.realpath(full)).is_relative_to(self._real)
        parent = full.parent
        if parent not in self._real_parents:
            self._real_parents[parent] = Path(os.path.realpath(parent))
        return self._real_parents[parent].is_relative_to(self._real)
