"""Official model files: found in the user's folder or the cache, or downloaded; always verified before use."""

from __future__ import annotations

import contextlib
import logging
import uuid
from pathlib import Path

from tasks.downloads.cache import Pace, SharedCache
from tasks.downloads.partial import Partial, compute_file_digest
from tasks.downloads.sessions import open_session
from tasks.downloads.transfer import FileRequest, MissingFile, Transfers
from tasks.engine.contract.errors import BadInput, Problem, TransientError
from tasks.landmarks.models.catalogue import ModelFile
from tasks.landmarks.models.finding import find_in_folder, has_content
from tasks.landmarks.models.settings import ModelSettings

_log = logging.getLogger(__name__)


class Unavailable(Exception):
    """An official file that cannot be found or downloaded. ``is_transient``: a retry may succeed."""

    def __init__(self, file: ModelFile, settings: ModelSettings, reason: str, is_transient: bool = False) -> None:
        self.file = file
        self.settings = settings
        self.reason = reason
        self.is_transient = is_transient
        super().__init__(reason)

    def describe(self, option: str) -> Problem:
        """Return the problem for the user: which file is needed because of ``option``, and where to put it."""
        file, settings = self.file, self.settings
        given = f"{file.file_name} {_describe_folder(file, settings)}cannot be downloaded ({self.reason})"
        allowed = f"the file with sha256 {file.sha256} ({file.bytes:,} bytes) from {file.url}"
        folder = "a folder named by HEADRACE_MODEL_DIR" if settings.folder is None else f"{settings.folder}"
        other = ", or give its path by --model PATH" if option.startswith("--model") else ""
        return Problem(option, given, allowed, f"put it into {settings.cache}, or into {folder}{other}")


class ModelFetcher:
    """Provides official files on this machine. All processes that share the cache download one file at a time."""

    def __init__(self, settings: ModelSettings, pace: Pace | None = None) -> None:
        self.settings = settings
        pace = pace or Pace()
        self._cache = SharedCache(settings.cache, 1, pace)
        self._transfers = Transfers(self._cache, open_session(settings), pace, settings.tries)

    def fetch(self, file: ModelFile) -> Path:
        """Return the verified path of ``file``; download it if it is missing. Raises Unavailable."""
        if own := find_in_folder(self.settings.folder, file.file_name, file.sha256, file.bytes):
            return own
        cached = self.settings.cache / file.file_name
        if not has_content(cached, file.sha256, file.bytes):
            self._update_cache(file, cached)
        return cached

    def _update_cache(self, file: ModelFile, cached: Path) -> None:
        """Download ``file`` to ``cached`` unless another process has. Raises Unavailable."""
        try:
            self.settings.cache.mkdir(parents=True, exist_ok=True)
            with self._cache.lock(file.sha256) as alone:
                if has_content(cached, file.sha256, file.bytes):  # another process downloaded it meanwhile
                    return
                _delete_damaged(cached)
                self._download(file, cached, alone)
        except TransientError as error:
            reason = str(error.__cause__ or error)
            raise Unavailable(file, self.settings, f"{reason}; tried {self.settings.tries} times", True) from error
        except BadInput as error:
            raise Unavailable(file, self.settings, str(error)) from error
        except OSError as error:
            reason = f"the cache {self.settings.cache} cannot be written: {error.strerror or error}; set HEADRACE_CACHE"
            raise Unavailable(file, self.settings, reason) from error

    def _download(self, file: ModelFile, cached: Path, alone: bool) -> None:
        """Fill the cache. Raises BadInput if the wrong file arrives, and TransientError.

        A part left by a killed process is resumed. Without file locks, the part may belong to a running process.
        """
        mark = "" if alone else f".{uuid.uuid4().hex}"
        partial = Partial(cached.with_name(f".{file.file_name}{mark}.partial"), file.bytes)
        url = self.settings.build_url(file)
        _log.info("downloading %s (%s bytes) from %s", file.file_name, f"{file.bytes:,}", url)
        try:
            mismatch = self._download_part(file, url, partial)
            if mismatch is not None:
                mismatch = self._download_part(file, url, partial)
            if mismatch is not None:
                raise BadInput(f"{mismatch}, in two downloads from {url}")
            partial.publish(cached)
        finally:
            if not alone or not 0 < partial.size_bytes <= file.bytes:
                partial.remove()

    def _download_part(self, file: ModelFile, url: str, partial: Partial) -> str | None:
        """Complete ``partial`` and return its mismatch in words, after discarding it; None if the file is correct."""
        wanted = FileRequest(file.file_name, file.bytes, f"{file.file_name} has", "HEADRACE_MODEL_URL")
        if partial.size_bytes > file.bytes:
            partial.discard()
        if partial.size_bytes < file.bytes:
            try:
                self._transfers.fill(url, wanted, partial)
            except MissingFile as error:
                raise BadInput(f"{url} does not exist; check HEADRACE_MODEL_URL") from error
        mismatch = _find_mismatch(file, partial)
        if mismatch is not None:
            partial.discard()
        return mismatch


def _find_mismatch(file: ModelFile, partial: Partial) -> str | None:
    if partial.size_bytes != file.bytes:
        return f"{partial.size_bytes:,} bytes received instead of {file.bytes:,}"
    sha256 = partial.compute_sha256()
    return None if sha256 == file.sha256 else f"received a file with sha256 {sha256}"


def _delete_damaged(cached: Path) -> None:
    """Delete a file in the cache that has the right name but the wrong content."""
    with contextlib.suppress(FileNotFoundError):
        _log.warning(
            "%s in the cache is damaged (%d bytes, sha256 %s): deleting it and downloading it again",
            *(cached, cached.stat().st_size, compute_file_digest(cached)),
        )
        cached.unlink()


def _describe_folder(file: ModelFile, settings: ModelSettings) -> str:
    """Return the clause that says why the user's folder does not provide the file."""
    if settings.folder is None:
        return ""
    if (settings.folder / file.file_name).exists():
        return f"in HEADRACE_MODEL_DIR={settings.folder} is a different file or cannot be read, and the right one "
    return f"is not in HEADRACE_MODEL_DIR={settings.folder} and "
