"""Where model files are looked for. None of this changes what a model finds, so none of it enters a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.downloads.folder import default_cache, read_url
from tasks.downloads.patience import ANY_HOST, Origin, origin
from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.landmarks.models.catalogue import OFFICIAL_BASE, ModelFile


@dataclass(frozen=True)
class ModelSettings:
    """How a machine gets its model files.

    cache           the folder into which they are downloaded, which all processes of this user share
    folder          a folder of the user's with files that are looked at first; None: no such
    base_url        in the place of ``OFFICIAL_BASE``
    connect_seconds, stall_seconds
                    longest wait for a connection, and for the next byte
    tries           requests for one file before it is given up
    """

    cache: Path
    folder: Path | None = None
    base_url: str = OFFICIAL_BASE
    connect_seconds: float = 10.0
    stall_seconds: float = 30.0
    tries: int = 4

    @property
    def origins(self) -> frozenset[Origin]:
        """The server, and whatever it sends on to by https, as mirrors do: the digest proves the file."""
        return frozenset({origin(self.base_url), ("https", ANY_HOST)})

    def url(self, file: ModelFile) -> str:
        """Where ``file`` is downloaded from."""
        return self.base_url + file.url.removeprefix(OFFICIAL_BASE)


def settings_from(environment: Mapping[str, str]) -> ModelSettings:
    """What ``HEADRACE_MODEL_DIR``, ``HEADRACE_MODEL_URL`` and ``HEADRACE_CACHE`` make; an empty one counts as none.

    Raises InvalidInput for an address that cannot be one.
    """
    problems: list[Problem] = []
    base_url = read_url("HEADRACE_MODEL_URL", environment, OFFICIAL_BASE, problems)
    if problems:
        raise InvalidInput(problems)
    given = environment.get("HEADRACE_MODEL_DIR")
    folder = Path(given).expanduser().absolute() if given else None
    return ModelSettings(default_cache(environment, "models"), folder, base_url)


def folder_problems(settings: ModelSettings) -> list[Problem]:
    """A problem where ``HEADRACE_MODEL_DIR`` names what is no folder."""
    if settings.folder is None or settings.folder.is_dir():
        return []
    allowed = "a folder that holds .task files"
    return [Problem("HEADRACE_MODEL_DIR", f"{settings.folder} is none", allowed, "correct the variable or unset it")]
