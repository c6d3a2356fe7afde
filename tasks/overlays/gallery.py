"""Previews of cleaned videos for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.engine.reporting.report import Picture
from tasks.media.segment_stages.gallery import Entry, damage_clauses, read_gallery


@dataclass(frozen=True)
class Shown:
    """A cleaned video, the values of its item, and its name."""

    video: str
    values: Mapping[str, Any]
    name: str = ""


def read_video_gallery(videos: Sequence[Shown], output_dir: Path, max_videos: int = 12) -> list[Picture]:
    """Read the previews of at most ``max_videos`` videos, each with a caption."""
    entries = [Entry(shown.video, shown.name or shown.video, write_caption(shown)) for shown in videos]
    return read_gallery(entries, output_dir, max_videos)


def _count_segments(count: int) -> str:
    return "1 segment" if count == 1 else f"{count} segments"


def write_caption(shown: Shown) -> str:
    """Return the detected overlays, the actions and missing parts in a few clauses."""
    values = shown.values
    words = [str(values["reason"])]
    words.append(
        "copied unchanged" if values["copied"] else f"{values['method']}, {_count_segments(values['segments'])}"
    )
    return "; ".join([*words, *damage_clauses(values)])
