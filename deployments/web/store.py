"""The uploads on disk: a folder per user, and in it a folder per upload. Names of users' files are never paths here.

USER/ID/upload.json       the record
USER/ID/video.part        the bytes so far; their number is the offset at which an upload continues
USER/ID/input/video.*     the complete video, with the suffix of its container
USER/ID/mask.png          the mask that the user painted
USER/ID/detection/        the overlays that were detected, and frames of the video
USER/ID/comparison/       frames before and after
USER/ID/output/           the output folder of the flow
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from deployments.web.errors import make_not_found
from deployments.web.uploads import FlowKey, Upload
from tasks.engine.contract.errors import RunError

_ID = re.compile(r"[0-9a-f]{32}")
_RECORD = "upload.json"
_TRASH = ".trash-"


@dataclass(frozen=True)
class UploadFolder:
    """The paths of one upload."""

    path: Path

    @property
    def record(self) -> Path:
        """The record of the upload."""
        return self.path / _RECORD

    @property
    def part(self) -> Path:
        """The bytes so far."""
        return self.path / "video.part"

    @property
    def mask(self) -> Path:
        """The mask that the user painted."""
        return self.path / "mask.png"

    @property
    def detection(self) -> Path:
        """The detected overlays."""
        return self.path / "detection"

    @property
    def comparison(self) -> Path:
        """Frames before and after."""
        return self.path / "comparison"

    @property
    def output(self) -> Path:
        """The output folder of the flow."""
        return self.path / "output"

    @property
    def input(self) -> Path:
        """The folder of the complete video."""
        return self.path / "input"

    def get_video(self, suffix: str) -> Path:
        """Return the path of the complete video."""
        return self.input / f"video{suffix}"

    @property
    def received_bytes(self) -> int:
        """The number of bytes so far."""
        return self.part.stat().st_size if self.part.exists() else 0


@dataclass(frozen=True)
class Store:
    """All uploads below ``root``. One process uses it at a time: see :func:`hold_folder`."""

    root: Path

    def locate(self, upload: Upload) -> UploadFolder:
        """Return the folder of an upload."""
        return UploadFolder(self.root / upload.owner / upload.id)

    def create(self, owner: str, name: str, size_bytes: int, flow: FlowKey, preset: str) -> Upload:
        """Create an upload without data."""
        now = time.time()
        upload = Upload(
            id=secrets.token_hex(16),
            owner=owner,
            name=name,
            size_bytes=size_bytes,
            flow=flow,
            preset=preset,
            created_at=now,
            changed_at=now,
        )
        folder = self.locate(upload)
        folder.path.mkdir(parents=True, mode=0o700)
        try:
            self._write(upload)
        except OSError:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise
        return upload

    def get(self, owner: str, upload_id: str) -> Upload:
        """Return the upload of ``owner``. Raises WebError 404 if there is none, or it belongs to someone else."""
        upload = self._read(self.root / owner / upload_id) if _ID.fullmatch(upload_id) else None
        if upload is None or upload.owner != owner:
            raise make_not_found()
        return upload

    def list(self, owner: str) -> list[Upload]:
        """Return the uploads of ``owner``, the newest first."""
        uploads = [upload for path in _list_folders(self.root / owner) if (upload := self._read(path))]
        return sorted(uploads, key=lambda upload: -upload.created_at)

    def list_all(self) -> Iterator[Upload]:
        """Yield the uploads of all users."""
        for path in _list_folders(self.root):
            yield from self.list(path.name)

    def update(self, upload: Upload, **changes: object) -> Upload:
        """Change the record; return it. Changes of the user postpone the expiry: give ``changed_at``."""
        current = self.get(upload.owner, upload.id)
        changed = current.model_copy(update=changes)
        self._write(changed)
        return changed

    async def remove(self, upload: Upload) -> None:
        """Remove an upload with all its files. It is gone at once, and its files soon after."""
        path = self.locate(upload).path
        trash = path.with_name(f"{_TRASH}{path.name}")
        if path.exists():
            path.rename(trash)
        await asyncio.to_thread(shutil.rmtree, trash, ignore_errors=True)

    def sweep(self) -> None:
        """Remove folders without a readable record: leftovers of an interrupted creation or removal."""
        for user in _list_folders(self.root):
            for path in user.iterdir():
                if path.name.startswith(_TRASH) or (_ID.fullmatch(path.name) and not (path / _RECORD).exists()):
                    shutil.rmtree(path, ignore_errors=True)

    def measure(self, owner: str) -> int:
        """Return the bytes of all files of ``owner``; an incomplete upload counts with its whole size."""
        expected = sum(map(self.count_missing_bytes, self.list(owner)))
        return expected + sum(map(_get_size, _walk(self.root / owner)))

    def count_missing_bytes(self, upload: Upload) -> int:
        """Return the number of bytes that have not arrived yet."""
        if upload.video is not None or upload.refusal:
            return 0
        return max(0, upload.size_bytes - self.locate(upload).received_bytes)

    def _read(self, path: Path) -> Upload | None:
        try:
            return Upload.model_validate_json((path / _RECORD).read_bytes())
        except (OSError, ValidationError):
            return None

    def _write(self, upload: Upload) -> None:
        record = self.locate(upload).record
        aside = record.with_suffix(".tmp")
        with aside.open("wb") as file:
            file.write(upload.model_dump_json(indent=1).encode())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(record)


def _list_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _walk(path: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(path):
        yield from (Path(folder) / name for name in names)


def _get_size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # a run has removed it
        return 0


@contextmanager
def hold_folder(root: Path) -> Iterator[None]:
    """Make ``root`` and hold it. Raises RunError if another service holds it, or it cannot be written."""
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (root / ".lock").open("w")
    except OSError as error:
        raise RunError(f"{root} cannot be written: {error.strerror}; correct HEADRACE_WEB_FOLDER") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(f"{root} is in use by another upload service; stop it or choose another folder") from None
        yield
