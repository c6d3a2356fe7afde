"""Landmarks drawn onto a picture: who looks at it sees what was found, what was guessed, and what is missing.

The person's left is blue and their right is orange, which people with any kind of colour blindness tell apart (Okabe
and Ito, "Color Universal Design", 2008); what lies on neither side is light grey. A hand that a second look found is
drawn with gaps in its bones, what was filled in is paler, and what is missing is not drawn.
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

LEAST_VISIBILITY = 0.5  # of a body point; below, the model guesses where it is

_COLOURS: dict[Side, Colour] = {"left": (86, 180, 233), "right": (240, 145, 20), "middle": (225, 225, 225)}
_WORDS: dict[PartName, str] = {
    "pose_landmarks": "body",
    "face_landmarks": "face",
    "left_hand_landmarks": "left",
    "right_hand_landmarks": "right",
}
_DARK: Colour = (20, 20, 24)
_PALENESS = 0.6  # share of white in what was filled in
_BONE_SHARE = 0.3  # of a rescued bone, at either end; the rest is its gap
_UNIT_PX = 480.0  # a picture of that many pixels squared has lines of the widths below
_FRACTION_BITS = 4  # OpenCV takes sixteenths of a pixel
_FARTHEST = 8.0  # pictures' widths: beyond, a point is moved there, so that it fits into OpenCV's integers
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_GAP = "  "
_GROUND_SHARE = 0.35  # of the light that is left under the legend

# Which points of the face mesh are neighbours on its contours: MediaPipe's FaceLandmarksConnections, as chains.
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
# The body model's own few points of what another part shows better: left out where that part is there.
_COARSE: dict[PartName, tuple[int, ...]] = {
    "face_landmarks": tuple(range(11)),
    "left_hand_landmarks": (17, 19, 21),
    "right_hand_landmarks": (18, 20, 22),
}


@dataclass(frozen=True)
class _Look:
    """How a part is drawn: widths in pixels of a picture of ``_UNIT_PX`` squared; 0 draws none.

    extent_px  how far the part must reach for these widths; where it is smaller, so are they
    """

    line: float
    dot_radius: float
    rim: float
    extent_px: float


_LOOKS: dict[PartName, _Look] = {
    "face_landmarks": _Look(1.0, 0.0, 0.0, 150.0),
    "pose_landmarks": _Look(3.0, 3.5, 2.0, 250.0),
    "left_hand_landmarks": _Look(1.6, 2.2, 2.0, 80.0),
    "right_hand_landmarks": _Look(1.6, 2.2, 2.0, 80.0),
}
_ORDER: tuple[PartName, ...] = tuple(_LOOKS)  # what comes later lies on top


@dataclass(frozen=True)
class _Shape:
    """A part's lines and dots by side, as numbers of points in the part: int [lines, 2] and int [dots]."""

    lines: dict[Side, NDArray[np.intp]]
    dots: dict[Side, NDArray[np.intp]]


def draw(
    image: RgbImage, points: Points, skeleton: Skeleton, source: Sources, frame_index: int | None = None
) -> RgbImage:
    """A copy of ``picture`` with the landmarks of its frame.

    points       float32 [points, 4], x and y as shares of the picture; what lies outside it is cut at its border.
                 Points of the body with a visibility below ``LEAST_VISIBILITY`` are not drawn
    source       uint8 [parts]: a :class:`Source` for each of ``skeleton.parts``
    frame_index  where given, it is written into the lower left corner, with the words left and right in their
                 colours and what was rescued or filled in

    Widths follow the square root of the picture's area, and are less for a part that is small in it.
    """
    drawn = image.copy()
    places = _places(points, image.shape[1], image.shape[0])
    shown = _shown(points, skeleton, source)
    unit = float(np.sqrt(image.shape[0] * image.shape[1])) / _UNIT_PX
    for name in _ORDER:
        part = skeleton.find_part(name)
        if part is not None and shown[part.span].any():
            kind = Source(int(source[skeleton.get_index(name)]))
            _draw_part(drawn, part, places[part.span], shown[part.span], kind, unit)
    if frame_index is not None:
        _write(drawn, _legend(frame_index, skeleton, source), unit)
    return drawn


def found_words(skeleton: Skeleton, source: Sources, kind: Source) -> list[str]:
    """The words for the parts whose points are of that ``kind``, in the skeleton's order: body, face, left, right."""
    return [_WORDS[part.name] for part, value in zip(skeleton.parts, source, strict=True) if value == kind]


def _places(points: Points, width_px: int, height_px: int) -> NDArray[np.int32]:
    """int32 [points, 2]: x and y as OpenCV counts them, in sixteenths of a pixel from the first pixel's centre."""
    shares = np.clip(np.nan_to_num(points[:, :2]), -_FARTHEST, _FARTHEST)
    pixels = shares * np.array([width_px, height_px], np.float32) - 0.5
    return np.asarray(np.rint(pixels * (1 << _FRACTION_BITS)), dtype=np.int32)


def _shown(points: Points, skeleton: Skeleton, source: Sources) -> NDArray[np.bool_]:
    """bool [points]: which points are drawn."""
    shown: NDArray[np.bool_] = np.asarray(np.isfinite(points[:, :2]).all(axis=1))
    for part, kind in zip(skeleton.parts, source, strict=True):
        shown[part.span] &= kind != Source.MISSING
    body = skeleton.find_part("pose_landmarks")
    if body is None:
        return shown
    shown[body.span] &= points[body.span, 3] >= LEAST_VISIBILITY
    for name, coarse in _COARSE.items():
        finer = skeleton.find_part(name)
        if finer is not None and shown[finer.span].any():
            shown[body.start + np.array(coarse)] = False
    return shown


