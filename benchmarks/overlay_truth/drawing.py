"""What is put on clips: logos, subtitles and date stamps, drawn with soft edges, the same for the same seed."""

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

# Drawn so much larger and averaged, which makes the edges smooth; then blurred, as what is burned in usually is.
_OVERSAMPLED = 4
_SOFT_PX = 0.5
# By so much of their size letters are drawn thicker: strokes of less than two pixels are opaque nowhere.
_BOLDER = 0.05
# Less coverage than this is none: under a code of difference at the lowest opacity and the usual contrast.
_LEAST_COVERAGE = 0.04
_COLORS: tuple[Rgb, ...] = ((0.95, 0.95, 0.95), (0.9, 0.15, 0.1), (0.1, 0.35, 0.85), (0.95, 0.7, 0.1), (0.1, 0.6, 0.3))
_WORDS = "the old river carried us far beyond every town we had known before winter came down from the hills".split()
_WHITE: Rgb = (0.96, 0.96, 0.96)
_DARK: Rgb = (0.05, 0.05, 0.05)


@dataclass(frozen=True)
class Mark:
    """What is put on a clip: the same ``seed`` gives the same words, colours and times."""

    kind: Kind
    seed: int = 0
    corner: Corner = "bottom right"


@dataclass(frozen=True)
class Room:
    """The picture that is drawn on: its size in pixels, how many frames it has, and frames a second."""

    width_px: int
    height_px: int
    frames: int
    rate: float


@dataclass(frozen=True)
class Sprite:
    """A drawing with its place and the frames in which it shows.

    coverage   float32, height x width, 0 to 1: how much of each pixel it covers; its opacity at most
    color      float32, height x width x 3, R'G'B' from 0 to 1
    """

    left: int
    top: int
    coverage: Floats
    color: Floats
    ranges: tuple[FrameRange, ...]


def draw(mark: Mark, room: Room) -> tuple[Sprite, ...]:
    """The sprites of ``mark``. No two of them touch the same pixel, or the same 2x2 pixels, in one frame."""
    match mark.kind:
        case "logo":
            return (_logo(mark, room),)
        case "subtitles":
            return tuple(_subtitles(mark, room))
        case "stamp":
            return _stamp(mark, room)


def _logo(mark: Mark, room: Room) -> Sprite:
    """A coloured shape and two or three letters beside it, for the whole clip."""
    chance = random.Random(f"logo {mark.seed}")
    size = _even(max(24, room.height_px * 0.13))
    letters = "".join(chance.choices("ABEHKMNRSTXZ", k=chance.choice((2, 3))))
    shape, ink = chance.sample(_COLORS, 2)
    pen = _Pen(size * 4, size)
    pen.polygon(_shape(chance.choice(("ring", "star", "shield")), size), shape)
    width = size + 4 + pen.text((size + 4, size / 2), letters, round(size * 0.62), ink)
    left, top = _placed(mark.corner, (_even(width + 4), size), room)
    coverage, color = pen.result()
    cut = _even(width + 4)
    return Sprite(left, top, coverage[:, :cut], color[:, :cut], (FrameRange(0, room.frames),))


def _shape(name: str, size: int) -> list[tuple[float, float]]:
    """Corners of a shape in a square of ``size`` pixels."""
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


def _subtitles(mark: Mark, room: Room) -> Iterator[Sprite]:
    """Lines of white text with a dark rim, one after the other with gaps, at the bottom of the middle."""
    chance = random.Random(f"subtitles {mark.seed}")
    start, size = chance.randint(3, 8), max(12, round(room.height_px * 0.065))
    height = _even(size * 1.7)
    while start < room.frames:
        end = min(room.frames, start + chance.randint(28, 55))
        pen = _Pen(_even(room.width_px * 0.86), height)
        words = " ".join(chance.sample(_WORDS, 5))
        pen.text((4, height / 2), words, _fitting(words, size, room.width_px * 0.8), _WHITE, rim_px=max(1, size / 14))
        yield _cropped(pen, room, FrameRange(start, end))
        start = end + chance.randint(8, 16)


def _cropped(pen: _Pen, room: Room, shown: FrameRange) -> Sprite:
    """What ``pen`` drew, centred near the bottom."""
    coverage, color = pen.result()
    width = _even(np.flatnonzero(coverage.any(axis=0))[-1] + 4)
    left = _even((room.width_px - width) / 2)
    top = _even(room.height_px * 0.95 - coverage.shape[0])
    return Sprite(left, top, coverage[:, :width], color[:, :width], (shown,))


