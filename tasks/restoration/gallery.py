"""Contact sheets of restored tapes for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.engine.reporting.report import Picture
from tasks.media.segment_stages.gallery import Entry, damage_clauses, read_gallery
from tasks.restoration.diagnosis import Diagnosis

_CONVERSION = "scale: limited range"  # as the chain explains what stands between two of its parts


@dataclass(frozen=True)
class Shown:
    """A restored tape: what was wrong with it, the values of its item, and its path as its user knows it."""

    tape: str
    diagnosis: Diagnosis
    values: Mapping[str, Any]
    path: str = ""


def tape_gallery(tapes: Sequence[Shown], output_dir: Path, max_tapes: int = 12) -> list[Picture]:
    """Read the contact sheets of at most ``max_tapes`` tapes, each with what was measured and what was done."""
    entries = [Entry(shown.tape, shown.path or shown.tape, caption(shown)) for shown in tapes]
    return read_gallery(entries, output_dir, max_tapes)


def caption(shown: Shown) -> str:
    """What was measured, what was chosen and why, and what is missing, in a few clauses."""
    values = shown.values
    words = [*condition(shown.diagnosis), f"{values['preset']} ({values['chosen_because']}): {_filters(values)}"]
    return "; ".join([*words, *damage_clauses(values)])


def _filters(values: Mapping[str, Any]) -> str:
    """The filters that change the picture, in order; conversions and labels between them are left out."""
    names = [str(line).partition(":")[0] for line in values["chain"] if _CONVERSION not in str(line)]
    shown = [name for name in names if name not in {"format", "setsar", "setparams", "setfield"}]
    return ", ".join(shown) or "nothing to be done"


def condition(found: Diagnosis) -> list[str]:
    """A diagnosis in words, a clause each."""
    fields = {"tff": "top field first", "bff": "bottom field first", "progressive": "progressive"}[found.field_order]
    words = [f"{found.width_px}x{found.height_px} at {found.fps:.2f}, {fields}"]
    if found.is_mixed:
        words.append(f"{found.interlaced_share:.0%} of it interlaced")
    if found.telecine != "none":
        words.append(f"telecine {found.telecine}")
    words.append(f"noise {found.noise_luma:.1f} and {found.noise_chroma:.1f} codes")
    if abs(found.chroma_shift_x_px) >= 1 or abs(found.chroma_shift_y_px) >= 1:
        words.append(f"colour off by {found.chroma_shift_x_px:+.1f}, {found.chroma_shift_y_px:+.1f} px")
    if found.head_switching_lines:
        words.append(f"{found.head_switching_lines} torn lines")
    if not found.audio_channels:
        words.append("no sound")
    elif found.silent_channels:
        words.append(f"channel {found.silent_channels[0] + 1} of {found.audio_channels} silent")
    return words
