"""Contact sheets of processed videos for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.engine.contract.stage import get_published_file
from tasks.engine.reporting.report import Picture
from tasks.media.segment_stages.preview_stage import get_sheet_path

_JPEG_START = b"\xff\xd8\xff"


@dataclass(frozen=True)
class Entry:
    """A processed video in the gallery; ``id`` is that of its items."""

    id: str
    title: str
    caption: str


def read_gallery(entries: Sequence[Entry], output_dir: Path, max_entries: int = 12) -> list[Picture]:
    """Read the contact sheets of at most ``max_entries`` videos, evenly spread; those without a sheet are left out."""
    chosen = entries[:: max(1, -(-len(entries) // max_entries))]
    return [picture for entry in chosen if (picture := _read_picture(entry, output_dir))]


def damage_clauses(values: Mapping[str, Any]) -> list[str]:
    """Return the clauses of a caption that report damage, from the columns of a joined video."""
    clauses = [f"PARTIAL: {values['missing']}"] if values["missing"] else []
    return clauses + ([f"{values['damaged_frames']} damaged frames"] if values["damaged_frames"] else [])


def _read_picture(entry: Entry, output_dir: Path) -> Picture | None:
    try:
        data = get_published_file(output_dir, get_sheet_path(entry.id)).read_bytes()
    except OSError:
        return None
    return Picture(entry.title, entry.caption, data) if data.startswith(_JPEG_START) else None
