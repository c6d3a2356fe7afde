"""Draws overlays for clips: logos, subtitles and date stamps with soft edges, reproducible by seed."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from PIL.ImageFont import FreeTypeFont

from tasks.overlays.overlay import Floats, FrameRange

Kind = Literal["logo", "subtitles", "stamp"]
Corner = Literal["top left", "top right", "bottom left", "bottom right"]
Rgb = tuple[float, float, float]
KINDS: tuple[Kind, ...] = ("logo", "subtitles", "stamp")

# Drawn this much larger and averaged, for smooth edges; then blurred, as burned-in overlays usually are.
_OVERSAMPLED = 4
_SOFT_PX = 0.5
# Letters are thickened by this share of their size: strokes of less than two pixels are nowhere opaque.
_BOLDNESS = 0.05
# Less coverage counts as none: under one code of difference at the lowest opacity and usual contrast.
_MIN_COVERAGE = 0.04
_COLORS: tuple[Rgb, ...] = ((0.95, 0.95, 0.95), (0.9, 0.15, 0.1), (0.1, 0.35, 0.85), (0.95, 0.7, 0.1), (0.1, 0.6, 0.3))
_WORDS = "the old river carried us far beyond every town we had known before winter came down from the hills".split()
_WHITE: Rgb = (0.96, 0.96, 0.96)
_DARK: Rgb = (0.05, 0.05, 0.05)


@dataclass(frozen=True)
class Mark:
    """An overlay for a clip: the same ``seed`` gives the same words, colors and times."""

    kind: Kind
    seed: int = 0
    corner: Corner = "bottom right"


@dataclass(frozen=True)
class Canvas:
    """The video to draw on: its size in pixels, number of frames, and frame rate."""

    width_px: int
    height_px: int
    frames: int
    rate: float


@dataclass(frozen=True)
class Sprite:
    """A drawing with its position and frames.

    coverage   float32, height x width, 0 to 1: the covered share of each pixel, which is its maximum opacity
    color      float32, height x width x 3, R'G'B' from 0 to 1
    """

    left: int
    top: int
    coverage: Floats
    color: Floats
    ranges: tuple[FrameRange, ...]


def draw(mark: Mark, canvas: Canvas) -> tuple[Sprite, ...]:
    """Return the sprites of ``mark``. They never share a pixel, or a block of 2 x 2 pixels, in a frame."""
    match mark.kind:
        case "logo":
            return (_draw_logo(mark, canvas),)
        case "subtitles":
            return tuple(_draw_subtitles(mark, canvas))
        case "stamp":
            return _draw_stamp(mark, canvas)


def _draw_logo(mark: Mark, canvas: Canvas) -> Sprite:
    """Return a colored shape and two or three letters, for the whole clip."""
    chance = random.Random(f"logo {mark.seed}")
    size = _round_to_even(max(24, canvas.height_px * 0.13))
    letters = "".join(chance.choices("ABEHKMNRSTXZ", k=chance.choice((2, 3))))
    shape, ink = chance.sample(_COLORS, 2)
    pen = _Pen(size * 4, size)
    pen.draw_polygon(_outline_shape(chance.choice(("ring", "star", "shield")), size), shape)
    width = size + 4 + pen.write((size + 4, size / 2), letters, round(size * 0.62), ink)
    left, top = _place(mark.corner, (_round_to_even(width + 4), size), canvas)
    coverage, color = pen.render()
    cut = _round_to_even(width + 4)
    return Sprite(left, top, coverage[:, :cut], color[:, :cut], (FrameRange(0, canvas.frames),))


def _outline_shape(name: str, size: int) -> list[tuple[float, float]]:
    """Return the corners of a shape in a square of ``size`` pixels."""
    middle, reach = size / 2, size / 2 - 3
    if name == "shield":
        part = reach / 2
        points = ((-1.6, -2), (1.6, -2), (1.6, 0.2), (0, 2), (-1.6, 0.2))
        return [(middle + x * part, middle + y * part) for x, y in points]
    count, inner = (10, 0.45) if name == "star" else (48, 1.0)
    radii = itertools.cycle((reach, reach * inner))
    turns = (2 * math.pi * number / count for number in range(count))
    return [
        (middle + far * math.sin(turn), middle - far * math.cos(turn)) for turn, far in zip(turns, radii, strict=False)
    ]


def _draw_subtitles(mark: Mark, canvas: Canvas) -> Iterator[Sprite]:
    """Yield lines of white text with a dark outline, with gaps in time, at the bottom center."""
    chance = random.Random(f"subtitles {mark.seed}")
    start, size = chance.randint(3, 8), max(12, round(canvas.height_px * 0.065))
    height = _round_to_even(size * 1.7)
    while start < canvas.frames:
        end = min(canvas.frames, start + chance.randint(28, 55))
        pen = _Pen(_round_to_even(canvas.width_px * 0.86), height)
        words = " ".join(chance.sample(_WORDS, 5))
        pen.write(
            (4, height / 2), words, _fit_size(words, size, canvas.width_px * 0.8), _WHITE, rim_px=max(1, size / 14)
        )
        yield _crop(pen, canvas, FrameRange(start, end))
        start = end + chance.randint(8, 16)


def _crop(pen: _Pen, canvas: Canvas, shown: FrameRange) -> Sprite:
    """Return the drawing of ``pen``, centered near the bottom."""
    coverage, color = pen.render()
    width = _round_to_even(np.flatnonzero(coverage.any(axis=0))[-1] + 4)
    left = _round_to_even((canvas.width_px - width) / 2)
    top = _round_to_even(canvas.height_px * 0.95 - coverage.shape[0])
    return Sprite(left, top, coverage[:, :width], color[:, :width], (shown,))


def _draw_stamp(mark: Mark, canvas: Canvas) -> tuple[Sprite, ...]:
    """Return a date and a time: constant except for the seconds, which count up."""
    chance = random.Random(f"stamp {mark.seed}")
    ink = chance.choice(((0.95, 0.75, 0.15), _WHITE, (0.9, 0.35, 0.1)))
    size, second = max(12, round(canvas.height_px * 0.06)), chance.randint(5, 9) + 10 * chance.randint(0, 3)
    fixed = f"{chance.randint(1, 28):02}.{chance.randint(1, 12):02}.{chance.randint(1994, 2008)} "
    fixed += f"{chance.randint(0, 23):02}:{chance.randint(0, 59):02}:"
    cell, height = _round_to_even(size * 0.68), _round_to_even(size * 1.5)
    left, top = _place(mark.corner, (cell * (len(fixed) + 2), height), canvas)
    parts = [Sprite(left, top, *_draw_cells(fixed, cell, height, size, ink), (FrameRange(0, canvas.frames),))]
    for start in range(0, canvas.frames, round(canvas.rate)):
        seconds = f"{second + start // round(canvas.rate):02}"
        shown = FrameRange(start, min(canvas.frames, start + round(canvas.rate)))
        parts.append(Sprite(left + cell * len(fixed), top, *_draw_cells(seconds, cell, height, size, ink), (shown,)))
    return tuple(parts)


def _draw_cells(text: str, cell: int, height: int, size: int, ink: Rgb) -> tuple[Floats, Floats]:
    """Return ``text`` with each character centered in its own cell, as cameras write it."""
    pen = _Pen(cell * len(text), height)
    for number, letter in enumerate(text):
        pen.write((number * cell + cell / 2, height / 2), letter, size, ink, anchor="mm")
    coverage, color = pen.render()
    coverage[:, ::cell] = coverage[:, cell - 1 :: cell] = 0  # keep letters within their cells
    return coverage, color


class _Pen:
    """Draws on a page of that size, oversampled."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self._size = (width_px * _OVERSAMPLED, height_px * _OVERSAMPLED)
        self._coverage: Floats = np.zeros((height_px, width_px), np.float32)
        self._ink: Floats = np.zeros((height_px, width_px, 3), np.float32)

    def draw_polygon(self, corners: list[tuple[float, float]], color: Rgb) -> None:
        """Draw a filled polygon."""
        page = Image.new("L", self._size)
        ImageDraw.Draw(page).polygon([(x * _OVERSAMPLED, y * _OVERSAMPLED) for x, y in corners], fill=255)
        self._paint(page, color)

    def write(
        self, at: tuple[float, float], words: str, size: int, color: Rgb, rim_px: float = 0, anchor: str = "lm"
    ) -> float:
        """Write ``words`` at ``at``, bold, with a dark outline of that width. Return their width in pixels."""
        place, font = (at[0] * _OVERSAMPLED, at[1] * _OVERSAMPLED), _load_font(size * _OVERSAMPLED)
        bold_px = size * _BOLDNESS
        for stroke_px, ink in ((bold_px + rim_px, _DARK), (bold_px, color)):
            if rim_px or ink == color:
                page = Image.new("L", self._size)
                stroke = stroke_px * _OVERSAMPLED
                ImageDraw.Draw(page).text(place, words, 255, font, anchor, stroke_width=stroke)
                self._paint(page, ink)
        return font.getlength(words) / _OVERSAMPLED

    def render(self) -> tuple[Floats, Floats]:
        """Return coverage and color, as in a Sprite."""
        coverage = np.where(self._coverage < _MIN_COVERAGE, np.float32(0), self._coverage)
        color = self._ink / np.maximum(self._coverage, 1e-6)[..., None]
        return np.minimum(coverage, 1), np.clip(color, 0, 1)

    def _paint(self, page: Image.Image, color: Rgb) -> None:
        """Paint one color over the drawing."""
        small = page.filter(ImageFilter.GaussianBlur(_SOFT_PX * _OVERSAMPLED)).reduce(_OVERSAMPLED)
        over = np.asarray(small, np.float32) / 255
        self._ink += over[..., None] * (np.array(color, np.float32) - self._ink)
        self._coverage += over * (1 - self._coverage)


def _load_font(size: int) -> FreeTypeFont:
    """Return Pillow's built-in font, Aileron, which is the same on every machine."""
    font = ImageFont.load_default(size)
    if not isinstance(font, FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType; install the wheel of the package index")
    return font


def _fit_size(words: str, size: int, width_px: float) -> int:
    """Return the largest font size, up to ``size``, at which ``words`` are no wider than ``width_px``."""
    return min(size, int(size * width_px / _load_font(size).getlength(words)))


def _place(corner: Corner, size: tuple[int, int], canvas: Canvas) -> tuple[int, int]:
    """Return left and top, even, of a drawing of that size in a corner of the frame."""
    margin_x, margin_y = canvas.width_px * 0.04, canvas.height_px * 0.06
    left = margin_x if "left" in corner else canvas.width_px - margin_x - size[0]
    top = margin_y if "top" in corner else canvas.height_px - margin_y - size[1]
    return _round_to_even(left), _round_to_even(top)


def _round_to_even(value: float) -> int:
    """Return the next even number, at least 0."""
    return max(0, 2 * math.ceil(value / 2))
