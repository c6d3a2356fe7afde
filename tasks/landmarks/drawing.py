"""Draw landmarks on an image, so that detected, guessed and missing points can be distinguished.

The person's left is blue and their right is orange, which people with any kind of colour blindness can distinguish
(Okabe and Ito, "Color Universal Design", 2008). Points on neither side are light grey. Rescued hands have gaps in their
bones, filled parts are paler, and missing parts are not drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.landmarks.points import SKELETONS, Part, PartName, Skeleton
from tasks.landmarks.sequence import Points, RgbImage, Source, Sources

Side = Literal["left", "right", "middle"]
Colour = tuple[int, int, int]

MIN_VISIBILITY = 0.5  # of a body point; below, its position is a guess

_COLOURS: dict[Side, Colour] = {"left": (86, 180, 233), "right": (240, 145, 20), "middle": (225, 225, 225)}
_WORDS: dict[PartName, str] = {
    "pose_landmarks": "body",
    "face_landmarks": "face",
    "left_hand_landmarks": "left",
    "right_hand_landmarks": "right",
}
_DARK: Colour = (20, 20, 24)
_PALENESS = 0.6  # share of white in filled parts
_BONE_SHARE = 0.3  # share of a rescued bone that is drawn at each end
_UNIT_PX = 480.0  # images of this size squared have the line widths below
_FRACTION_BITS = 4  # OpenCV draws in sixteenths of a pixel
_MAX_OFFSET = 8.0  # in image widths; points are clipped to it, to fit into OpenCV's integers
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_GAP = "  "
_GROUND_SHARE = 0.35  # share of brightness that remains under the legend

# Adjacent points on the contours of the face mesh: MediaPipe's FaceLandmarksConnections, as chains.
_FACE_CHAINS: tuple[tuple[Side, tuple[int, ...]], ...] = (
    ("left", (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466, 263)),  # eye
    ("left", (276, 283, 282, 295, 285)),  # brow, its two edges
    ("left", (300, 293, 334, 296, 336)),
    ("right", (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246, 33)),
    ("right", (46, 53, 52, 65, 55)),
    ("right", (70, 63, 105, 66, 107)),
    ("middle", (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185, 61)),  # lips
    ("middle", (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191, 78)),
    (
        "middle",  # oval
        (
            *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
            *(148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 10),
        ),
    ),
)
# Coarse points of the body model that another part shows better; omitted if that part is present.
_COARSE: dict[PartName, tuple[int, ...]] = {
    "face_landmarks": tuple(range(11)),
    "left_hand_landmarks": (17, 19, 21),
    "right_hand_landmarks": (18, 20, 22),
}


@dataclass(frozen=True)
class _Style:
    """Style of a part: widths in pixels for an image of ``_UNIT_PX`` squared; 0 draws none.

    extent_px  extent of a part with these widths; smaller parts have smaller widths
    """

    line: float
    dot_radius: float
    rim: float
    extent_px: float


_STYLES: dict[PartName, _Style] = {
    "face_landmarks": _Style(1.0, 0.0, 0.0, 150.0),
    "pose_landmarks": _Style(3.0, 3.5, 2.0, 250.0),
    "left_hand_landmarks": _Style(1.6, 2.2, 2.0, 80.0),
    "right_hand_landmarks": _Style(1.6, 2.2, 2.0, 80.0),
}
_ORDER: tuple[PartName, ...] = tuple(_STYLES)  # later parts are drawn on top


@dataclass(frozen=True)
class _Shape:
    """A part's lines and dots by side, as point indices in the part: int [lines, 2] and int [dots]."""

    lines: dict[Side, NDArray[np.intp]]
    dots: dict[Side, NDArray[np.intp]]


