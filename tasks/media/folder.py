"""Which files of a folder are videos, in which order, and what they are called."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tasks.engine.items import distinct_ids

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})
# fmt: on


def videos_below(root: Path) -> list[str]:
    """Relative paths of the videos under ``root``, in natural order; hidden files and folders are passed over.

    Links to folders are not followed, as they may form a ring.
    """
    found: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        within = PurePosixPath(Path(folder).relative_to(root))
        names = (name for name in files if not name.startswith("."))
        found += [str(within / name) for name in names if PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES]
    return sorted(found, key=natural)


def natural(text: str) -> tuple[list[tuple[bool, int, str]], str]:
    """Sorts ``clip2`` before ``clip10``, letter case aside; the text itself decides between equals."""
    parts = re.findall(r"\d+|\D+", text.casefold())
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts], text


def ids_of(videos: Sequence[str]) -> list[tuple[str, str]]:
    """Return an id for each video: its path without the suffix, or with it if another video could have that id."""
    return list(zip(distinct_ids(videos, list(map(_without_suffix, videos))), videos, strict=True))


def names_of(videos: Sequence[str]) -> list[str]:
    """Return the path of each video without its suffix, or with it if another video has the same."""
    stems = list(map(_without_suffix, videos))
    taken = Counter([*stems, *videos])
    return [stem if taken[stem] == 1 else video for stem, video in zip(stems, videos, strict=True)]


def _without_suffix(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))