def _stamp(mark: Mark, room: Room) -> tuple[Sprite, ...]:
    """A date and a time: all of it constant but the seconds, which count on."""
    chance = random.Random(f"stamp {mark.seed}")
    ink = chance.choice(((0.95, 0.75, 0.15), _WHITE, (0.9, 0.35, 0.1)))
    size, second = max(12, round(room.height_px * 0.06)), chance.randint(5, 9) + 10 * chance.randint(0, 3)
    fixed = f"{chance.randint(1, 28):02}.{chance.randint(1, 12):02}.{chance.randint(1994, 2008)} "
    fixed += f"{chance.randint(0, 23):02}:{chance.randint(0, 59):02}:"
    cell, height = _even(size * 0.68), _even(size * 1.5)
    left, top = _placed(mark.corner, (cell * (len(fixed) + 2), height), room)
    parts = [Sprite(left, top, *_cells(fixed, cell, height, size, ink), (FrameRange(0, room.frames),))]
    for start in range(0, room.frames, round(room.rate)):
        seconds = f"{second + start // round(room.rate):02}"
        shown = FrameRange(start, min(room.frames, start + round(room.rate)))
        parts.append(Sprite(left + cell * len(fixed), top, *_cells(seconds, cell, height, size, ink), (shown,)))
    return tuple(parts)


def _cells(text: str, cell: int, height: int, size: int, ink: Rgb) -> tuple[Floats, Floats]:
    """``text``, each character in the middle of a cell of its own, as a camera writes it."""
    pen = _Pen(cell * len(text), height)
    for number, letter in enumerate(text):
        pen.text((number * cell + cell / 2, height / 2), letter, size, ink, anchor="mm")
    coverage, color = pen.result()
    coverage[:, ::cell] = coverage[:, cell - 1 :: cell] = 0  # what would run over into the next cell
    return coverage, color


class _Pen:
    """Draws on a page of that many pixels, oversampled."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self._size = (width_px * _OVERSAMPLED, height_px * _OVERSAMPLED)
        self._coverage: Floats = np.zeros((height_px, width_px), np.float32)
        self._ink: Floats = np.zeros((height_px, width_px, 3), np.float32)

    def polygon(self, corners: list[tuple[float, float]], color: Rgb) -> None:
        """A filled polygon."""
        page = Image.new("L", self._size)
        ImageDraw.Draw(page).polygon([(x * _OVERSAMPLED, y * _OVERSAMPLED) for x, y in corners], fill=255)
        self._lay(page, color)

    def text(
        self, at: tuple[float, float], words: str, size: int, color: Rgb, rim_px: float = 0, anchor: str = "lm"
    ) -> float:
        """Write ``words`` at ``at``, bold, with a dark rim of that width. Returns their width in pixels."""
        place, font = (at[0] * _OVERSAMPLED, at[1] * _OVERSAMPLED), _font(size * _OVERSAMPLED)
        bold_px = size * _BOLDER
        for stroke_px, ink in ((bold_px + rim_px, _DARK), (bold_px, color)):
            if rim_px or ink == color:
                page = Image.new("L", self._size)
                stroke = stroke_px * _OVERSAMPLED
                ImageDraw.Draw(page).text(place, words, 255, font, anchor, stroke_width=stroke)
                self._lay(page, ink)
        return font.getlength(words) / _OVERSAMPLED

    def result(self) -> tuple[Floats, Floats]:
        """Coverage and color, as a Sprite has them."""
        coverage = np.where(self._coverage < _LEAST_COVERAGE, np.float32(0), self._coverage)
        color = self._ink / np.maximum(self._coverage, 1e-6)[..., None]
        return np.minimum(coverage, 1), np.clip(color, 0, 1)

    def _lay(self, page: Image.Image, color: Rgb) -> None:
        """Lay one colour over what is drawn."""
        small = page.filter(ImageFilter.GaussianBlur(_SOFT_PX * _OVERSAMPLED)).reduce(_OVERSAMPLED)
        over = np.asarray(small, np.float32) / 255
        self._ink += over[..., None] * (np.array(color, np.float32) - self._ink)
        self._coverage += over * (1 - self._coverage)


def _font(size: int) -> FreeTypeFont:
    """Pillow's own font, Aileron: the same on every machine."""
    font = ImageFont.load_default(size)
    if not isinstance(font, FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType; install the wheel of the package index")
    return font


def _fitting(words: str, size: int, width_px: float) -> int:
    """The size, ``size`` at most, at which ``words`` are no wider than that."""
    return min(size, int(size * width_px / _font(size).getlength(words)))


def _placed(corner: Corner, size: tuple[int, int], room: Room) -> tuple[int, int]:
    """Left and top, even, of something of that size in a corner of the picture."""
    margin_x, margin_y = room.width_px * 0.04, room.height_px * 0.06
    left = margin_x if "left" in corner else room.width_px - margin_x - size[0]
    top = margin_y if "top" in corner else room.height_px - margin_y - size[1]
    return _even(left), _even(top)


def _even(value: float) -> int:
    """The next even number, 0 at least."""
    return max(0, 2 * math.ceil(value / 2))
