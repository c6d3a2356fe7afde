"""Official model files: found in the user's folder or the cache, or downloaded, and never used unverified."""

from __future__ import annotations

import contextlib
import logging
import uuid
from pathlib import Path

from tasks.downloads.cache import Pace, SharedCache
from tasks.downloads.partial import Partial, file_digest
from tasks.downloads.patience import open_session
from tasks.downloads.transfer import Gone, Transfers, Wanted
from tasks.engine.contract.errors import BadInput, Problem, TransientError
from tasks.landmarks.models.catalogue import ModelFile
from tasks.landmarks.models.finding import fits, in_folder
from tasks.landmarks.models.settings import ModelSettings

_log = logging.getLogger(__name__)


class Unavailable(Exception):
    """An official file that is not on this machine and cannot be brought here; ``passing``: it may work later."""

    def __init__(self, file: ModelFile, settings: ModelSettings, reason: str, passing: bool = False) -> None:
        self.file = file
        self.settings = settings
        self.reason = reason
        self.passing = passing
        super().__init__(reason)

    def problem(self, option: str) -> Problem:
        """Which file with which content to put where, because of ``option``."""
        file, settings = self.file, self.settings
        given = f"{file.file_name} {_in_own_folder(file, settings)}cannot be downloaded ({self.reason})"
        allowed = f"the file with sha256 {file.sha256} ({file.bytes:,} bytes) from {file.url}"
        named = "a folder named by HEADRACE_MODEL_DIR" if settings.folder is None else f"{settings.folder}"
        other = ", or give its path by --model PATH" if option.startswith("--model") else ""
        return Problem(option, given, allowed, f"put it into {settings.cache}, or into {named}{other}")


class ModelFetcher:
    """Brings official files onto this machine. One download at a time, over all processes that share the cache."""

    def __init__(self, settings: ModelSettings, pace: Pace | None = None) -> None:
        self.settings = settings
        pace = pace or Pace()
        self._cache = SharedCache(settings.cache, 1, pace)
        self._transfers = Transfers(self._cache, open_session(settings), pace, settings.tries)

    def path(self, file: ModelFile) -> Path:
        """Where ``file`` is, verified now. Raises Unavailable."""
        if own := in_folder(self.settings.folder, file.file_name, file.sha256, file.bytes):
            return own
        cached = self.settings.cache / file.file_name
        if not fits(cached, file.sha256, file.bytes):
            self._bring(file, cached)
        return cached

    def _bring(self, file: ModelFile, cached: Path) -> None:
        """Have ``cached`` be the file. Raises Unavailable."""
        try:
            self.settings.cache.mkdir(parents=True, exist_ok=True)
            with self._cache.locked(file.sha256) as alone:
                if fits(cached, file.sha256, file.bytes):  # another process has brought it meanwhile
                    return
                _drop_damaged(cached)
                self._download(file, cached, alone)
        except TransientError as error:
            reason = str(error.__cause__ or error)
            raise Unavailable(file, self.settings, f"{reason}; tried {self.settings.tries} times", True) from error
        except BadInput as error:
            raise Unavailable(file, self.settings, str(error)) from error
        except OSError as error:
            reason = (
                f"the cache {self.settings.cache} takes no files: {error.strerror or error}; HEADRACE_CACHE moves it"
            )
            raise Unavailable(file, self.settings, reason) from error

    def _download(self, file: ModelFile, cached: Path, alone: bool) -> None:
        """Fill the cache. Raises BadInput where another file comes than the one meant, and TransientError.

        What a killed process left is gone on with; where there are no locks, it may be another's that still writes.
        """
        mark = "" if alone else f".{uuid.uuid4().hex}"
        partial = Partial(cached.with_name(f".{file.file_name}{mark}.partial"), file.bytes)
        url = self.settings.url(file)
        _log.info("downloading %s (%s bytes) from %s", file.file_name, f"{file.bytes:,}", url)
        try:
            wrong = self._fill(file, url, partial)
            if wrong is not None:
                wrong = self._fill(file, url, partial)
            if wrong is not None:
                raise BadInput(f"{wrong}, in two downloads from {url}")
            partial.publish(cached)
        finally:
            if not alone or not 0 < partial.size_bytes <= file.bytes:
                partial.remove()

    def _fill(self, file: ModelFile, url: str, partial: Partial) -> str | None:
        """Complete ``partial``; what is wrong with it then, in words, after which it is empty again."""
        wanted = Wanted(file.file_name, file.bytes, f"{file.file_name} has", "HEADRACE_MODEL_URL")
        if partial.size_bytes > file.bytes:
            partial.discard()
        if partial.size_bytes < file.bytes:
            try:
                self._transfers.fill(url, wanted, partial)
            except Gone as error:
                raise BadInput(f"{url} is not there; check HEADRACE_MODEL_URL") from error
        wrong = _wrong(file, partial)
        if wrong is not None:
            partial.discard()
        return wrong


def _wrong(file: ModelFile, partial: Partial) -> str | None:
    if partial.size_bytes != file.bytes:
        return f"{partial.size_bytes:,} bytes came and not {file.bytes:,}"
    sha256 = partial.sha256()
    return None if sha256 == file.sha256 else f"a file with sha256 {sha256} came"


def _drop_damaged(cached: Path) -> None:
    """Remove what has the file's name in the cache and is not the file."""
    with contextlib.suppress(FileNotFoundError):
        _log.warning(
            "%s in the cache is damaged (%d bytes, sha256 %s): it is deleted and downloaded anew",
            *(cached, cached.stat().st_size, file_digest(cached)),
        )
        cached.unlink()


def _in_own_folder(file: ModelFile, settings: ModelSettings) -> str:
    """How the user's folder fails to have the file."""
    if settings.folder is None:
        return ""
    if (settings.folder / file.file_name).exists():
        return f"in HEADRACE_MODEL_DIR={settings.folder} is another file or cannot be read, and the right one "
    return f"is not in HEADRACE_MODEL_DIR={settings.folder} and "
