"""Chooses the plots of the best candidates for the report, and scales them down."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tasks.engine.contract.stage import get_published_file
from tasks.engine.reporting.report import Picture

_WIDTH_PX = 900
_QUALITY = 80
_MAX_IN_CAPTION = 3


@dataclass(frozen=True)
class StarPlot:
    """A star's plot and its rank. Plain values, since a record stores it as JSON.

    path     of the PNG, relative to the output folder, with its ``sha256``
    sde      of the best candidate: the maximum without flags, or else the maximum; None without candidates
    flagged  True if all candidates have flags
    """

    id: str
    path: str
    sha256: str
    sde: float | None
    flagged: bool
    caption: str


def describe_plot(star_id: str, path: str, sha256: str, rows: Sequence[Mapping[str, Any]]) -> StarPlot:
    """Describe a star's plot for the gallery; ``get_rows`` are its rows in the table."""
    candidates = [row for row in rows if row["candidate_number"] is not None]
    clean = [row for row in candidates if not row["false_positive_flags"]]
    heights = [row["sde"] for row in clean or candidates if row["sde"] is not None]
    captions = [_format_caption(row) for row in candidates[:_MAX_IN_CAPTION]]
    more = [f"and {len(candidates) - _MAX_IN_CAPTION} more"] if len(candidates) > _MAX_IN_CAPTION else []
    return StarPlot(star_id, path, sha256, max(heights, default=None), not clean, "; ".join([*captions, *more]))


def choose_best_plots(
    stars: Iterable[StarPlot], output_dir: Path, max_plots: int = 12, names: Mapping[str, str] | None = None
) -> list[Picture]:
    """Return the plots of the ``max_plots`` best stars, best first: unflagged before flagged, then by SDE, then by id.

    ``names`` are the stars' names by id. Stars without candidates are excluded, and so are plots that are missing or
    were modified after their stage published them.
    """
    entries = ((star.flagged, -star.sde, star.id, star) for star in stars if star.sde is not None)
    best = heapq.nsmallest(max_plots, entries, key=lambda entry: entry[:3])
    return [picture for *_, star in best if (picture := _load_plot(star, output_dir, names or {}))]


def _load_plot(star: StarPlot, output_dir: Path, names: Mapping[str, str]) -> Picture | None:
    try:
        content = get_published_file(output_dir, star.path).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != star.sha256:
        return None
    full = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    title = names.get(star.id, star.id)
    return None if full is None else Picture(title, star.caption, _shrink(full), "image/webp")


def _shrink(full: Any) -> bytes:
    """Encode the decoded plot as WebP, ``_WIDTH_PX`` wide."""
    height, width = full.shape[:2]
    small = cv2.resize(full, (_WIDTH_PX, round(height * _WIDTH_PX / width)), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".webp", small, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])[1])


def _format_caption(row: Mapping[str, Any]) -> str:
    flags = row["false_positive_flags"]
    facts = [
        _format_fact(row["period_days"], "{:.5g} d"),
        _format_fact(row["depth_ppm"], "{:.0f} ppm"),
        _format_fact(row["snr"], "SNR {:.1f}"),
        _format_fact(row["sde"], "SDE {:.1f}"),
        flags.replace(";", ", ").replace("_", " ") if flags else "no flags",
    ]
    return f"{row['candidate_number']}: {', '.join(filter(None, facts))}"


def _format_fact(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
