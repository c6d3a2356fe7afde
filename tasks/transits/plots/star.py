"""Draws the plot of one star: its light curve, its periodogram, and a vetting row per candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.transits.candidate import Candidate, Periodogram
from tasks.transits.light_curve import PreparedLightCurve
from tasks.transits.plots import overview, vetting
from tasks.transits.plots.canvas import Canvas, Words, fit_text
from tasks.transits.plots.panel import INK, LEFT_PX, ROOM_PX, SOFT, WIDTH_PX
from tasks.transits.plots.words import describe_curve, explain_no_candidate, format_count

MAX_ROWS = 3
_HEAD_PX = 58
_LINE_PX = 26


def draw_star(
    curve: PreparedLightCurve,
    candidates: Sequence[Candidate],
    rows: Sequence[Mapping[str, Any]],
    title: str,
    *,
    periodogram: Periodogram | None = None,
    min_sde: float = 7.0,
) -> bytes:
    """Draw the plot as a PNG, ``WIDTH_PX`` wide; the same star gives the same bytes.

    rows         the table's row of each candidate, in order; without candidates, the star's only row
    periodogram  of a star without candidates: its only search
    min_sde      the minimum SDE of a candidate
    """
    shown = list(zip(candidates, rows, strict=bool(candidates)))[:MAX_ROWS]
    top = _HEAD_PX + overview.HEIGHT_PX
    note = _format_more(len(candidates) - len(shown)) if shown else explain_no_candidate(rows, periodogram, min_sde)
    canvas = Canvas(WIDTH_PX, round(top + len(shown) * vetting.HEIGHT_PX + _LINE_PX * bool(note)))
    _draw_head(canvas, curve, title)
    overview.draw(canvas, _HEAD_PX, curve, candidates, periodogram, min_sde)
    for candidate, row in shown:
        vetting.draw(canvas, top, curve, candidate, row)
        top += vetting.HEIGHT_PX
    canvas.draw_text(LEFT_PX, top + 4, note, Words(15, INK, bold=not shown))
    return canvas.encode_png()


def _draw_head(canvas: Canvas, curve: PreparedLightCurve, title: str) -> None:
    large, small = Words(22, INK, bold=True), Words(14, SOFT)
    canvas.draw_text(LEFT_PX, 22, fit_text(title, large, ROOM_PX), large)
    canvas.draw_text(LEFT_PX, 47, fit_text(describe_curve(curve), small, ROOM_PX), small)


def _format_more(count: int) -> str:
    """Return the note about candidates that have no row in the plot."""
    return (
        ""
        if count == 0
        else f"{format_count(count, 'more candidate')} of this star {'is' if count == 1 else 'are'} in the table."
    )
