"""The row of a candidate in a star's plot: folded, odd and even transits, the secondary, and its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.transits.candidate import Candidate
from tasks.transits.light_curve import PreparedLightCurve
from tasks.transits.plots.canvas import Box, Canvas, Words, fit_text
from tasks.transits.plots.folding import (
    FoldedCurve,
    average_bins,
    compute_bin_width_hours,
    fold,
    make_tls_transit,
    make_trapezoid,
)
from tasks.transits.plots.panel import (
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
    choose_flux_unit,
    get_colour,
)
from tasks.transits.plots.scales import Linear
from tasks.transits.plots.words import get_value, list_facts, list_flags

_HEAD_PX, _PANEL_PX, _AXIS_PX = 26.0, 172.0, 56.0
HEIGHT_PX = _HEAD_PX + TITLE_PX + _PANEL_PX + _AXIS_PX
# Left edge and width of the panels, and of the values next to them.
_FOLDED, _ODD, _EVEN, _SECONDARY = (LEFT_PX, 376.0), (478.0, 104.0), (590.0, 104.0), (786.0, 172.0)
_FACTS, _FACTS_WIDTH = 976.0, 206.0
_FACT_PX = 18.6
_SIDE_DURATIONS = 1.3  # half the width of an odd, even or secondary window
_FOLDED_DURATIONS = 2.5


def draw(canvas: Canvas, top: float, curve: PreparedLightCurve, candidate: Candidate, row: Mapping[str, Any]) -> None:
    """Fill ``HEIGHT_PX`` rows from ``top``."""
    _draw_head(canvas, top + 8, candidate, row)
    upper = top + _HEAD_PX + TITLE_PX
    boxes = [Box(left, upper, width, _PANEL_PX) for left, width in (_FOLDED, _ODD, _EVEN, _SECONDARY)]
    unit, scale = _choose_flux_scale(curve, candidate)
    _draw_folded(canvas, boxes[0], curve, candidate, unit, scale)
    _draw_odd_even(canvas, boxes[1:3], curve, candidate, row, unit, scale)
    _draw_secondary(canvas, boxes[3], curve, candidate, row)
    _draw_facts(canvas, upper, candidate, row, curve)


def _draw_head(canvas: Canvas, middle: float, candidate: Candidate, row: Mapping[str, Any]) -> None:
    canvas.fill(Box(LEFT_PX, middle - 7, 14, 14), get_colour(candidate))
    canvas.draw_text(LEFT_PX + 22, middle, f"Candidate {candidate.number}", Words(16, INK, bold=True))
    flags = list_flags(row)
    text = f"Flags: {', '.join(flags)}" if flags else "No false-positive flags"
    style = Words(14, WARNING if flags else SOFT, bold=bool(flags))
    canvas.draw_text(LEFT_PX + 150, middle, fit_text(text, style, ROOM_PX - 150), style)


def _choose_flux_scale(curve: PreparedLightCurve, candidate: Candidate) -> tuple[Flux, Linear]:
    """Return unit and axis that show the transit regardless of the noise."""
    scatter = float(np.median(curve.noise))
    depth = max(candidate.depth, scatter / 10)
    noise = min(3.5 * scatter, 2.5 * depth)
    low, high = 1 - 1.2 * depth - noise, 1 + 0.2 * depth + noise
    unit = choose_flux_unit(high - low)
    return unit, unit.scale(low, high)


def _draw_folded(
    canvas: Canvas, box: Box, curve: PreparedLightCurve, candidate: Candidate, unit: Flux, scale: Linear
) -> None:
    half = min(_FOLDED_DURATIONS * candidate.duration_days, candidate.period_days / 2)
    folded = fold(curve, candidate, 0.0, half)
    panel = Panel(canvas, box, Linear(-24 * half, 24 * half), scale)
    panel.draw_x_axis("Hours from mid-transit", 7)
    panel.draw_y_axis(f"Flux ({unit.unit})")
    panel.draw_dots(folded.hours, unit.convert(folded.flux), POINTS)
    _draw_means(panel, folded, compute_bin_width_hours(candidate.duration_days), unit)
    hours, flux = make_trapezoid(candidate, 24 * half)
    panel.draw_curve(hours, unit.convert(flux), get_colour(candidate), 2.4)
    if candidate.tls:
        hours, flux = make_tls_transit(candidate.tls, candidate, float(np.median(curve.time)), 24 * half)
        panel.draw_curve(hours, unit.convert(flux), TLS, 2.0, "--")
    panel.draw_frame("Folded", "trapezoid, TLS dashed" if candidate.tls else "means and the best trapezoid")


def _draw_odd_even(
    canvas: Canvas,
    boxes: Sequence[Box],
    curve: PreparedLightCurve,
    candidate: Candidate,
    row: Mapping[str, Any],
    unit: Flux,
    scale: Linear,
) -> None:
    """Draw the first, third, fifth, ... transit in the left box, the second, fourth, ... in the right."""
    half = min(_SIDE_DURATIONS * candidate.duration_days, candidate.period_days / 2)
    folded = fold(curve, candidate, 0.0, half)
    mismatch = get_value(row, "odd_even_mismatch_sigma")
    notes = ("", "" if mismatch is None else f"{mismatch:.1f} σ apart")
    for parity, box in enumerate(boxes):
        panel = Panel(canvas, box, Linear(-24 * half, 24 * half), scale)
        panel.draw_x_axis("Hours", 4)
        panel.draw_y_axis("", labelled=False)
        chosen = folded.select(folded.epoch % 2 == parity)
        panel.draw_dots(chosen.hours, unit.convert(chosen.flux), POINTS)
        depth = get_value(row, ("odd_depth_ppm", "even_depth_ppm")[parity])
        if depth is not None:
            panel.draw_level(float(unit.convert(1 - 1e-6 * depth)), get_colour(candidate))
        _draw_means(panel, chosen, compute_bin_width_hours(candidate.duration_days), unit)
        if not len(chosen.hours):
            panel.draw_message("none")
        panel.draw_frame(("Odd", "Even")[parity], notes[parity])


def _draw_secondary(
    canvas: Canvas, box: Box, curve: PreparedLightCurve, candidate: Candidate, row: Mapping[str, Any]
) -> None:
    """Draw the deepest dimming outside the transit, or phase 0.5 if it is not measured."""
    phase = get_value(row, "secondary_phase")
    depth, sigma = get_value(row, "secondary_depth_ppm"), get_value(row, "secondary_significance")
    centre = 0.5 if phase is None else phase % 1.0
    half = min(_SIDE_DURATIONS * 1.5 * candidate.duration_days, candidate.period_days / 2)
    folded = fold(curve, candidate, centre * candidate.period_days, half)
    means = average_bins(folded, compute_bin_width_hours(candidate.duration_days))
    reach = max(1e-6 * abs(depth or 0.0), 4 * float(np.median(means.error)) if len(means.error) else 0.0, 1e-6)
    unit = choose_flux_unit(4 * reach)
    panel = Panel(canvas, box, Linear(-24 * half, 24 * half), unit.scale(1 - 2 * reach, 1 + 2 * reach))
    panel.draw_x_axis(f"Hours from phase {centre:.3f}", 6)
    panel.draw_y_axis(f"Flux ({unit.unit})")
    panel.draw_dots(folded.hours, unit.convert(folded.flux), POINTS)
    if depth is not None:
        panel.draw_level(float(unit.convert(1 - 1e-6 * depth)), get_colour(candidate))
    _draw_means(panel, folded, compute_bin_width_hours(candidate.duration_days), unit)
    panel.draw_frame("Secondary", "" if sigma is None else f"{sigma:.1f} σ")
    if not len(folded.hours):
        panel.draw_message("no data")


def _draw_means(panel: Panel, folded: FoldedCurve, width_hours: float, unit: Flux) -> None:
    means = average_bins(folded, width_hours)
    panel.draw_means(means.hours, unit.convert(means.flux), means.error * unit.factor, INK)


def _draw_facts(
    canvas: Canvas, top: float, candidate: Candidate, row: Mapping[str, Any], curve: PreparedLightCurve
) -> None:
    for line, (name, text) in enumerate(list_facts(candidate, row, curve.segments[0].time_system)):
        middle = top + 6 + line * _FACT_PX
        canvas.draw_text(_FACTS, middle, name, Words(14, SOFT))
        canvas.draw_text(_FACTS + _FACTS_WIDTH, middle, text, Words(14, INK, "right"))