def draw(
    image: RgbImage, points: Points, skeleton: Skeleton, source: Sources, frame_index: int | None = None
) -> RgbImage:
    """Return a copy of ``image`` with the landmarks of its frame.

    points       float32 [points, 4], x and y as shares of the image; lines are clipped at its border. Body points with
                 a visibility below ``MIN_VISIBILITY`` are not drawn
    source       uint8 [parts]: a :class:`Source` for each of ``skeleton.parts``
    frame_index  if given, it is written into the lower left corner, with the words left and right in their colours and
                 the parts that were rescued or filled

    Widths follow the square root of the image area, and are smaller for a part that is small in the image.
    """
    drawn = image.copy()
    places = _convert_to_subpixels(points, image.shape[1], image.shape[0])
    visible = _find_visible(points, skeleton, source)
    unit = float(np.sqrt(image.shape[0] * image.shape[1])) / _UNIT_PX
    for name in _ORDER:
        part = skeleton.find_part(name)
        if part is not None and visible[part.span].any():
            kind = Source(int(source[skeleton.get_index(name)]))
            _draw_part(drawn, part, places[part.span], visible[part.span], kind, unit)
    if frame_index is not None:
        _draw_legend(drawn, _compose_legend(frame_index, skeleton, source), unit)
    return drawn


def list_words(skeleton: Skeleton, source: Sources, kind: Source) -> list[str]:
    """Return the words for the parts with this ``kind`` of source, in the skeleton's order: body, face, left, right."""
    return [_WORDS[part.name] for part, value in zip(skeleton.parts, source, strict=True) if value == kind]


def _convert_to_subpixels(points: Points, width_px: int, height_px: int) -> NDArray[np.int32]:
    """Return int32 [points, 2]: x and y in sixteenths of a pixel from the center of the first pixel."""
    shares = np.clip(np.nan_to_num(points[:, :2]), -_MAX_OFFSET, _MAX_OFFSET)
    pixels = shares * np.array([width_px, height_px], np.float32) - 0.5
    return np.asarray(np.rint(pixels * (1 << _FRACTION_BITS)), dtype=np.int32)


def _find_visible(points: Points, skeleton: Skeleton, source: Sources) -> NDArray[np.bool_]:
    """Return bool [points]: True for the points to draw."""
    visible: NDArray[np.bool_] = np.asarray(np.isfinite(points[:, :2]).all(axis=1))
    for part, kind in zip(skeleton.parts, source, strict=True):
        visible[part.span] &= kind != Source.MISSING
    body = skeleton.find_part("pose_landmarks")
    if body is None:
        return visible
    visible[body.span] &= points[body.span, 3] >= MIN_VISIBILITY
    for name, coarse in _COARSE.items():
        finer = skeleton.find_part(name)
        if finer is not None and visible[finer.span].any():
            visible[body.start + np.array(coarse)] = False
    return visible


def _draw_part(
    drawn: RgbImage, part: Part, places: NDArray[np.int32], visible: NDArray[np.bool_], kind: Source, unit: float
) -> None:
    """Draw one part: its complete rim first, so that no line is cut by its neighbour's rim."""
    style, shape = _STYLES[part.name], _get_shape(part.name)
    unit = min(unit, _measure_extent(places[visible]) / style.extent_px)
    lines = [(side, _create_lines(places, ends[visible[ends].all(axis=1)], kind)) for side, ends in shape.lines.items()]
    dots = [(side, places[numbers[visible[numbers]]]) for side, numbers in shape.dots.items()]
    width, rim = max(1, round(style.line * unit)), round(style.rim * unit)
    if rim:
        _draw_lines(drawn, np.concatenate([ends for _, ends in lines]), _DARK, width + rim)
        _draw_discs(drawn, np.concatenate([centres for _, centres in dots]), _DARK, style.dot_radius * unit + rim / 2)
    for side, ends in lines:
        _draw_lines(drawn, ends, _choose_colour(side, kind), width)
    for side, centres in dots:
        _draw_discs(drawn, centres, _choose_colour(side, kind), style.dot_radius * unit)


def _measure_extent(places: NDArray[np.int32]) -> float:
    """Return the diagonal of the box around ``places``, in pixels."""
    return float(np.linalg.norm(np.ptp(places, axis=0))) / (1 << _FRACTION_BITS)


def _create_lines(places: NDArray[np.int32], ends: NDArray[np.intp], kind: Source) -> NDArray[np.int32]:
    """Return int32 [lines, 2, 2]: the end points of the lines; two short lines per rescued bone."""
    lines = places[ends]
    if kind != Source.RESCUED:
        return lines
    step = np.asarray((lines[:, 1] - lines[:, 0]) * _BONE_SHARE, dtype=np.int32)
    first = np.stack([lines[:, 0], lines[:, 0] + step], axis=1)
    last = np.stack([lines[:, 1] - step, lines[:, 1]], axis=1)
    return np.concatenate([first, last])


