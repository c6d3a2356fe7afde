"""A second look for hands that the holistic model lost.

The holistic model cuts its pictures of the hands out by the pose alone, and loses a hand whose palm is edge-on or that
the pose misplaces. HandLandmarker looks for palms by itself, so it is shown where the hand should be: where it was a
moment ago, around the wrist, and, where neither hand is to be had, the whole picture. Fruitless looks become rare.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.landmarks.detection.graph import Graph
from tasks.landmarks.detection.handedness import SIDES, Hand, Side, by_side
from tasks.landmarks.detection.results import hands_of
from tasks.landmarks.params import Device
from tasks.landmarks.points import POSE_NAMES, SKELETONS, PartName
from tasks.landmarks.sequence import Picture, Points

Pixels = NDArray[np.float64]  # [..., 2]

_SKELETON = SKELETONS["holistic"]
_OTHER: dict[Side, Side] = {"left": "right", "right": "left"}
_WRIST, _MIDDLE_KNUCKLE = 0, 9
# A crop around a wrist, in lengths of the forearm and in shoulder widths: whichever is larger. A hand is about 0.75
# forearms long; the palm detector wants about as much around it, and a foreshortened forearm says too little.
_FOREARMS, _SHOULDER_WIDTHS = 2.4, 1.9
_LEAST_CROP_PX = 100.0
# A crop around where the hand was: the hand's own extent and as much again.
_EXTENTS = 3.0
# How far the found wrist may lie from the pose's, as a share of the crop's side.
_REACH = 0.4
# How far a hand may have moved since it was seen, in its own extents.
_MOVE = 1.0
_MEMORY_SECONDS = 0.3
# How long its side is believed.
_SIDE_SECONDS = 2.0
# Two hands are one where their points lie nearer than this share of the smaller one's palm, on average.
_SAME_PALMS = 0.5
# Where the crop shows one hand alone, it is the other one unless it lies farther from it than this: of two hands that
# lie on one another both are found.
_SAME_PALMS_ALONE = 1.2
# The least score of a hand's label in a crop: what is no hand looks like neither.
_LEAST_SCORE = 0.6
# After a fruitless look, so many frames without one; each further one doubles them.
_FIRST_PAUSE, _LONGEST_PAUSE = 1, 8


@dataclass(frozen=True)
class _Seen:
    """Where a hand was: its points in pixels, float64 [21, 2]."""

    points: Pixels
    milliseconds: int


@dataclass
class _Search:
    """How a search for one thing has gone: ``pause`` frames are let go by before the next look."""

    pause: int = 0
    _next_pause: int = _FIRST_PAUSE

    def is_due(self) -> bool:
        """Whether to look in this frame; call it once a frame."""
        if self.pause:
            self.pause -= 1
            return False
        return True

    def failed(self) -> None:
        self.pause, self._next_pause = self._next_pause, min(2 * self._next_pause, _LONGEST_PAUSE)

    def succeeded(self) -> None:
        self.pause, self._next_pause = 0, _FIRST_PAUSE


@dataclass
class _State:
    """What is remembered of a sample."""

    seen: dict[Side, _Seen] = field(default_factory=dict)
    searches: dict[Side, _Search] = field(default_factory=lambda: {side: _Search() for side in SIDES})
    whole: _Search = field(default_factory=_Search)


@dataclass(frozen=True)
class _Crop:
    """A part of the picture, and where in it the hand's wrist should be, both in pixels of the whole.

    ``reach_px`` is how far from there it may be.
    """

    left: int
    top: int
    right: int
    bottom: int
    wrist: Pixels
    reach_px: float


class HandRescue:
    """Looks for the hands that a frame lacks, by HandLandmarker; one sample after another."""

    def __init__(self, model: Path, device: Device = "cpu") -> None:
        """Build the graph from ``hand_landmarker.task``. Raises RunError where it cannot be loaded."""
        self._graph = Graph("hands", model, device, "image")  # it keeps nothing from picture to picture
        self._state = _State()

    def restart(self) -> None:
        """Forget everything: call it before each sample."""
        self._state = _State()

    def close(self) -> None:
        """Free the model's memory; a second time does nothing."""
        self._graph.close()

    def rescue(self, picture: Picture, points: Points, milliseconds: int) -> frozenset[PartName]:
        """Fill in the hands that ``points`` lacks where they are found; the names of the parts that were.

        ``picture`` is uint8 [height, width, 3], RGB; ``points`` float32 [553, 4] of the holistic model. A hand that is
        filled in has x and y as shares of the picture, z in the scale of x, visibility 1. Raises MediaPipeError.
        """
        frame = _Frame(picture, points)
        for side in SIDES:
            if frame.has(side):
                self._remember(frame, side, milliseconds)
        lacking = [side for side in SIDES if not frame.has(side)]
        rescued = [side for side in lacking if self._find(frame, side, milliseconds)]
        if len(lacking) == len(SIDES) and not rescued:
            rescued = self._look_everywhere(frame, milliseconds)
        for side in rescued:
            self._remember(frame, side, milliseconds)
        return frozenset(SIDES[side] for side in rescued)

    def _remember(self, frame: _Frame, side: Side, milliseconds: int) -> None:
        self._state.seen[side] = _Seen(frame.hand(side), milliseconds)
        self._state.searches[side].succeeded()
        self._state.whole.succeeded()

    def _find(self, frame: _Frame, side: Side, milliseconds: int) -> bool:
        """Look for one hand where it should be."""
        search = self._state.searches[side]
        crops = list(self._crops(frame, side, milliseconds))
        if not crops or not search.is_due():
            return False
        for crop in crops:
            hand = self._best(frame, side, crop)
            if hand is not None:
                frame.put(side, hand)
                return True
        search.failed()
        return False

    def _crops(self, frame: _Frame, side: Side, milliseconds: int) -> Iterator[_Crop]:
        seen = self._state.seen.get(side)
        if seen and milliseconds - seen.milliseconds <= 1000 * _MEMORY_SECONDS:
            extent = _extent(seen.points)
            centre = (seen.points.min(axis=0) + seen.points.max(axis=0)) / 2
            if crop := frame.crop(centre, _EXTENTS * extent, seen.points[_WRIST], _MOVE * extent):
                yield crop
        if around := frame.around_wrist(side):
            yield around

    def _best(self, frame: _Frame, side: Side, crop: _Crop) -> Points | None:
        """The hand in ``crop`` whose wrist is nearest to where it should be, and that is not the other hand."""
        near = []
        found = self._look(frame, crop)
        same_palms = _SAME_PALMS_ALONE if len(found) == 1 else _SAME_PALMS
        for hand in (one.points for one in found if one.score >= _LEAST_SCORE):
            pixels = hand[:, :2] * frame.size
            distance = float(np.hypot(*(pixels[_WRIST] - crop.wrist)))
            if distance <= crop.reach_px and not frame.is_there(_OTHER[side], pixels, same_palms):
                near.append((distance, hand))
        return min(near, key=lambda found: found[0])[1] if near else None

    def _look(self, frame: _Frame, crop: _Crop) -> list[Hand]:
        """The hands in ``crop``, in shares of the whole picture."""
        part = np.ascontiguousarray(frame.picture[crop.top : crop.bottom, crop.left : crop.right])
        with self._graph.detect_alone(part) as result:
            hands = hands_of(result)
        return [replace(hand, points=_in_whole(hand.points, crop, frame.size)) for hand in hands]

    def _look_everywhere(self, frame: _Frame, milliseconds: int) -> list[Side]:
        """Look for both hands in the whole picture; for hands without a person, or with a pose that is wrong."""
        if not self._state.whole.is_due():
            return []
        with self._graph.detect_alone(frame.picture) as result:
            found: list[Hand] = hands_of(result)
        sides = self._known(found, frame, milliseconds) or by_side(found, frame.size[0] / frame.size[1])
        for side, hand in sides.items():
            frame.put(side, hand.points)
        if not sides:
            self._state.whole.failed()
        return list(sides)

    def _known(self, found: list[Hand], frame: _Frame, milliseconds: int) -> dict[Side, Hand]:
        """The side of the only hand, where one was seen there not long ago: labels of single pictures waver."""
        if len(found) != 1:
            return {}
        wrist = found[0].points[_WRIST, :2] * frame.size
        recent = [
            (float(np.hypot(*(wrist - seen.points[_WRIST]))), side)
            for side, seen in self._state.seen.items()
            if milliseconds - seen.milliseconds <= 1000 * _SIDE_SECONDS
        ]
        distance, side = min(recent, default=(np.inf, "left"))
        return {side: found[0]} if recent and distance <= _MOVE * _extent(self._state.seen[side].points) else {}


