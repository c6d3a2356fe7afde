"""A picture of one star: its light curve, its periodogram, and each candidate as vetters look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.transits.candidate import Candidate, Periodogram
from tasks.transits.light_curve import PreparedLightCurve
from tasks.transits.pictures import overview, vetting
from tasks.transits.pictures.canvas import Canvas, Words, fitted
from tasks.transits.pictures.panel import INK, LEFT_PX, ROOM_PX, SOFT, WIDTH_PX
from tasks.transits.pictures.words import about_curve, counted, why_none

MOST_ROWS = 3
_HEAD_PX = 58
_LINE_PX = 26


def star_picture(
    curve: PreparedLightCurve,
    candidates: Sequence[Candidate],
    rows: Sequence[Mapping[str, Any]],
    title: str,
    *,
    periodogram: Periodogram | None = None,
    min_sde: float = 7.0,
) -> bytes:
    """A PNG, ``WIDTH_PX`` wide; the same star gives the same bytes.

    rows         the table's row of each candidate, in their order; of a star without any, its only row
    periodogram  of a star without candidates: the search that found nothing
    min_sde      the height from which a peak is a candidate
    """
    shown = list(zip(candidates, rows, strict=bool(candidates)))[:MOST_ROWS]
    top = _HEAD_PX + overview.HEIGHT_PX
    note = _more(len(candidates) - len(shown)) if shown else why_none(rows, periodogram, min_sde)
    canvas = Canvas(WIDTH_PX, round(top + len(shown) * vetting.HEIGHT_PX + _LINE_PX * bool(note)))
    _head(canvas, curve, title)
    overview.draw(canvas, _HEAD_PX, curve, candidates, periodogram, min_sde)
    for candidate, row in shown:
        vetting.draw(canvas, top, curve, candidate, row)
        top += vetting.HEIGHT_PX
    canvas.words(LEFT_PX, top + 4, note, Words(15, INK, bold=not shown))
    return canvas.png()


def _head(canvas: Canvas, curve: PreparedLightCurve, title: str) -> None:
    large, small = Words(22, INK, bold=True), Words(14, SOFT)
    canvas.words(LEFT_PX, 22, fitted(title, large, ROOM_PX), large)
    canvas.words(LEFT_PX, 47, fitted(about_curve(curve), small, ROOM_PX), small)


def _more(count: int) -> str:
    """What is said of candidates that have no row of their own."""
    return (
        ""
        if count == 0
        else f"{counted(count, 'more candidate')} of this star {'is' if count == 1 else 'are'} in the table."
    )
