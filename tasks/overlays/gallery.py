"""The pictures of cleaned videos that the report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.engine.reporting.report import Picture
from tasks.overlays.preview_stage import sheet_path

_JPEG_START = b"\xff\xd8\xff"


@dataclass(frozen=True)
class Shown:
    """A cleaned video, the values of its item, and its name as its user knows it."""

    video: str
    values: Mapping[str, Any]
    name: str = ""


def gallery(videos: Sequence[Shown], output_dir: Path, most: int = 12) -> list[Picture]:
    """The sheets of at most ``most`` videos, evenly through them, each with what was found and done."""
    chosen = videos[:: max(1, -(-len(videos) // most))]
    return [picture for one in chosen if (picture := _picture(one, output_dir))]


def _picture(shown: Shown, output_dir: Path) -> Picture | None:
    try:
        data = (output_dir / sheet_path(shown.video)).read_bytes()
    except OSError:
        return None
    return Picture(shown.name or shown.video, caption(shown), data) if data.startswith(_JPEG_START) else None


def _parts(count: int) -> str:
    return "1 segment" if count == 1 else f"{count} segments"


def caption(shown: Shown) -> str:
    """What was found, what was done, and what is missing, in a few clauses."""
    values = shown.values
    words = [str(values["reason"])]
    words.append("copied as it is" if values["copied"] else f"{values['method']}, {_parts(values['segments'])}")
    if values["missing"]:
        words.append(f"PARTIAL: {values['missing']}")
    if values["damaged_frames"]:
        words.append(f"{values['damaged_frames']} damaged frames")
    return "; ".join(words)
