"""Contact sheets of cleaned videos for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.engine.reporting.report import Picture
from tasks.media.segment_stages.gallery import Entry, damage_clauses, read_gallery


@dataclass(frozen=True)
class Shown:
    """A cleaned video, the values of its item, and its name as its user knows it."""

    video: str
    values: Mapping[str, Any]
    name: str = ""


def video_gallery(videos: Sequence[Shown], output_dir: Path, max_videos: int = 12) -> list[Picture]:
    """Read the contact sheets of at most ``max_videos`` videos, each with what was detected and what was done."""
    entries = [Entry(shown.video, shown.name or shown.video, caption(shown)) for shown in videos]
    return read_gallery(entries, output_dir, max_videos)


def _parts(count: int) -> str:
    return "1 segment" if count == 1 else f"{count} segments"


def caption(shown: Shown) -> str:
    """What was found, what was done, and what is missing, in a few clauses."""
    values = shown.values
    words = [str(values["reason"])]
    words.append("copied as it is" if values["copied"] else f"{values['method']}, {_parts(values['segments'])}")
    return "; ".join([*words, *damage_clauses(values)])