def _draw_lines(drawn: RgbImage, lines: NDArray[np.int32], colour: Colour, width_px: int) -> None:
    if len(lines):
        cv2.polylines(drawn, list(lines), False, colour, width_px, cv2.LINE_AA, _FRACTION_BITS)


def _draw_discs(drawn: RgbImage, places: NDArray[np.int32], colour: Colour, radius_px: float) -> None:
    radius = round(radius_px * (1 << _FRACTION_BITS))
    for x, y in places.tolist():
        cv2.circle(drawn, (x, y), radius, colour, cv2.FILLED, cv2.LINE_AA, _FRACTION_BITS)


def _choose_colour(side: Side, kind: Source) -> Colour:
    red, green, blue = _COLOURS[side]
    if kind != Source.FILLED:
        return red, green, blue
    return _lighten(red), _lighten(green), _lighten(blue)


def _lighten(level: int) -> int:
    return round(level + (255 - level) * _PALENESS)


@cache
def _get_shape(name: PartName) -> _Shape:
    """Return the lines and dots of the part with this name."""
    if name == "face_landmarks":
        return _group_by_side([(side, pair) for side, chain in _FACE_CHAINS for pair in pairwise(chain)], [])
    part = next(part for skeleton in SKELETONS.values() for part in skeleton.parts if part.name == name)
    sides = [_find_side(f"{part.name} {point}") for point in part.point_names]
    limbs: list[tuple[Side, tuple[int, int]]]
    limbs = [(sides[a] if sides[a] == sides[b] else "middle", (a, b)) for a, b in part.limbs]
    joints = sorted({number for limb in part.limbs for number in limb})
    return _group_by_side(limbs, [(sides[number], number) for number in joints])


def _group_by_side(lines: list[tuple[Side, tuple[int, int]]], dots: list[tuple[Side, int]]) -> _Shape:
    """Return the lines and dots grouped by their side."""
    return _Shape(
        {
            side: np.array([ends for line_side, ends in lines if line_side == side], np.intp).reshape(-1, 2)
            for side in _COLOURS
        },
        {side: np.array([number for dot_side, number in dots if dot_side == side], np.intp) for side in _COLOURS},
    )


def _find_side(name: str) -> Side:
    return "left" if "left" in name else "right" if "right" in name else "middle"


def _compose_legend(frame_index: int, skeleton: Skeleton, source: Sources) -> list[tuple[str, Colour]]:
    """Return the words of the legend and their colours, from left to right."""
    filled = list_words(skeleton, source, Source.FILLED)
    rescued = list_words(skeleton, source, Source.RESCUED)
    words: list[tuple[str, Colour]] = [(str(frame_index), _COLOURS["middle"])]
    for word in ("left", "right", "body", "face"):
        notes = [note for note, parts in (("rescued", rescued), ("filled", filled)) if word in parts]
        if notes or _find_side(word) != "middle":
            words.append((" ".join([word, *notes]), _COLOURS[_find_side(word)]))
    return words


def _draw_legend(drawn: RgbImage, words: list[tuple[str, Colour]], unit: float) -> None:
    """Draw ``words`` into the lower left corner on darkened ground, in a smaller font if they do not fit."""
    line = _GAP.join(word for word, _ in words)
    (width, height), below = cv2.getTextSize(line, _FONT, 1.0, 1)
    scale = min(max(0.42, 0.5 * unit), 0.94 * drawn.shape[1] / width)
    margin = max(2, round(4 * unit))
    tall, deep = round(height * scale), round(below * scale)
    top = max(0, drawn.shape[0] - tall - deep - 2 * margin)
    ground = drawn[top:, : round(width * scale) + 3 * margin]
    ground[:] = (ground * _GROUND_SHARE).astype(np.uint8)
    x, y = float(margin), drawn.shape[0] - margin - deep
    for word, colour in words:
        cv2.putText(drawn, word, (round(x), y), _FONT, scale, colour, 1, cv2.LINE_AA)
        x += cv2.getTextSize(word + _GAP, _FONT, scale, 1)[0][0]
