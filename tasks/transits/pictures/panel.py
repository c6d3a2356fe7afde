"""One plot of a picture: values of two scales in a box of the canvas."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tasks.transits.candidate import Candidate
from tasks.transits.light_curve import Floats
from tasks.transits.pictures.canvas import Box, Canvas, Dashes, Words, width_px
from tasks.transits.pictures.scales import Linear, Scale, Tick, format_number

INK = "#1b1f24"
SOFT = "#5b6570"
FRAME = "#c3c9d0"
GRID = "#edeff2"
POINTS = "#39434f"
# Okabe & Ito's colours, which the colour-blind can tell apart: of candidates, then of trends, and of fits by TLS (Tol).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")
TREND = "#e69f00"
TLS = "#aa3377"
WARNING = "#a33600"

WIDTH_PX = 1200
LEFT_PX = 88.0
ROOM_PX = 1094.0  # right of it
TITLE_PX = 24.0

_TICK = Words(14, SOFT, "center")
_LABEL = Words(15, INK, "center")
_TITLE = Words(15, INK, bold=True)
_NOTE = Words(14, SOFT)
_OVERHANG_PX = 4.0
# A point's share of each pixel around it: a dot of about 3 pixels with soft corners.
_DOT = np.array([[0.35, 0.8, 0.35], [0.8, 1.0, 0.8], [0.35, 0.8, 0.35]], dtype=np.float32)
_FAINTEST, _STRONGEST = 0.12, 0.75


def colour_of(candidate: Candidate) -> str:
    """The colour in which ``candidate`` is drawn everywhere."""
    return COLOURS[(candidate.number - 1) % len(COLOURS)]


@dataclass(frozen=True)
class Flux:
    """How relative flux is written: ``(flux - 1) * factor``, in ``unit``."""

    factor: float
    unit: str

    def of(self, flux: Floats | float) -> Floats:
        """In this unit."""
        return np.asarray((flux - 1.0) * self.factor, dtype=float)

    def scale(self, low: float, high: float) -> Linear:
        """An axis from the flux ``low`` to ``high``."""
        return Linear(float(self.of(low)), float(self.of(high)))


def flux_unit(span: float) -> Flux:
    """Parts per million, or per cent where ``span``, a fraction, is large."""
    return Flux(1e6, "ppm") if span < 0.01 else Flux(100.0, "%")


@dataclass(frozen=True)
class Panel:
    """A box whose width is the scale ``x`` and whose height is the scale ``y``."""

    canvas: Canvas
    box: Box
    x: Scale
    y: Linear

    def columns(self, values: Floats | float) -> Floats:
        """Pixels from the canvas' left for values of ``x``."""
        return self.box.left + self.box.width * self.x.places(values)

    def rows(self, values: Floats | float) -> Floats:
        """Pixels from the canvas' top for values of ``y``."""
        return self.box.bottom - self.box.height * self.y.places(values)

    def frame(self, title: str, note: str = "") -> None:
        """The outline and, above it, the title with a note behind it."""
        box = self.box
        self.canvas.segments(_outline(box), FRAME)
        self.canvas.words(box.left, box.top - 11, title, _TITLE)
        if note:
            self.canvas.words(box.left + width_px(title, _TITLE) + 10, box.top - 11, note, _NOTE)

    def x_axis(self, label: str, most: int = 8, labelled: bool = True) -> None:
        """Grid lines, ticks and, where it is ``labelled``, words below."""
        box, ticks = self.box, [tick for tick in self.x.ticks(most) if self._has_room(tick)]
        places = [box.left + box.width * tick.place for tick in ticks]
        self.canvas.segments([((place, box.top), (place, box.bottom)) for place in places], GRID)
        if labelled:
            self.canvas.segments([((place, box.bottom), (place, box.bottom + 4)) for place in places], SOFT)
            for place, tick in zip(places, ticks, strict=True):
                self.canvas.words(place, box.bottom + 14, tick.label, _TICK)
            self.canvas.words(box.left + box.width / 2, box.bottom + 33, label, _LABEL)

    def _has_room(self, tick: Tick) -> bool:
        """Whether its words do not reach beyond the ends of the axis by more than a few pixels."""
        reach = width_px(tick.label, _TICK) / 2 - _OVERHANG_PX
        return reach <= self.box.width * tick.place <= self.box.width - reach

    def y_axis(self, label: str, most: int = 5, labelled: bool = True) -> None:
        """Grid lines, ticks and, where it is ``labelled``, words to the left."""
        box, ticks = self.box, self.y.ticks(most)
        places = [box.bottom - box.height * tick.place for tick in ticks]
        self.canvas.segments([((box.left, place), (box.right, place)) for place in places], GRID)
        if labelled:
            for place, tick in zip(places, ticks, strict=True):
                self.canvas.words(box.left - 6, place, tick.label, replace(_TICK, across="right"))
            middle = box.top + box.height / 2
            self.canvas.words(box.left - 64, middle, label, replace(_LABEL, upwards=True))

    def dots(self, x: Floats, y: Floats, colour: str = POINTS) -> int:
        """Any number of points as one image: where more lie, it is darker. Gives how many lie outside the panel."""
        width, height = round(self.box.width), round(self.box.height)
        column, row = np.floor(self.x.places(x) * width), np.floor((1 - self.y.places(y)) * height)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        places = (row[inside] * width + column[inside]).astype(np.int64)
        if len(places):
            counts = np.bincount(places, minlength=width * height).reshape(height, width)
            pixels = _shaded(counts.astype(np.float32), colour, _strength(len(places), width * height))
            self.canvas.image(round(self.box.left), round(self.box.top), pixels)
        return len(x) - len(places)

    def curve(self, x: Floats, y: Floats, colour: str, width_px: float = 1.5, dashes: Dashes = "-") -> None:
        """A line through the points; NaN breaks it."""
        self.canvas.line(self.columns(x), self.rows(y), colour, width_px, dashes, clip=self.box)

    def level(self, y: float, colour: str, dashes: Dashes = "-") -> None:
        """A line across the whole panel."""
        row = float(self.rows(y))
        self.canvas.line(np.array([self.box.left, self.box.right]), np.array([row, row]), colour, 1.2, dashes, self.box)

    def means(self, x: Floats, y: Floats, error: Floats, colour: str) -> None:
        """Dots with the bars of their errors."""
        columns, rows = self.columns(x), self.rows(y)
        reach = self.rows(y - error) - rows
        bars = [((c, r - e), (c, r + e)) for c, r, e in zip(columns, rows, reach, strict=True)]
        self.canvas.segments(bars, colour, 1.2, self.box)
        self.canvas.marks(columns, rows, colour, 5.5, edged=True, clip=self.box)

    def say(self, text: str) -> None:
        """Words in the middle of the panel."""
        middle = self.box.left + self.box.width / 2, self.box.top + self.box.height / 2
        self.canvas.words(*middle, text, Words(15, SOFT, "center"))


def _outline(box: Box) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The four sides."""
    corners = [(box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom)]
    return list(zip(corners, [*corners[1:], corners[0]], strict=True))


def outside(count: int) -> str:
    """A note that so many points are not shown."""
    return "" if count == 0 else f"{format_number(count)} point{'' if count == 1 else 's'} beyond the axis"


def _strength(points: int, pixels: int) -> float:
    """How dark one point is: strong alone, faint in a crowd, so that the crowd has shades."""
    return float(np.clip(0.04 * pixels / points, _FAINTEST, _STRONGEST))


def _shaded(counts: NDArray[np.float32], colour: str, strength: float) -> NDArray[np.uint8]:
    """Counts of points in each pixel as RGBA: as opaque as that many dots of ``strength`` one over another."""
    height, width = counts.shape
    padded = np.pad(counts, 1)
    dots = sum(weight * padded[r : r + height, c : c + width] for (r, c), weight in np.ndenumerate(_DOT))
    pixels = np.empty((height, width, 4), np.uint8)
    pixels[..., :3] = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    pixels[..., 3] = np.round(255 * (1 - (1 - strength) ** np.asarray(dots)))
    return pixels
