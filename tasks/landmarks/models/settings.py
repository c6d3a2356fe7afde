"""Where to look for model files. These settings do not affect results, so they enter no key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.downloads.folder import read_url
from tasks.downloads.sessions import ANY_HOST, Origin, get_origin
from tasks.engine.contract.cache_folder import get_default_cache
from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.landmarks.models.catalogue import OFFICIAL_BASE, ModelFile


@dataclass(frozen=True)
class ModelSettings:
    """Settings for getting model files on one machine.

    cache           download folder, shared by all processes of this user
    folder          user's folder with model files, searched first; None if not set
    base_url        replaces ``OFFICIAL_BASE``
    connect_seconds, stall_seconds
                    timeouts for a connection, and for the next byte
    tries           maximum number of requests per file
    """

    cache: Path
    folder: Path | None = None
    base_url: str = OFFICIAL_BASE
    connect_seconds: float = 10.0
    stall_seconds: float = 30.0
    tries: int = 4

    @property
    def origins(self) -> frozenset[Origin]:
        """Return the allowed servers: the base URL's, and any HTTPS server (the digest verifies the file)."""
        return frozenset({get_origin(self.base_url), ("https", ANY_HOST)})

    def build_url(self, file: ModelFile) -> str:
        """Return the URL from which ``file`` is downloaded."""
        return self.base_url + file.url.removeprefix(OFFICIAL_BASE)


def read_settings(environment: Mapping[str, str]) -> ModelSettings:
    """Return the settings from ``HEADRACE_MODEL_DIR``, ``HEADRACE_MODEL_URL`` and ``HEADRACE_CACHE``.

    Empty variables count as unset. Raises InvalidInput for an invalid URL.
    """
    problems: list[Problem] = []
    base_url = read_url("HEADRACE_MODEL_URL", environment, OFFICIAL_BASE, problems)
    if problems:
        raise InvalidInput(problems)
    given = environment.get("HEADRACE_MODEL_DIR")
    folder = Path(given).expanduser().absolute() if given else None
    return ModelSettings(get_default_cache(environment, "models"), folder, base_url)


def check_folder(settings: ModelSettings) -> list[Problem]:
    """Return a problem if ``HEADRACE_MODEL_DIR`` is not a folder."""
    if settings.folder is None or settings.folder.is_dir():
        return []
    allowed = "a folder with .task files"
    return [
        Problem("HEADRACE_MODEL_DIR", f"{settings.folder} is not a folder", allowed, "correct the variable or unset it")
    ]
