"""The order of files in a folder, and the ids and names of videos."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from tasks.engine.contract.items import make_distinct_ids


def natural(text: str) -> tuple[list[tuple[bool, int, str]], str]:
    """Sorts ``clip2`` before ``clip10``, letter case aside; the text itself decides between equals."""
    parts = re.findall(r"\d+|\D+", text.casefold())
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts], text


def ids_of(videos: Sequence[str]) -> list[tuple[str, str]]:
    """Return an id for each video: its path without the suffix, or with it if another video could have that id."""
    return list(zip(make_distinct_ids(videos, list(map(_without_suffix, videos))), videos, strict=True))


def names_of(videos: Sequence[str]) -> list[str]:
    """Return the path of each video without its suffix, or with it if another video has the same."""
    stems = list(map(_without_suffix, videos))
    taken = Counter([*stems, *videos])
    return [stem if taken[stem] == 1 else video for stem, video in zip(stems, videos, strict=True)]


def _without_suffix(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))
