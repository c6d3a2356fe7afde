"""Sorting file names, and deriving ids and names of videos from their paths."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from tasks.engine.contract.items import make_distinct_ids


def natural_sort_key(text: str) -> tuple[list[tuple[bool, int, str]], str]:
    """Return a key that sorts ``clip2`` before ``clip10`` and ignores case; the text itself breaks ties."""
    parts = re.findall(r"\d+|\D+", text.casefold())
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts], text


def derive_ids(videos: Sequence[str]) -> list[tuple[str, str]]:
    """Return an id for each video: its path without the suffix, or with it if another video could have that id."""
    return list(zip(make_distinct_ids(videos, list(map(_remove_suffix, videos))), videos, strict=True))


def derive_names(videos: Sequence[str]) -> list[str]:
    """Return the path of each video without its suffix, or with it if another video has the same."""
    stems = list(map(_remove_suffix, videos))
    counts = Counter([*stems, *videos])
    return [stem if counts[stem] == 1 else video for stem, video in zip(stems, videos, strict=True)]


def _remove_suffix(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))
