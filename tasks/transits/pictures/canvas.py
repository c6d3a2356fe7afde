"""A sheet to draw on, in pixels from its top left corner.

matplotlib's axes cost 15-20 ms of CPU each, its words 1 ms each, and a star has a dozen panels and 200 words. Here
lines and marks go straight to matplotlib's Agg renderer, and words are set by Pillow, which matplotlib needs anyway.
The fonts are files that matplotlib brings, so neither the host's fonts nor a user's matplotlibrc shows.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgba
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Outline
from matplotlib.transforms import Affine2D, Bbox, IdentityTransform
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tasks.transits.light_curve import Floats

_FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"
_DPI = 72  # then a point, in which line widths count, is a pixel
_COLOURS = 256
_LEVEL = 6  # of compression
_MOST_CHARACTERS = 300  # that could stand in a line
_NO_SUCH_CHARACTER = "\U0010fffe"  # a noncharacter, so that no font has it
_DASHES = {"-": (0, None), "--": (0, [7.0, 4.0])}

Across = Literal["left", "center", "right"]
Dashes = Literal["-", "--"]
Marker = Literal["o", "^", "v"]
Segments = Sequence[tuple[tuple[float, float], tuple[float, float]]]
_ANCHORS: dict[Across, str] = {"left": "ls", "center": "ms", "right": "rs"}


@dataclass(frozen=True)
class Box:
    """A rectangle of the sheet, in pixels; ``top`` counts downwards."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The column after its last."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The row after its last."""
        return self.top + self.height


@dataclass(frozen=True)
class Words:
    """How words look. ``size_px`` is the font's size; ``upwards`` they read from below."""

    size_px: float = 14
    colour: str = "#1b1f24"
    across: Across = "left"
    bold: bool = False
    upwards: bool = False


