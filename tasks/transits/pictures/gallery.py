"""The pictures that the report shows: of the best candidates, made smaller."""

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
_MOST_IN_CAPTION = 3


@dataclass(frozen=True)
class Drawn:
    """A star's picture and why it is worth a look. Plain values: it goes through a record as JSON.

    path     of the PNG, relative to the output folder, with its ``sha256``
    sde      of the best candidate: the highest without flags, or else the highest; None for a star without any
    flagged  whether all candidates have flags
    """

    id: str
    path: str
    sha256: str
    sde: float | None
    flagged: bool
    caption: str


def drawn(star_id: str, path: str, sha256: str, rows: Sequence[Mapping[str, Any]]) -> Drawn:
    """What the gallery needs to know of a star whose rows in the table are ``rows``."""
    found = [row for row in rows if row["candidate_number"] is not None]
    clean = [row for row in found if not row["false_positive_flags"]]
    heights = [row["sde"] for row in clean or found if row["sde"] is not None]
    captions = [_caption(row) for row in found[:_MOST_IN_CAPTION]]
    more = [f"and {len(found) - _MOST_IN_CAPTION} more"] if len(found) > _MOST_IN_CAPTION else []
    return Drawn(star_id, path, sha256, max(heights, default=None), not clean, "; ".join([*captions, *more]))


def best_pictures(
    stars: Iterable[Drawn], output_dir: Path, most: int = 12, names: Mapping[str, str] | None = None
) -> list[Picture]:
    """The pictures of the ``most`` best stars, best first: unflagged before flagged, then by SDE, then by id.

    ``names`` are the stars' names by id.

    Stars without candidates are not shown, nor is a picture that is gone or is no longer what its stage made.
    """
    known = ((star.flagged, -star.sde, star.id, star) for star in stars if star.sde is not None)
    best = heapq.nsmallest(most, known, key=lambda entry: entry[:3])
    return [picture for *_, star in best if (picture := _picture(star, output_dir, names or {}))]


def _picture(star: Drawn, output_dir: Path, names: Mapping[str, str]) -> Picture | None:
    try:
        content = get_published_file(output_dir, star.path).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != star.sha256:
        return None
    full = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    title = names.get(star.id, star.id)
    return None if full is None else Picture(title, star.caption, _smaller(full), "image/webp")


def _smaller(full: Any) -> bytes:
    """The decoded picture as WebP, ``_WIDTH_PX`` wide."""
    height, width = full.shape[:2]
    small = cv2.resize(full, (_WIDTH_PX, round(height * _WIDTH_PX / width)), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".webp", small, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])[1])


def _caption(row: Mapping[str, Any]) -> str:
    flags = row["false_positive_flags"]
    facts = [
        _fact(row["period_days"], "{:.5g} d"),
        _fact(row["depth_ppm"], "{:.0f} ppm"),
        _fact(row["snr"], "SNR {:.1f}"),
        _fact(row["sde"], "SDE {:.1f}"),
        flags.replace(";", ", ").replace("_", " ") if flags else "no flags",
    ]
    return f"{row['candidate_number']}: {', '.join(filter(None, facts))}"


def _fact(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