def _draw_part(
    drawn: RgbImage, part: Part, places: NDArray[np.int32], shown: NDArray[np.bool_], kind: Source, unit: float
) -> None:
    """Draw one part: its rim first and as a whole, so that no line is cut by its neighbour's."""
    look, shape = _LOOKS[part.name], _shape(part.name)
    unit = min(unit, _extent_px(places[shown]) / look.extent_px)
    lines = [(side, _ends(places, ends[shown[ends].all(axis=1)], kind)) for side, ends in shape.lines.items()]
    dots = [(side, places[numbers[shown[numbers]]]) for side, numbers in shape.dots.items()]
    width, rim = max(1, round(look.line * unit)), round(look.rim * unit)
    if rim:
        _strokes(drawn, np.concatenate([ends for _, ends in lines]), _DARK, width + rim)
        _discs(drawn, np.concatenate([centres for _, centres in dots]), _DARK, look.dot_radius * unit + rim / 2)
    for side, ends in lines:
        _strokes(drawn, ends, _colour(side, kind), width)
    for side, centres in dots:
        _discs(drawn, centres, _colour(side, kind), look.dot_radius * unit)


def _extent_px(places: NDArray[np.int32]) -> float:
    """The diagonal of the box around ``places``, in pixels."""
    return float(np.linalg.norm(np.ptp(places, axis=0))) / (1 << _FRACTION_BITS)


def _ends(places: NDArray[np.int32], ends: NDArray[np.intp], kind: Source) -> NDArray[np.int32]:
    """int32 [lines, 2, 2]: from where to where; two short lines for each where it was rescued."""
    lines = places[ends]
    if kind != Source.RESCUED:
        return lines
    step = np.asarray((lines[:, 1] - lines[:, 0]) * _BONE_SHARE, dtype=np.int32)
    first = np.stack([lines[:, 0], lines[:, 0] + step], axis=1)
    last = np.stack([lines[:, 1] - step, lines[:, 1]], axis=1)
    return np.concatenate([first, last])


def _strokes(drawn: RgbImage, lines: NDArray[np.int32], colour: Colour, width_px: int) -> None:
    if len(lines):
        cv2.polylines(drawn, list(lines), False, colour, width_px, cv2.LINE_AA, _FRACTION_BITS)


def _discs(drawn: RgbImage, places: NDArray[np.int32], colour: Colour, radius_px: float) -> None:
    radius = round(radius_px * (1 << _FRACTION_BITS))
    for x, y in places.tolist():
        cv2.circle(drawn, (x, y), radius, colour, cv2.FILLED, cv2.LINE_AA, _FRACTION_BITS)


def _colour(side: Side, kind: Source) -> Colour:
    red, green, blue = _COLOURS[side]
    if kind != Source.FILLED:
        return red, green, blue
    return _pale(red), _pale(green), _pale(blue)


def _pale(level: int) -> int:
    return round(level + (255 - level) * _PALENESS)


@cache
def _shape(name: PartName) -> _Shape:
    """Lines and dots of the part of that name."""
    if name == "face_landmarks":
        return _arranged([(side, pair) for side, chain in _FACE_CHAINS for pair in pairwise(chain)], [])
    part = next(part for skeleton in SKELETONS.values() for part in skeleton.parts if part.name == name)
    sides = [_side(f"{part.name} {point}") for point in part.point_names]
    limbs: list[tuple[Side, tuple[int, int]]]
    limbs = [(sides[a] if sides[a] == sides[b] else "middle", (a, b)) for a, b in part.limbs]
    joints = sorted({number for limb in part.limbs for number in limb})
    return _arranged(limbs, [(sides[number], number) for number in joints])


def _arranged(lines: list[tuple[Side, tuple[int, int]]], dots: list[tuple[Side, int]]) -> _Shape:
    """Those lines and dots, each with its side, by side."""
    return _Shape(
        {side: np.array([ends for of, ends in lines if of == side], np.intp).reshape(-1, 2) for side in _COLOURS},
        {side: np.array([number for of, number in dots if of == side], np.intp) for side in _COLOURS},
    )


def _side(name: str) -> Side:
    return "left" if "left" in name else "right" if "right" in name else "middle"


def _legend(frame_index: int, skeleton: Skeleton, source: Sources) -> list[tuple[str, Colour]]:
    """Words and their colours, from left to right."""
    filled = found_words(skeleton, source, Source.FILLED)
    rescued = found_words(skeleton, source, Source.RESCUED)
    words: list[tuple[str, Colour]] = [(str(frame_index), _COLOURS["middle"])]
    for word in ("left", "right", "body", "face"):
        notes = [note for note, parts in (("rescued", rescued), ("filled", filled)) if word in parts]
        if notes or _side(word) != "middle":
            words.append((" ".join([word, *notes]), _COLOURS[_side(word)]))
    return words


def _write(drawn: RgbImage, words: list[tuple[str, Colour]], unit: float) -> None:
    """Write ``words`` into the lower left corner, smaller where they would not fit, on ground that is darkened."""
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