class Canvas:
    """A white sheet. What is drawn later lies above, and words above all; what leaves ``clip`` is cut off."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self.height_px = height_px
        self._renderer: Any = RendererAgg(width_px, height_px, _DPI)  # type: ignore[no-untyped-call]
        self._words: list[tuple[float, float, str, Words]] = []
        self.fill(Box(0, 0, width_px, height_px), "#ffffff")

    def words(self, x: float, y: float, text: str, style: Words) -> None:
        """One line of text whose middle is at the row ``y``; characters that the font lacks become ``?``."""
        self._words.append((x, y, text, style))

    def line(
        self, x: Floats, y: Floats, colour: str, width_px: float = 1.5, dashes: Dashes = "-", clip: Box | None = None
    ) -> None:
        """A line through the points; NaN breaks it."""
        self._stroke(self._path(x, y), colour, width_px, clip, _DASHES[dashes])

    def segments(self, segments: Segments, colour: str, width_px: float = 1, clip: Box | None = None) -> None:
        """Straight lines, each from a point to another."""
        if segments:
            x, y = np.array(segments, dtype=float).reshape(-1, 2).T
            codes = np.tile(np.array([Outline.MOVETO, Outline.LINETO], Outline.code_type), len(segments))
            self._stroke(self._path(x, y, codes), colour, width_px, clip)

    def marks(
        self,
        x: Floats,
        y: Floats,
        colour: str,
        size_px: float,
        marker: Marker = "o",
        edged: bool = False,
        clip: Box | None = None,
    ) -> None:
        """A mark at each point, with a white edge where it is to stand out from what lies below it."""
        shape = MarkerStyle(marker)
        context = self._context("#ffffff" if edged else colour, 1.0 if edged else 0.0, clip)
        sized = shape.get_transform() + Affine2D().scale(size_px)
        path = self._path(x, y)
        self._renderer.draw_markers(context, shape.get_path(), sized, path, IdentityTransform(), to_rgba(colour))

    def fill(self, box: Box, colour: str) -> None:
        """A filled rectangle."""
        x = np.array([box.left, box.right, box.right, box.left, box.left])
        y = np.array([box.top, box.top, box.bottom, box.bottom, box.top])
        context = self._context(colour, 0.0, None)
        self._renderer.draw_path(context, self._path(x, y), IdentityTransform(), to_rgba(colour))

    def image(self, left: int, top: int, pixels: NDArray[np.uint8]) -> None:
        """``pixels``, height x width x RGBA, with its first row at ``top``."""
        upside_down = np.ascontiguousarray(pixels[::-1])
        context = self._context("#ffffff", 0.0, None)
        self._renderer.draw_image(context, left, self.height_px - top - pixels.shape[0], upside_down)

    def png(self) -> bytes:
        """The sheet as a PNG of few colours, without a date or the like: the same drawing gives the same bytes."""
        sheet = Image.fromarray(np.asarray(self._renderer.buffer_rgba())[..., :3])
        for place in self._words:
            _set(sheet, *place)
        target = io.BytesIO()
        few = sheet.quantize(_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        few.save(target, "PNG", compress_level=_LEVEL)
        return target.getvalue()

    def _path(self, x: Floats, y: Floats, codes: NDArray[np.uint8] | None = None) -> Outline:
        path = Outline(np.column_stack([x, self.height_px - np.asarray(y)]), codes)
        path.should_simplify = False  # a matplotlibrc may say otherwise
        return path

    def _stroke(
        self, path: Outline, colour: str, width_px: float, clip: Box | None, dashes: tuple[float, Any] = (0, None)
    ) -> None:
        context = self._context(colour, width_px, clip)
        context.set_dashes(*dashes)
        self._renderer.draw_path(context, path, IdentityTransform())

    def _context(self, colour: str, width_px: float, clip: Box | None) -> Any:
        context = self._renderer.new_gc()
        context.set_foreground(to_rgba(colour), isRGBA=True)
        context.set_linewidth(width_px)
        context.set_joinstyle("round")
        if clip is not None:
            rows = self.height_px - clip.bottom, self.height_px - clip.top
            context.set_clip_rectangle(Bbox.from_extents(clip.left, rows[0], clip.right, rows[1]))
        return context


def _set(sheet: Image.Image, x: float, y: float, text: str, style: Words) -> None:
    """Draw words onto ``sheet``."""
    shown, font = drawable(text, style.bold), _font(style.size_px, style.bold)
    if style.upwards:
        _set_upwards(sheet, x, y, shown, font, style)
    else:  # a capital is 0.73 of the size high: its middle lies at y
        baseline = round(x), round(y + 0.365 * style.size_px)
        ImageDraw.Draw(sheet).text(baseline, shown, style.colour, font, _ANCHORS[style.across])


def _set_upwards(sheet: Image.Image, x: float, y: float, text: str, font: ImageFont.FreeTypeFont, style: Words) -> None:
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).text((-left, -top), text, 255, font)
    turned = mask.transpose(Image.Transpose.ROTATE_90)
    corner = round(x - turned.width / 2), round(y - turned.height / 2)
    sheet.paste(style.colour, (*corner, corner[0] + turned.width, corner[1] + turned.height), turned)


def width_px(text: str, style: Words) -> float:
    """How wide the words are."""
    return float(_font(style.size_px, style.bold).getlength(drawable(text, style.bold)))


def fitted(text: str, style: Words, most_px: float) -> str:
    """``text``, or as much of its beginning as fits into ``most_px`` with an ellipsis."""
    if width_px(text, style) <= most_px:
        return text
    shorter = (f"{text[:length].rstrip()}…" for length in range(min(len(text), _MOST_CHARACTERS), 0, -1))
    return next((short for short in shorter if width_px(short, style) <= most_px), "…")


def drawable(text: str, bold: bool = False) -> str:
    """``text`` on one line, with ``?`` for what the font does not have."""
    return "".join(character if _has(character, bold) else "?" for character in " ".join(text.split()))


@functools.lru_cache(maxsize=4096)
def _has(character: str, bold: bool) -> bool:
    if not character.isprintable():
        return False
    font = _font(20, bold)
    return character == " " or bytes(font.getmask(character)) != bytes(font.getmask(_NO_SUCH_CHARACTER))


@functools.lru_cache(maxsize=64)
def _font(size_px: float, bold: bool) -> ImageFont.FreeTypeFont:
    file = _FONTS / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    return ImageFont.truetype(str(file), size_px, layout_engine=ImageFont.Layout.BASIC)
