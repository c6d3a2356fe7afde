"""A canvas to draw on, in pixels from its top left corner.

matplotlib's axes cost 15-20 ms of CPU each, its text 1 ms each, and a star has a dozen panels and 200 texts. This
module passes lines and markers directly to matplotlib's Agg renderer, and sets text with Pillow, a dependency of
matplotlib. The fonts are files of matplotlib, so the result depends neither on the host's fonts nor on a user's
matplotlibrc.
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
_DPI = 72  # at this resolution a point, the unit of line widths, is a pixel
_COLOURS = 256
_LEVEL = 6  # compression level
_MAX_CHARACTERS = 300  # in a line
_MISSING_CHARACTER = "\U0010fffe"  # a noncharacter, missing in every font
_DASHES = {"-": (0, None), "--": (0, [7.0, 4.0])}

Across = Literal["left", "center", "right"]
Dashes = Literal["-", "--"]
Marker = Literal["o", "^", "v"]
Segments = Sequence[tuple[tuple[float, float], tuple[float, float]]]
_ANCHORS: dict[Across, str] = {"left": "ls", "center": "ms", "right": "rs"}


@dataclass(frozen=True)
class Box:
    """A rectangle on the canvas, in pixels; ``top`` counts downwards."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Return the column after its last."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Return the row after its last."""
        return self.top + self.height


@dataclass(frozen=True)
class Words:
    """The style of a text. ``size_px`` is the font size; ``upwards`` text is rotated by 90°."""

    size_px: float = 14
    colour: str = "#1b1f24"
    across: Across = "left"
    bold: bool = False
    upwards: bool = False


class Canvas:
    """A white canvas. Later drawings cover earlier ones, text covers everything; ``clip`` limits a drawing to a box."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self.height_px = height_px
        self._renderer: Any = RendererAgg(width_px, height_px, _DPI)  # type: ignore[no-untyped-call]
        self._words: list[tuple[float, float, str, Words]] = []
        self.fill(Box(0, 0, width_px, height_px), "#ffffff")

    def draw_text(self, x: float, y: float, text: str, style: Words) -> None:
        """Draw one line of text, centred on row ``y``; characters that the font lacks become ``?``."""
        self._words.append((x, y, text, style))

    def draw_line(
        self, x: Floats, y: Floats, colour: str, width_px: float = 1.5, dashes: Dashes = "-", clip: Box | None = None
    ) -> None:
        """Draw a line through the points; NaN breaks it."""
        self._draw_path(self._make_path(x, y), colour, width_px, clip, _DASHES[dashes])

    def draw_segments(self, segments: Segments, colour: str, width_px: float = 1, clip: Box | None = None) -> None:
        """Draw straight lines, each between two points."""
        if segments:
            x, y = np.array(segments, dtype=float).reshape(-1, 2).T
            codes = np.tile(np.array([Outline.MOVETO, Outline.LINETO], Outline.code_type), len(segments))
            self._draw_path(self._make_path(x, y, codes), colour, width_px, clip)

    def draw_markers(
        self,
        x: Floats,
        y: Floats,
        colour: str,
        size_px: float,
        marker: Marker = "o",
        edged: bool = False,
        clip: Box | None = None,
    ) -> None:
        """Draw a marker at each point, with a white edge if ``edged``."""
        shape = MarkerStyle(marker)
        context = self._make_context("#ffffff" if edged else colour, 1.0 if edged else 0.0, clip)
        sized = shape.get_transform() + Affine2D().scale(size_px)
        path = self._make_path(x, y)
        self._renderer.draw_markers(context, shape.get_path(), sized, path, IdentityTransform(), to_rgba(colour))

    def fill(self, box: Box, colour: str) -> None:
        """Draw a filled rectangle."""
        x = np.array([box.left, box.right, box.right, box.left, box.left])
        y = np.array([box.top, box.top, box.bottom, box.bottom, box.top])
        context = self._make_context(colour, 0.0, None)
        self._renderer.draw_path(context, self._make_path(x, y), IdentityTransform(), to_rgba(colour))

    def draw_image(self, left: int, top: int, pixels: NDArray[np.uint8]) -> None:
        """Draw ``pixels``, height x width x RGBA, with its first row at ``top``."""
        upside_down = np.ascontiguousarray(pixels[::-1])
        context = self._make_context("#ffffff", 0.0, None)
        self._renderer.draw_image(context, left, self.height_px - top - pixels.shape[0], upside_down)

    def encode_png(self) -> bytes:
        """Return the canvas as a PNG of few colours without metadata: equal drawings give equal bytes."""
        image = Image.fromarray(np.asarray(self._renderer.buffer_rgba())[..., :3])
        for place in self._words:
            _draw_text(image, *place)
        target = io.BytesIO()
        reduced = image.quantize(_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        reduced.save(target, "PNG", compress_level=_LEVEL)
        return target.getvalue()

    def _make_path(self, x: Floats, y: Floats, codes: NDArray[np.uint8] | None = None) -> Outline:
        path = Outline(np.column_stack([x, self.height_px - np.asarray(y)]), codes)
        path.should_simplify = False  # override a user's matplotlibrc
        return path

    def _draw_path(
        self, path: Outline, colour: str, width_px: float, clip: Box | None, dashes: tuple[float, Any] = (0, None)
    ) -> None:
        context = self._make_context(colour, width_px, clip)
        context.set_dashes(*dashes)
        self._renderer.draw_path(context, path, IdentityTransform())

    def _make_context(self, colour: str, width_px: float, clip: Box | None) -> Any:
        context = self._renderer.new_gc()
        context.set_foreground(to_rgba(colour), isRGBA=True)
        context.set_linewidth(width_px)
        context.set_joinstyle("round")
        if clip is not None:
            rows = self.height_px - clip.bottom, self.height_px - clip.top
            context.set_clip_rectangle(Bbox.from_extents(clip.left, rows[0], clip.right, rows[1]))
        return context


def _draw_text(image: Image.Image, x: float, y: float, text: str, style: Words) -> None:
    """Draw text onto ``draw_image``."""
    shown, font = make_drawable(text, style.bold), _load_font(style.size_px, style.bold)
    if style.upwards:
        _draw_text_upwards(image, x, y, shown, font, style)
    else:  # a capital is 0.73 of the size high; centre it on y
        baseline = round(x), round(y + 0.365 * style.size_px)
        ImageDraw.Draw(image).text(baseline, shown, style.colour, font, _ANCHORS[style.across])


def _draw_text_upwards(
    image: Image.Image, x: float, y: float, text: str, font: ImageFont.FreeTypeFont, style: Words
) -> None:
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).text((-left, -top), text, 255, font)
    turned = mask.transpose(Image.Transpose.ROTATE_90)
    corner = round(x - turned.width / 2), round(y - turned.height / 2)
    image.paste(style.colour, (*corner, corner[0] + turned.width, corner[1] + turned.height), turned)


