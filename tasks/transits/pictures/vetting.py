"""A candidate's row of a star's picture: folded, odd against even, the secondary, and its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.transits.candidate import Candidate
from tasks.transits.light_curve import PreparedLightCurve
from tasks.transits.pictures.canvas import Box, Canvas, Words, fitted
from tasks.transits.pictures.folding import FoldedCurve, bin_width_hours, bins, fold, tls_transit, trapezoid
from tasks.transits.pictures.panel import (
    INK,
    LEFT_PX,
    POINTS,
    ROOM_PX,
    SOFT,
    TITLE_PX,
    TLS,
    WARNING,
    Flux,
    Panel,
    colour_of,
    flux_unit,
)
from tasks.transits.pictures.scales import Linear
from tasks.transits.pictures.words import facts, flags_of, value_of

_HEAD_PX, _PANEL_PX, _AXIS_PX = 26.0, 172.0, 56.0
HEIGHT_PX = _HEAD_PX + TITLE_PX + _PANEL_PX + _AXIS_PX
# Left edge and width of the panels, and of the numbers beside them.
_FOLDED, _ODD, _EVEN, _SECONDARY = (LEFT_PX, 376.0), (478.0, 104.0), (590.0, 104.0), (786.0, 172.0)
_FACTS, _FACTS_WIDTH = 976.0, 206.0
_FACT_PX = 18.6
_SIDE_DURATIONS = 1.3  # half the width of an odd, even or secondary window
_FOLDED_DURATIONS = 2.5


def draw(canvas: Canvas, top: float, curve: PreparedLightCurve, candidate: Candidate, row: Mapping[str, Any]) -> None:
    """Fill ``HEIGHT_PX`` rows from ``top``."""
    _head(canvas, top + 8, candidate, row)
    upper = top + _HEAD_PX + TITLE_PX
    boxes = [Box(left, upper, width, _PANEL_PX) for left, width in (_FOLDED, _ODD, _EVEN, _SECONDARY)]
    unit, scale = _flux_scale(curve, candidate)
    _folded(canvas, boxes[0], curve, candidate, unit, scale)
    _odd_even(canvas, boxes[1:3], curve, candidate, row, unit, scale)
    _secondary(canvas, boxes[3], curve, candidate, row)
    _numbers(canvas, upper, candidate, row, curve)


def _head(canvas: Canvas, middle: float, candidate: Candidate, row: Mapping[str, Any]) -> None:
    canvas.fill(Box(LEFT_PX, middle - 7, 14, 14), colour_of(candidate))
    canvas.words(LEFT_PX + 22, middle, f"Candidate {candidate.number}", Words(16, INK, bold=True))
    flags = flags_of(row)
    text = f"Flags: {', '.join(flags)}" if flags else "No false-positive flags"
    style = Words(14, WARNING if flags else SOFT, bold=bool(flags))
    canvas.words(LEFT_PX + 150, middle, fitted(text, style, ROOM_PX - 150), style)


def _flux_scale(curve: PreparedLightCurve, candidate: Candidate) -> tuple[Flux, Linear]:
    """Unit and axis on which the transit can be seen, however noisy the points are."""
    scatter = float(np.median(curve.noise))
    depth = max(candidate.depth, scatter / 10)
    noise = min(3.5 * scatter, 2.5 * depth)
    low, high = 1 - 1.2 * depth - noise, 1 + 0.2 * depth + noise
    unit = flux_unit(high - low)
    return unit, unit.scale(low, high)


def _folded(
    canvas: Canvas, box: Box, curve: PreparedLightCurve, candidate: Candidate, unit: Flux, scale: Linear
) -> None:
    half = min(_FOLDED_DURATIONS * candidate.duration_days, candidate.period_days / 2)
    folded = fold(curve, candidate, 0.0, half)
    panel = Panel(canvas, box, Linear(-24 * half, 24 * half), scale)
    panel.x_axis("Hours from mid-transit", 7)
    panel.y_axis(f"Flux ({unit.unit})")
    panel.dots(folded.hours, unit.of(folded.flux), POINTS)
    _means(panel, folded, bin_width_hours(candidate.duration_days), unit)
    hours, flux = trapezoid(candidate, 24 * half)
    panel.curve(hours, unit.of(flux), colour_of(candidate), 2.4)
    if candidate.tls:
        hours, flux = tls_transit(candidate.tls, candidate, float(np.median(curve.time)), 24 * half)
        panel.curve(hours, unit.of(flux), TLS, 2.0, "--")
    panel.frame("Folded", "trapezoid, TLS dashed" if candidate.tls else "means and the best trapezoid")


def _odd_even(
    canvas: Canvas,
    boxes: Sequence[Box],
    curve: PreparedLightCurve,
    candidate: Candidate,
    row: Mapping[str, Any],
    unit: Flux,
    scale: Linear,
) -> None:
    """The first, third, fifth, ... transit in the left box, the second, fourth, ... in the right."""
    half = min(_SIDE_DURATIONS * candidate.duration_days, candidate.period_days / 2)
    folded = fold(curve, candidate, 0.0, half)
    mismatch = value_of(row, "odd_even_mismatch_sigma")
    notes = ("", "" if mismatch is None else f"{mismatch:.1f} σ apart")
    for parity, box in enumerate(boxes):
        panel = Panel(canvas, box, Linear(-24 * half, 24 * half), scale)
        panel.x_axis("Hours", 4)
        panel.y_axis("", labelled=False)
        chosen = folded.only(folded.epoch % 2 == parity)
        panel.dots(chosen.hours, unit.of(chosen.flux), POINTS)
        depth = value_of(row, ("odd_depth_ppm", "even_depth_ppm")[parity])
        if depth is not None:
            panel.level(float(unit.of(1 - 1e-6 * depth)), colour_of(candidate))
        _means(panel, chosen, bin_width_hours(candidate.duration_days), unit)
        if not len(chosen.hours):
            panel.say("none")
        panel.frame(("Odd", "Even")[parity], notes[parity])


def _secondary(
    canvas: Canvas, box: Box, curve: PreparedLightCurve, candidate: Candidate, row: Mapping[str, Any]
) -> None:
    """Around the deepest dimming outside the transit; around phase 0.5 where none was measured."""
    phase = value_of(row, "secondary_phase")
    depth, sigma = value_of(row, "secondary_depth_ppm"), value_of(row, "secondary_significance")
    centre = 0.5 if phase is None else phase % 1.0
    half = min(_SIDE_DURATIONS * 1.5 * candidate.duration_days, candidate.period_days / 2)
    folded = fold(curve, candidate, centre * candidate.period_days, half)
    found = bins(folded, bin_width_hours(candidate.duration_days))
    reach = max(1e-6 * abs(depth or 0.0), 4 * float(np.median(found.error)) if len(found.error) else 0.0, 1e-6)
    unit = flux_unit(4 * reach)
    panel = Panel(canvas, box, Linear(-24 * half, 24 * half), unit.scale(1 - 2 * reach, 1 + 2 * reach))
    panel.x_axis(f"Hours from phase {centre:.3f}", 6)
    panel.y_axis(f"Flux ({unit.unit})")
    panel.dots(folded.hours, unit.of(folded.flux), POINTS)
    if depth is not None:
        panel.level(float(unit.of(1 - 1e-6 * depth)), colour_of(candidate))
    _means(panel, folded, bin_width_hours(candidate.duration_days), unit)
    panel.frame("Secondary", "" if sigma is None else f"{sigma:.1f} σ")
    if not len(folded.hours):
        panel.say("no data")


def _means(panel: Panel, folded: FoldedCurve, width_hours: float, unit: Flux) -> None:
    found = bins(folded, width_hours)
    panel.means(found.hours, unit.of(found.flux), found.error * unit.factor, INK)


def _numbers(
    canvas: Canvas, top: float, candidate: Candidate, row: Mapping[str, Any], curve: PreparedLightCurve
) -> None:
    for line, (name, text) in enumerate(facts(candidate, row, curve.segments[0].time_system)):
        middle = top + 6 + line * _FACT_PX
        canvas.words(_FACTS, middle, name, Words(14, SOFT))
        canvas.words(_FACTS + _FACTS_WIDTH, middle, text, Words(14, INK, "right"))
