"""One input video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class VideoSource:
    """One input video: at ``path``, or, if that is None, to be downloaded from ``url``.

    id    safe as a file name, unique within a run
    name  as the user knows it: relative to the folder, or the file's name in the URL
    refusal  why the file cannot be used, if the folder scan says so; then it has no path
    """

    id: str
    name: str
    path: Path | None = None
    url: str = ""
    refusal: str = ""

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return PurePosixPath(self.name).name

    @property
    def relative(self) -> str:
        """Its path relative to the input folder; empty for a URL."""
        return "" if self.url else self.name
