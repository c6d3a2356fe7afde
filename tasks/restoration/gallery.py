"""Contact sheets of restored tapes for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.engine.reporting.report import Picture
from tasks.media.segment_stages.gallery import Entry, damage_clauses, read_gallery
from tasks.restoration.diagnosis import Diagnosis

_CONVERSION = "scale: limited range"  # the reason of conversions between filters


@dataclass(frozen=True)
class Shown:
    """A restored tape: its diagnosis, the columns of its item, and its path in the input folder."""

    tape: str
    diagnosis: Diagnosis
    values: Mapping[str, Any]
    path: str = ""


def tape_gallery(tapes: Sequence[Shown], output_dir: Path, max_tapes: int = 12) -> list[Picture]:
    """Read the contact sheets of at most ``max_tapes`` tapes, each with what was measured and what was done."""
    entries = [Entry(shown.tape, shown.path or shown.tape, write_caption(shown)) for shown in tapes]
    return read_gallery(entries, output_dir, max_tapes)


def write_caption(shown: Shown) -> str:
    """Return a caption: the measurements, the preset with its reason, and the damage."""
    values = shown.values
    words = [
        *describe_diagnosis(shown.diagnosis),
        f"{values['preset']} ({values['chosen_because']}): {_list_filters(values)}",
    ]
    return "; ".join([*words, *damage_clauses(values)])


def _list_filters(values: Mapping[str, Any]) -> str:
    """Return the filters that change frames, in order; conversions and tags are left out."""
    names = [str(line).partition(":")[0] for line in values["chain"] if _CONVERSION not in str(line)]
    shown = [name for name in names if name not in {"format", "setsar", "setparams", "setfield"}]
    return ", ".join(shown) or "no filters"


def describe_diagnosis(diagnosis: Diagnosis) -> list[str]:
    """Describe a diagnosis in a few clauses."""
    fields = {"tff": "top field first", "bff": "bottom field first", "progressive": "progressive"}[
        diagnosis.field_order
    ]
    words = [f"{diagnosis.width_px}x{diagnosis.height_px} at {diagnosis.fps:.2f}, {fields}"]
    if diagnosis.is_mixed:
        words.append(f"{diagnosis.interlaced_share:.0%} of it interlaced")
    if diagnosis.telecine != "none":
        words.append(f"telecine {diagnosis.telecine}")
    words.append(f"noise {diagnosis.noise_luma:.1f} and {diagnosis.noise_chroma:.1f} codes")
    if abs(diagnosis.chroma_shift_x_px) >= 1 or abs(diagnosis.chroma_shift_y_px) >= 1:
        words.append(f"chroma shifted by {diagnosis.chroma_shift_x_px:+.1f}, {diagnosis.chroma_shift_y_px:+.1f} px")
    if diagnosis.head_switching_lines:
        words.append(f"{diagnosis.head_switching_lines} torn lines")
    if not diagnosis.audio_channels:
        words.append("no audio")
    elif diagnosis.silent_channels:
        words.append(f"channel {diagnosis.silent_channels[0] + 1} of {diagnosis.audio_channels} silent")
    return words
