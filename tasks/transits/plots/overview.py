"""The upper half of a star's plot: its observed and detrended flux, and the periodogram."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from tasks.transits.candidate import Candidate, Periodogram
from tasks.transits.light_curve import TIME_ZERO_DAYS, Floats, PreparedLightCurve
from tasks.transits.plots.canvas import Across, Box, Canvas, Words
from tasks.transits.plots.folding import find_in_transit, list_transit_times, split_runs
from tasks.transits.plots.panel import (
    INK,
    LEFT_PX,
    ROOM_PX,
    SOFT,
    TITLE_PX,
    TREND,
    Flux,
    Panel,
    choose_flux_unit,
    format_outside,
    get_colour,
)
from tasks.transits.plots.scales import Broken, Linear, Log, make_time_scale

_FLUX_PX, _POWER_PX = 138.0, 138.0
_AXIS_PX = 50.0
_MARK_PX = 11.0  # a row of transit markers
_MAX_MARKS = 400  # per candidate; more would look like a bar
_MAX_GAP_DAYS = 0.5
_TREND_POINTS = 2500
_HARMONICS = ((1 / 3, "P/3"), (1 / 2, "P/2"), (2.0, "2P"), (3.0, "3P"))
_LABEL_PX = 34.0  # space for a label
HEIGHT_PX = 3 * TITLE_PX + 2 * _FLUX_PX + _POWER_PX + 2 * _AXIS_PX + 8


def draw(
    canvas: Canvas,
    top: float,
    curve: PreparedLightCurve,
    candidates: Sequence[Candidate],
    periodogram: Periodogram | None,
    min_sde: float,
) -> None:
    """Fill ``HEIGHT_PX`` rows from ``top``. ``periodogram`` is shown if there are no candidates."""
    axis = make_time_scale(curve.time)
    boxes = [Box(LEFT_PX, top + TITLE_PX + n * (TITLE_PX + _FLUX_PX), ROOM_PX, _FLUX_PX) for n in range(2)]
    _draw_observed(canvas, boxes[0], axis, curve, candidates)
    _draw_detrended(canvas, boxes[1], axis, curve, candidates)
    box = Box(LEFT_PX, boxes[1].bottom + _AXIS_PX + TITLE_PX, ROOM_PX, _POWER_PX)
    spectra = [candidate.periodogram for candidate in candidates] or ([periodogram] if periodogram else [])
    _draw_periodograms(canvas, box, spectra, candidates, min_sde)


def _draw_observed(
    canvas: Canvas, box: Box, axis: Broken, curve: PreparedLightCurve, candidates: Sequence[Candidate]
) -> None:
    levels = np.concatenate([np.quantile(curve.observed, (0.0005, 0.9995)), np.quantile(curve.trend, (0, 1))])
    room = _MARK_PX * len(candidates) / box.height
    unit, scale = _choose_scale(float(levels.min()), float(levels.max()), room)
    panel = Panel(canvas, box, axis, scale)
    panel.draw_x_axis("", 10, labelled=False)
    panel.draw_y_axis(f"Flux ({unit.unit})")
    hidden = panel.draw_dots(curve.time, unit.convert(curve.observed))
    panel.draw_curve(*_make_trend_line(curve, unit), TREND, 1.6)
    for row, candidate in enumerate(reversed(candidates)):
        _draw_transit_markers(panel, curve, candidate, box.bottom - (row + 0.5) * _MARK_PX)
    _draw_breaks(panel, axis)
    panel.draw_frame(
        "Observed flux", ", ".join(filter(None, ["trend", "transits below" * bool(candidates), format_outside(hidden)]))
    )


def _draw_detrended(
    canvas: Canvas, box: Box, axis: Broken, curve: PreparedLightCurve, candidates: Sequence[Candidate]
) -> None:
    deepest = max((candidate.depth for candidate in candidates), default=0.0)
    low, high = np.quantile(curve.flux, (0.0005, 0.9995))
    unit, scale = _choose_scale(min(float(low), 1 - 1.15 * deepest), float(high), 0)
    panel = Panel(canvas, box, axis, scale)
    panel.draw_x_axis(_format_time_label(curve), 10)
    panel.draw_y_axis(f"Flux ({unit.unit})")
    hidden = panel.draw_dots(curve.time, unit.convert(curve.flux))
    for candidate in reversed(candidates):
        dipped = find_in_transit(curve.time, candidate)
        panel.draw_dots(curve.time[dipped], unit.convert(curve.flux[dipped]), get_colour(candidate))
    _draw_breaks(panel, axis)
    panel.draw_frame(
        "Detrended flux", ", ".join(filter(None, ["in transit coloured" * bool(candidates), format_outside(hidden)]))
    )


def _choose_scale(low: float, high: float, room_below: float) -> tuple[Flux, Linear]:
    """Return unit and axis for flux from ``low`` to ``high`` with a margin, and a share of the axis free below."""
    span = max(high - low, 1e-6)
    unit = choose_flux_unit(span)
    return unit, unit.scale(low - (0.08 + 1.2 * room_below) * span, high + 0.08 * span)


def _make_trend_line(curve: PreparedLightCurve, unit: Flux) -> tuple[Floats, Floats]:
    """Return the trend as a line that breaks at gaps, with as many points as are visible."""
    every = max(1, len(curve.time) // _TREND_POINTS)
    kept = [np.arange(run.start, run.stop, every) for run in split_runs(curve, _MAX_GAP_DAYS)]
    times = chain.from_iterable((curve.time[part], [np.nan]) for part in kept)
    levels = chain.from_iterable((unit.convert(curve.trend[part]), [np.nan]) for part in kept)
    return np.concatenate(list(times)), np.concatenate(list(levels))


def _draw_transit_markers(panel: Panel, curve: PreparedLightCurve, candidate: Candidate, row: float) -> None:
    """Draw a triangle below each observed transit."""
    times = list_transit_times(curve, candidate)
    columns = panel.get_columns(times[:: 1 + len(times) // _MAX_MARKS])
    panel.canvas.draw_markers(columns, np.full(len(columns), row), get_colour(candidate), 7, marker="^", clip=panel.box)


def _draw_breaks(panel: Panel, axis: Broken) -> None:
    """Draw a white strip at each shortened gap, with cut axis edges."""
    for place in axis.get_breaks():
        middle = panel.box.left + panel.box.width * place
        panel.canvas.fill(Box(middle - 3, panel.box.top - 1, 6, panel.box.height + 2), "#ffffff")
        ends = [(middle + side, row) for row in (panel.box.top, panel.box.bottom) for side in (-3, 3)]
        panel.canvas.draw_segments([((x - 2, y + 4), (x + 2, y - 4)) for x, y in ends], SOFT, 1.2)


def _format_time_label(curve: PreparedLightCurve) -> str:
    system = curve.segments[0].time_system
    zero = TIME_ZERO_DAYS[system]
    return f"Time ({system} = BJD − {zero:.0f}, days)" if zero else f"Time ({system}, days)"


# The periodogram


def _draw_periodograms(
    canvas: Canvas, box: Box, spectra: Sequence[Periodogram], candidates: Sequence[Candidate], min_sde: float
) -> None:
    spectra = [spectrum for spectrum in spectra if len(spectrum.power) > 1]
    top = max([min_sde, *(float(spectrum.power.max()) for spectrum in spectra), *(each.sde for each in candidates)])
    ends = [float(spectrum.period_days[end]) for spectrum in spectra for end in (0, -1)] or [1.0, 10.0]
    ends += [candidate.period_days for candidate in candidates]
    axis = Log(min(ends), max(ends))
    panel = Panel(canvas, box, axis, Linear(min(0.0, -0.02 * top), 1.3 * top))
    panel.draw_x_axis("Period (days)", 12)
    panel.draw_y_axis("SDE")
    for index, spectrum in reversed(list(enumerate(spectra))):
        colour = SOFT if index == 0 or not candidates else get_colour(candidates[index])
        panel.draw_curve(*_compute_envelope(panel, spectrum), colour, 1.0)
    panel.draw_level(min_sde, INK, "--")
    _draw_peaks(panel, candidates)
    panel.draw_frame("Periodogram", f"dashed: minimum SDE of a candidate, {min_sde:g}")
    if not spectra:
        panel.draw_message("no search")


def _compute_envelope(panel: Panel, spectrum: Periodogram) -> tuple[Floats, Floats]:
    """Return the maximum power in each column of pixels."""
    columns = np.floor(2 * panel.get_columns(spectrum.period_days))
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    highest = np.maximum.reduceat(spectrum.power, starts)
    return spectrum.period_days[starts], np.maximum(highest, panel.y.low)


def _draw_peaks(panel: Panel, candidates: Sequence[Candidate]) -> None:
    """Mark each candidate's peak with its number, above its harmonics."""
    taken = [float(panel.get_columns(candidate.period_days)) for candidate in candidates]
    for candidate, column in zip(candidates, list(taken), strict=True):
        _draw_harmonics(panel, candidate, taken)
        row, colour = float(panel.get_rows(candidate.sde)), get_colour(candidate)
        side, across = _place_label(panel, column, 9)
        panel.canvas.draw_markers(np.array([column]), np.array([row - 8]), colour, 9, marker="v")
        panel.canvas.draw_text(side, row - 10, str(candidate.number), Words(15, colour, across, bold=True))


def _draw_harmonics(panel: Panel, candidate: Candidate, taken: list[float]) -> None:
    """Draw lines at fractions and multiples of the period, with labels where no label is ``taken`` nearby."""
    colour = get_colour(candidate)
    for factor, label in _HARMONICS:
        share = float(panel.x.locate(candidate.period_days * factor))
        column = panel.box.left + share * panel.box.width
        if 0 <= share <= 1:
            panel.canvas.draw_segments([((column, panel.box.top), (column, panel.box.bottom))], f"{colour}88", 1.0)
        if 0 <= share <= 1 and all(abs(column - other) > _LABEL_PX for other in taken):
            side, across = _place_label(panel, column, 3)
            panel.canvas.draw_text(side, panel.box.top + 9, label, Words(13, colour, across))
            taken.append(column)


def _place_label(panel: Panel, column: float, away_px: float) -> tuple[float, Across]:
    """Return position and alignment of text next to ``column``: on its right if there is space, else on its left."""
    if column + away_px + _LABEL_PX <= panel.box.right:
        return column + away_px, "left"
    return column - away_px, "right"
