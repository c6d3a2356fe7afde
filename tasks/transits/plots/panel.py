"""A panel of a plot: values of two scales in a box of the canvas."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tasks.transits.candidate import Candidate
from tasks.transits.light_curve import Floats
from tasks.transits.plots.canvas import Box, Canvas, Dashes, Words, measure_width_px
from tasks.transits.plots.scales import Linear, Scale, Tick, format_number

INK = "#1b1f24"
SOFT = "#5b6570"
FRAME = "#c3c9d0"
GRID = "#edeff2"
POINTS = "#39434f"
# Okabe & Ito's palette for colour-blind readers: for candidates, then for trends, and for fits by TLS (Tol).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")
TREND = "#e69f00"
TLS = "#aa3377"
WARNING = "#a33600"

WIDTH_PX = 1200
LEFT_PX = 88.0
ROOM_PX = 1094.0  # width right of it
TITLE_PX = 24.0

_TICK = Words(14, SOFT, "center")
_LABEL = Words(15, INK, "center")
_TITLE = Words(15, INK, bold=True)
_NOTE = Words(14, SOFT)
_OVERHANG_PX = 4.0
# A point's opacity in each pixel around it: a dot of about 3 pixels with soft corners.
_DOT = np.array([[0.35, 0.8, 0.35], [0.8, 1.0, 0.8], [0.35, 0.8, 0.35]], dtype=np.float32)
_FAINTEST, _STRONGEST = 0.12, 0.75


def get_colour(candidate: Candidate) -> str:
    """Return the colour of ``candidate`` in all panels."""
    return COLOURS[(candidate.number - 1) % len(COLOURS)]


@dataclass(frozen=True)
class Flux:
    """The representation of relative flux: ``(flux - 1) * factor``, in ``unit``."""

    factor: float
    unit: str

    def convert(self, flux: Floats | float) -> Floats:
        """Convert flux to this unit."""
        return np.asarray((flux - 1.0) * self.factor, dtype=float)

    def scale(self, low: float, high: float) -> Linear:
        """Return an axis from the flux ``low`` to ``high``."""
        return Linear(float(self.convert(low)), float(self.convert(high)))


def choose_flux_unit(span: float) -> Flux:
    """Return parts per million, or percent if ``span``, a fraction, is large."""
    return Flux(1e6, "ppm") if span < 0.01 else Flux(100.0, "%")


@dataclass(frozen=True)
class Panel:
    """A box with the horizontal scale ``x`` and the vertical scale ``y``."""

    canvas: Canvas
    box: Box
    x: Scale
    y: Linear

    def get_columns(self, values: Floats | float) -> Floats:
        """Convert values of ``x`` to pixels from the canvas' left."""
        return self.box.left + self.box.width * self.x.locate(values)

    def get_rows(self, values: Floats | float) -> Floats:
        """Convert values of ``y`` to pixels from the canvas' top."""
        return self.box.bottom - self.box.height * self.y.locate(values)

    def draw_frame(self, title: str, note: str = "") -> None:
        """Draw the outline and, above it, the title and a note."""
        box = self.box
        self.canvas.draw_segments(_list_sides(box), FRAME)
        self.canvas.draw_text(box.left, box.top - 11, title, _TITLE)
        if note:
            self.canvas.draw_text(box.left + measure_width_px(title, _TITLE) + 10, box.top - 11, note, _NOTE)

    def draw_x_axis(self, label: str, max_ticks: int = 8, labelled: bool = True) -> None:
        """Draw grid lines, ticks and, if ``labelled``, labels below."""
        box, ticks = self.box, [tick for tick in self.x.list_ticks(max_ticks) if self._has_room(tick)]
        places = [box.left + box.width * tick.place for tick in ticks]
        self.canvas.draw_segments([((place, box.top), (place, box.bottom)) for place in places], GRID)
        if labelled:
            self.canvas.draw_segments([((place, box.bottom), (place, box.bottom + 4)) for place in places], SOFT)
            for place, tick in zip(places, ticks, strict=True):
                self.canvas.draw_text(place, box.bottom + 14, tick.label, _TICK)
            self.canvas.draw_text(box.left + box.width / 2, box.bottom + 33, label, _LABEL)

    def _has_room(self, tick: Tick) -> bool:
        """Return True if its label overhangs the axis by at most a few pixels."""
        reach = measure_width_px(tick.label, _TICK) / 2 - _OVERHANG_PX
        return reach <= self.box.width * tick.place <= self.box.width - reach

    def draw_y_axis(self, label: str, max_ticks: int = 5, labelled: bool = True) -> None:
        """Draw grid lines, ticks and, if ``labelled``, labels on the left."""
        box, ticks = self.box, self.y.list_ticks(max_ticks)
        places = [box.bottom - box.height * tick.place for tick in ticks]
        self.canvas.draw_segments([((box.left, place), (box.right, place)) for place in places], GRID)
        if labelled:
            for place, tick in zip(places, ticks, strict=True):
                self.canvas.draw_text(box.left - 6, place, tick.label, replace(_TICK, across="right"))
            middle = box.top + box.height / 2
            self.canvas.draw_text(box.left - 64, middle, label, replace(_LABEL, upwards=True))

    def draw_dots(self, x: Floats, y: Floats, colour: str = POINTS) -> int:
        """Draw any number of points as one image, darker at higher density. Return how many lie outside the panel."""
        width, height = round(self.box.width), round(self.box.height)
        column, row = np.floor(self.x.locate(x) * width), np.floor((1 - self.y.locate(y)) * height)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        places = (row[inside] * width + column[inside]).astype(np.int64)
        if len(places):
            counts = np.bincount(places, minlength=width * height).reshape(height, width)
            pixels = _shade(counts.astype(np.float32), colour, _choose_strength(len(places), width * height))
            self.canvas.draw_image(round(self.box.left), round(self.box.top), pixels)
        return len(x) - len(places)

    def draw_curve(self, x: Floats, y: Floats, colour: str, width_px: float = 1.5, dashes: Dashes = "-") -> None:
        """Draw a line through the points; NaN breaks it."""
        self.canvas.draw_line(self.get_columns(x), self.get_rows(y), colour, width_px, dashes, clip=self.box)

    def draw_level(self, y: float, colour: str, dashes: Dashes = "-") -> None:
        """Draw a horizontal line across the panel."""
        row = float(self.get_rows(y))
        self.canvas.draw_line(
            np.array([self.box.left, self.box.right]), np.array([row, row]), colour, 1.2, dashes, self.box
        )

    def draw_means(self, x: Floats, y: Floats, error: Floats, colour: str) -> None:
        """Draw dots with error bars."""
        columns, rows = self.get_columns(x), self.get_rows(y)
        reach = self.get_rows(y - error) - rows
        bars = [((c, r - e), (c, r + e)) for c, r, e in zip(columns, rows, reach, strict=True)]
        self.canvas.draw_segments(bars, colour, 1.2, self.box)
        self.canvas.draw_markers(columns, rows, colour, 5.5, edged=True, clip=self.box)

    def draw_message(self, text: str) -> None:
        """Draw text in the middle of the panel."""
        middle = self.box.left + self.box.width / 2, self.box.top + self.box.height / 2
        self.canvas.draw_text(*middle, text, Words(15, SOFT, "center"))


def _list_sides(box: Box) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return the four sides of the box."""
    corners = [(box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom)]
    return list(zip(corners, [*corners[1:], corners[0]], strict=True))


def format_outside(count: int) -> str:
    """Return a note about the number of points beyond the axis."""
    return "" if count == 0 else f"{format_number(count)} point{'' if count == 1 else 's'} beyond the axis"


def _choose_strength(points: int, pixels: int) -> float:
    """Return the opacity of one point: strong for few points, faint for many, so that density shows as shades."""
    return float(np.clip(0.04 * pixels / points, _FAINTEST, _STRONGEST))


def _shade(counts: NDArray[np.float32], colour: str, strength: float) -> NDArray[np.uint8]:
    """Convert counts of points per pixel to RGBA, as opaque as that many overlapping dots of ``strength``."""
    height, width = counts.shape
    padded = np.pad(counts, 1)
    dots = sum(weight * padded[r : r + height, c : c + width] for (r, c), weight in np.ndenumerate(_DOT))
    pixels = np.empty((height, width, 4), np.uint8)
    pixels[..., :3] = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    pixels[..., 3] = np.round(255 * (1 - (1 - strength) ** np.asarray(dots)))
    return pixels