def measure_width_px(text: str, style: Words) -> float:
    """Return the width of the text in pixels."""
    return float(_load_font(style.size_px, style.bold).getlength(make_drawable(text, style.bold)))


def fit_text(text: str, style: Words, max_px: float) -> str:
    """Return ``text``, or as much of its beginning as fits into ``max_px`` with an ellipsis."""
    if measure_width_px(text, style) <= max_px:
        return text
    shorter = (f"{text[:length].rstrip()}…" for length in range(min(len(text), _MAX_CHARACTERS), 0, -1))
    return next((short for short in shorter if measure_width_px(short, style) <= max_px), "…")


def make_drawable(text: str, bold: bool = False) -> str:
    """Return ``text`` on one line, with ``?`` for characters missing in the font."""
    return "".join(character if _has_character(character, bold) else "?" for character in " ".join(text.split()))


@functools.lru_cache(maxsize=4096)
def _has_character(character: str, bold: bool) -> bool:
    if not character.isprintable():
        return False
    font = _load_font(20, bold)
    return character == " " or bytes(font.getmask(character)) != bytes(font.getmask(_MISSING_CHARACTER))


@functools.lru_cache(maxsize=64)
def _load_font(size_px: float, bold: bool) -> ImageFont.FreeTypeFont:
    file = _FONTS / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    return ImageFont.truetype(str(file), size_px, layout_engine=ImageFont.Layout.BASIC)
