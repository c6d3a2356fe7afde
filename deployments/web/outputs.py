"""Output folders of runs as the service shows them: those of uploads to their owners, all others to viewers.

A request gives the path of a run, or of one of its files. It is opened relative to a configured folder, name by name,
without following symlinks. Only reports, failures, logs of items and images are read, and only in output folders.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deployments.web.core import Core
from deployments.web.errors import WebError
from tasks.engine.contract.bounded import parse_json
from tasks.engine.contract.errors import RunError
from tasks.engine.store.layout import STATE_FOLDER
from tasks.engine.store.tree import Tree, is_plain_path

IMAGE_TYPES: Mapping[str, str] = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
}
_LOG = re.compile(rf"{re.escape(STATE_FOLDER)}/logs/[^/]+/[^/]+\.log")
_MAX_FILE_BYTES = 64 << 20
_MAX_LOG_BYTES = 1 << 20
_MAX_FAILURES = 500
_MAX_IMAGES = 60
_MAX_FOLDERS = 1000  # that are searched for images


@dataclass(frozen=True)
class FailedItem:
    """A failed item as a page shows it. ``log`` is the address of its log; empty if there is none."""

    name: str
    stage: str
    kind: str
    message: str
    attempts: str
    log: str


@dataclass(frozen=True)
class OutputFolder:
    """The output folder of a run: the folder ``place`` below ``tree``. ``uploads`` is never entered."""

    tree: Tree
    place: str
    uploads: Path

    @property
    def path(self) -> Path:
        """The path of the folder."""
        return self.tree.root / self.place

    @property
    def address(self) -> str:
        """The address of the run's page, as runs link to it."""
        return f"/runs{quote(str(self.path))}"

    @property
    def is_run(self) -> bool:
        """True if a run has finished in this folder."""
        return (
            self.tree.is_folder(self._join(STATE_FOLDER)) and self.tree.status(self._join("summary.json")) is not None
        )

    def read_summary(self) -> dict[str, Any]:
        """Return the summary of the last run; empty if it cannot be read."""
        summary = self._parse("summary.json")
        return summary if isinstance(summary, dict) else {}

    def list_failures(self) -> list[FailedItem]:
        """Return the failed items of the last run, at most _MAX_FAILURES."""
        rows = self._parse("failures.json")
        rows = rows[:_MAX_FAILURES] if isinstance(rows, list) else []
        return [self._make_failed_item(row) for row in rows if isinstance(row, dict)]

    def list_images(self) -> list[str]:
        """Return paths of images below the folder, at most _MAX_IMAGES."""
        found: list[str] = []
        folders = [""]
        for _ in range(_MAX_FOLDERS):
            if not folders or len(found) >= _MAX_IMAGES:
                break
            inside = folders.pop(0)
            for name in self.tree.names(self._join(inside)):
                path = f"{inside}/{name}" if inside else name
                status = None if name.startswith(".") else self.tree.status(self._join(path))
                if status is None:
                    continue
                if stat.S_ISREG(status.st_mode) and get_image_type(name):
                    found.append(path)
                elif stat.S_ISDIR(status.st_mode) and self.path / path != self.uploads:
                    folders.append(path)
        return found[:_MAX_IMAGES]

    def read(self, path: str) -> tuple[bytes, str]:
        """Return a file that may be shown, and its media type. Raises WebError 404 for every other file."""
        if path == "report.html":
            return self._read(path), "text/html"
        if path == "failures.json":
            return self._read(path), "application/json"
        if _LOG.fullmatch(path):
            return self.tree.read_end(self._join(path), _MAX_LOG_BYTES), "text/plain"
        kind = get_image_type(path)
        if not kind or any(part.startswith(".") for part in path.split("/")):
            raise make_not_found()
        return self._read(path), kind

    def _read(self, path: str) -> bytes:
        return self.tree.read(self._join(path), _MAX_FILE_BYTES)

    def _parse(self, name: str) -> Any:
        try:
            return parse_json(self._read(name))
        except (OSError, ValueError, RunError):
            return None

    def _join(self, path: str) -> str:
        return "/".join(part for part in (self.place, path) if part)

    def _make_failed_item(self, row: Mapping[str, Any]) -> FailedItem:
        name, stage, kind, message, attempts, log = (
            str(row.get(column) or "") for column in ("name", "stage", "failure_kind", "message", "attempts", "log")
        )
        return FailedItem(name, stage, kind, message, attempts, f"{self.address}/{quote(log)}" if log else "")


def get_image_type(name: str) -> str:
    """Return the media type of an image by its suffix; empty for other files."""
    return IMAGE_TYPES.get(Path(name).suffix.lower(), "")


def make_not_found() -> WebError:
    """Return the error for a run that does not exist, or that the user may not see."""
    return WebError(404, "There is no such run, or no such file in it, or you are not allowed to see it.")


def find_output(core: Core, user: str, path: str) -> tuple[OutputFolder, str]:
    """Return the output folder that holds ``path``, and the rest of the path.

    ``path`` is absolute, without its first slash. Raises WebError 404 unless ``user`` may see it.
    """
    if not is_plain_path(path):
        raise make_not_found()
    full, uploads = Path("/", path), _resolve(core.settings.folder)
    for tree in _list_trees(core, user, full, uploads):
        parts = full.relative_to(tree.root).parts
        for count in range(len(parts), -1, -1):  # the deepest output folder first
            folder = OutputFolder(tree, "/".join(parts[:count]), uploads)
            if folder.is_run:
                return folder, "/".join(parts[count:])
    raise make_not_found()


def _list_trees(core: Core, user: str, path: Path, uploads: Path) -> Iterator[Tree]:
    """Yield the folders above ``path`` in which ``user`` may see runs. Of uploads, these are the user's own."""
    if path.is_relative_to(uploads):
        owner, upload_id, *_ = *path.relative_to(uploads).parts, "", ""
        output = _resolve(core.locate(core.store.get(user, upload_id)).output)
        if owner == user and path.is_relative_to(output):
            yield Tree(output)
    elif user in core.settings.viewers:
        yield from (Tree(root) for root in map(_resolve, core.settings.outputs) if path.is_relative_to(root))


def _resolve(path: Path) -> Path:
    return Path(os.path.realpath(path))
