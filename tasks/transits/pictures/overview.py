"""The upper half of a star's picture: its flux as observed and detrended, and the periodogram."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from tasks.transits.candidate import Candidate, Periodogram
from tasks.transits.light_curve import TIME_ZERO_DAYS, Floats, PreparedLightCurve
from tasks.transits.pictures.canvas import Across, Box, Canvas, Words
from tasks.transits.pictures.folding import in_transit, runs, transit_times
from tasks.transits.pictures.panel import (
    INK,
    LEFT_PX,
    ROOM_PX,
    SOFT,
    TITLE_PX,
    TREND,
    Flux,
    Panel,
    colour_of,
    flux_unit,
    outside,
)
from tasks.transits.pictures.scales import Broken, Linear, Log, time_scale

_FLUX_PX, _POWER_PX = 138.0, 138.0
_AXIS_PX = 50.0
_MARK_PX = 11.0  # a row of transit marks
_MOST_MARKS = 400  # of one candidate: more would be a bar
_LONGEST_GAP_DAYS = 0.5
_TREND_POINTS = 2500
_HARMONICS = ((1 / 3, "P/3"), (1 / 2, "P/2"), (2.0, "2P"), (3.0, "3P"))
_LABEL_PX = 34.0  # room for one
HEIGHT_PX = 3 * TITLE_PX + 2 * _FLUX_PX + _POWER_PX + 2 * _AXIS_PX + 8


def draw(
    canvas: Canvas,
    top: float,
    curve: PreparedLightCurve,
    candidates: Sequence[Candidate],
    periodogram: Periodogram | None,
    min_sde: float,
) -> None:
    """Fill ``HEIGHT_PX`` rows from ``top``. ``periodogram`` is shown where there are no candidates."""
    axis = time_scale(curve.time)
    boxes = [Box(LEFT_PX, top + TITLE_PX + n * (TITLE_PX + _FLUX_PX), ROOM_PX, _FLUX_PX) for n in range(2)]
    _observed(canvas, boxes[0], axis, curve, candidates)
    _detrended(canvas, boxes[1], axis, curve, candidates)
    box = Box(LEFT_PX, boxes[1].bottom + _AXIS_PX + TITLE_PX, ROOM_PX, _POWER_PX)
    searched = [candidate.periodogram for candidate in candidates] or ([periodogram] if periodogram else [])
    _periodograms(canvas, box, searched, candidates, min_sde)


def _observed(
    canvas: Canvas, box: Box, axis: Broken, curve: PreparedLightCurve, candidates: Sequence[Candidate]
) -> None:
    levels = np.concatenate([np.quantile(curve.observed, (0.0005, 0.9995)), np.quantile(curve.trend, (0, 1))])
    room = _MARK_PX * len(candidates) / box.height
    unit, scale = _scale(float(levels.min()), float(levels.max()), room)
    panel = Panel(canvas, box, axis, scale)
    panel.x_axis("", 10, labelled=False)
    panel.y_axis(f"Flux ({unit.unit})")
    hidden = panel.dots(curve.time, unit.of(curve.observed))
    panel.curve(*_trend(curve, unit), TREND, 1.6)
    for row, candidate in enumerate(reversed(candidates)):
        _marks(panel, curve, candidate, box.bottom - (row + 0.5) * _MARK_PX)
    _breaks(panel, axis)
    panel.frame(
        "Observed flux", ", ".join(filter(None, ["trend", "transits below" * bool(candidates), outside(hidden)]))
    )


def _detrended(
    canvas: Canvas, box: Box, axis: Broken, curve: PreparedLightCurve, candidates: Sequence[Candidate]
) -> None:
    deepest = max((candidate.depth for candidate in candidates), default=0.0)
    low, high = np.quantile(curve.flux, (0.0005, 0.9995))
    unit, scale = _scale(min(float(low), 1 - 1.15 * deepest), float(high), 0)
    panel = Panel(canvas, box, axis, scale)
    panel.x_axis(_time_label(curve), 10)
    panel.y_axis(f"Flux ({unit.unit})")
    hidden = panel.dots(curve.time, unit.of(curve.flux))
    for candidate in reversed(candidates):
        dipped = in_transit(curve.time, candidate)
        panel.dots(curve.time[dipped], unit.of(curve.flux[dipped]), colour_of(candidate))
    _breaks(panel, axis)
    panel.frame("Detrended flux", ", ".join(filter(None, ["in transit coloured" * bool(candidates), outside(hidden)])))


def _scale(low: float, high: float, room_below: float) -> tuple[Flux, Linear]:
    """Unit and axis for flux from ``low`` to ``high`` with a margin, and a share of the axis free below."""
    span = max(high - low, 1e-6)
    unit = flux_unit(span)
    return unit, unit.scale(low - (0.08 + 1.2 * room_below) * span, high + 0.08 * span)


def _trend(curve: PreparedLightCurve, unit: Flux) -> tuple[Floats, Floats]:
    """The trend as a line that is broken at gaps, with no more points than show."""
    every = max(1, len(curve.time) // _TREND_POINTS)
    kept = [np.arange(run.start, run.stop, every) for run in runs(curve, _LONGEST_GAP_DAYS)]
    times = chain.from_iterable((curve.time[part], [np.nan]) for part in kept)
    levels = chain.from_iterable((unit.of(curve.trend[part]), [np.nan]) for part in kept)
    return np.concatenate(list(times)), np.concatenate(list(levels))


def _marks(panel: Panel, curve: PreparedLightCurve, candidate: Candidate, row: float) -> None:
    """A triangle below each transit that was observed."""
    times = transit_times(curve, candidate)
    columns = panel.columns(times[:: 1 + len(times) // _MOST_MARKS])
    panel.canvas.marks(columns, np.full(len(columns), row), colour_of(candidate), 7, marker="^", clip=panel.box)


def _breaks(panel: Panel, axis: Broken) -> None:
    """A white strip where a long gap is shortened, with the edges of the axis cut."""
    for place in axis.breaks():
        middle = panel.box.left + panel.box.width * place
        panel.canvas.fill(Box(middle - 3, panel.box.top - 1, 6, panel.box.height + 2), "#ffffff")
        ends = [(middle + side, row) for row in (panel.box.top, panel.box.bottom) for side in (-3, 3)]
        panel.canvas.segments([((x - 2, y + 4), (x + 2, y - 4)) for x, y in ends], SOFT, 1.2)


def _time_label(curve: PreparedLightCurve) -> str:
    system = curve.segments[0].time_system
    zero = TIME_ZERO_DAYS[system]
    return f"Time ({system} = BJD − {zero:.0f}, days)" if zero else f"Time ({system}, days)"


# The periodogram


def _periodograms(
    canvas: Canvas, box: Box, searched: Sequence[Periodogram], candidates: Sequence[Candidate], min_sde: float
) -> None:
    searched = [found for found in searched if len(found.power) > 1]
    top = max([min_sde, *(float(found.power.max()) for found in searched), *(one.sde for one in candidates)])
    ends = [float(found.period_days[end]) for found in searched for end in (0, -1)] or [1.0, 10.0]
    ends += [candidate.period_days for candidate in candidates]
    axis = Log(min(ends), max(ends))
    panel = Panel(canvas, box, axis, Linear(min(0.0, -0.02 * top), 1.3 * top))
    panel.x_axis("Period (days)", 12)
    panel.y_axis("SDE")
    for number_, found in reversed(list(enumerate(searched))):
        colour = SOFT if number_ == 0 or not candidates else colour_of(candidates[number_])
        panel.curve(*_envelope(panel, found), colour, 1.0)
    panel.level(min_sde, INK, "--")
    _peaks(panel, candidates)
    panel.frame("Periodogram", f"dashed: SDE {min_sde:g}, from which a peak is a candidate")
    if not searched:
        panel.say("no search")


def _envelope(panel: Panel, found: Periodogram) -> tuple[Floats, Floats]:
    """The highest power in each column of pixels."""
    columns = np.floor(2 * panel.columns(found.period_days))
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    highest = np.maximum.reduceat(found.power, starts)
    return found.period_days[starts], np.maximum(highest, panel.y.low)


def _peaks(panel: Panel, candidates: Sequence[Candidate]) -> None:
    """Each candidate's peak with its number, over its harmonics."""
    taken = [float(panel.columns(candidate.period_days)) for candidate in candidates]
    for candidate, column in zip(candidates, list(taken), strict=True):
        _harmonics(panel, candidate, taken)
        row, colour = float(panel.rows(candidate.sde)), colour_of(candidate)
        side, across = _beside(panel, column, 9)
        panel.canvas.marks(np.array([column]), np.array([row - 8]), colour, 9, marker="v")
        panel.canvas.words(side, row - 10, str(candidate.number), Words(15, colour, across, bold=True))


def _harmonics(panel: Panel, candidate: Candidate, taken: list[float]) -> None:
    """Lines at fractions and multiples of the period; words at those that are not too near to what is ``taken``."""
    colour = colour_of(candidate)
    for factor, label in _HARMONICS:
        share = float(panel.x.places(candidate.period_days * factor))
        column = panel.box.left + share * panel.box.width
        if 0 <= share <= 1:
            panel.canvas.segments([((column, panel.box.top), (column, panel.box.bottom))], f"{colour}88", 1.0)
        if 0 <= share <= 1 and all(abs(column - other) > _LABEL_PX for other in taken):
            side, across = _beside(panel, column, 3)
            panel.canvas.words(side, panel.box.top + 9, label, Words(13, colour, across))
            taken.append(column)


def _beside(panel: Panel, column: float, away_px: float) -> tuple[float, Across]:
    """Where words at ``column`` begin, or where they end if there is no room to the right."""
    if column + away_px + _LABEL_PX <= panel.box.right:
        return column + away_px, "left"
    return column - away_px, "right"