class _Frame:
    """A picture with the points in it; lengths are in pixels."""

    def __init__(self, picture: Picture, points: Points) -> None:
        self.picture = picture
        self.points = points
        self.size: Pixels = np.array([picture.shape[1], picture.shape[0]], np.float64)

    def has(self, side: Side) -> bool:
        """Whether that hand is there."""
        return not np.isnan(self._part(SIDES[side])[0, 0])

    def hand(self, side: Side) -> Pixels:
        """Its points, float64 [21, 2]."""
        return self._part(SIDES[side])[:, :2].astype(np.float64) * self.size

    def put(self, side: Side, hand: Points) -> None:
        """Fill it in: float32 [21, 4], shares of the picture."""
        self._part(SIDES[side])[:] = hand

    def is_there(self, side: Side, hand: Pixels, same_palms: float) -> bool:
        """Whether the hand of that side lies within so many palms of ``hand``: then they are one."""
        if not self.has(side):
            return False
        other = self.hand(side)
        palm = min(_palm(hand), _palm(other))
        return float(np.hypot(*(hand - other).T).mean()) < same_palms * palm

    def around_wrist(self, side: Side) -> _Crop | None:
        """Where the pose says that the hand is; None where there is no pose, or its wrist is outside the picture."""
        wrist, elbow, *knuckles = (self._joint(side, name) for name in ("wrist", "elbow", "pinky", "index", "thumb"))
        if np.isnan(wrist).any() or (wrist < 0).any() or (wrist >= self.size).any():
            return None
        shoulders = self._joint("left", "shoulder") - self._joint("right", "shoulder")
        forearm = float(np.hypot(*(wrist - elbow)))
        side_px = max(_FOREARMS * forearm, _SHOULDER_WIDTHS * float(np.hypot(*shoulders)), _LEAST_CROP_PX)
        return self.crop(np.mean([wrist, *knuckles], axis=0), side_px, wrist, _REACH * side_px)

    def crop(self, centre: Pixels, side_px: float, wrist: Pixels, reach_px: float) -> _Crop | None:
        """A square around ``centre`` as far as it is in the picture; None where little of it is."""
        side_px = max(side_px, _LEAST_CROP_PX)
        left, top = np.maximum(centre - side_px / 2, 0).astype(int)
        right, bottom = np.minimum(centre + side_px / 2, self.size).astype(int)
        if min(right - left, bottom - top) < _LEAST_CROP_PX / 2:
            return None
        return _Crop(int(left), int(top), int(right), int(bottom), wrist, reach_px)

    def _part(self, name: PartName) -> Points:
        part = _SKELETON.part(name)
        assert part is not None
        return self.points[part.span]

    def _joint(self, side: Side, name: str) -> Pixels:
        pose = self._part("pose_landmarks")
        return pose[POSE_NAMES.index(f"{side}_{name}"), :2].astype(np.float64) * self.size


def _extent(hand: Pixels) -> float:
    return float(np.ptp(hand, axis=0).max())


def _palm(hand: Pixels) -> float:
    return float(np.hypot(*(hand[_MIDDLE_KNUCKLE] - hand[_WRIST])))


def _in_whole(hand: Points, crop: _Crop, size: Pixels) -> Points:
    """From shares of the crop to shares of the whole picture; z goes with x."""
    width, height = crop.right - crop.left, crop.bottom - crop.top
    whole = hand.copy()
    whole[:, 0] = (crop.left + hand[:, 0] * width) / size[0]
    whole[:, 1] = (crop.top + hand[:, 1] * height) / size[1]
    whole[:, 2] = hand[:, 2] * width / size[0]
    return whole
