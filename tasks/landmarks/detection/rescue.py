"""Search again for hands that the holistic model lost.

The holistic model crops the hands from the pose alone. It loses a hand whose palm is edge-on or whose wrist the pose
misplaces. HandLandmarker has its own palm detector, so the rescue runs it where the hand should be: at its last
position, around the wrist and, if both hands are missing, in the whole image. After failures, searches become rare.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.landmarks.detection.graph import Graph
from tasks.landmarks.detection.handedness import SIDES, Hand, Side, assign_sides
from tasks.landmarks.detection.results import read_hands
from tasks.landmarks.params import Device
from tasks.landmarks.points import POSE_NAMES, SKELETONS, PartName
from tasks.landmarks.sequence import Points, RgbImage

Pixels = NDArray[np.float64]  # [..., 2]

_SKELETON = SKELETONS["holistic"]
_OTHER: dict[Side, Side] = {"left": "right", "right": "left"}
_WRIST, _MIDDLE_KNUCKLE = 0, 9
# Side of a crop around a wrist: the larger of this many forearm lengths and shoulder widths. A hand is about 0.75
# forearms long, the palm detector needs about as much margin, and a foreshortened forearm is too short a reference.
_FOREARMS, _SHOULDER_WIDTHS = 2.4, 1.9
_MIN_CROP_PX = 100.0
# Side of a crop around the last position, in extents of the hand.
_EXTENTS = 3.0
# Maximum distance between the detected wrist and the pose's wrist, as a share of the crop's side.
_REACH = 0.4
# Maximum movement of a hand since it was last seen, in its own extents.
_MOVE = 1.0
_MEMORY_SECONDS = 0.3
# Maximum age of a remembered side.
_SIDE_SECONDS = 2.0
# Two detections are one hand if their mean point distance is below this many palm lengths of the smaller one.
_SAME_PALMS = 0.5
# Limit for a crop with a single detection: it is the other hand unless it is farther away than this. If two hands
# overlap, both are detected.
_SAME_PALMS_ALONE = 1.2
# Minimum score of a hand's label in a crop; non-hands match neither label.
_MIN_SCORE = 0.6
# Frames without a search after a failure; each failure doubles them.
_MIN_PAUSE_FRAMES, _MAX_PAUSE_FRAMES = 1, 8


@dataclass(frozen=True)
class _LastHand:
    """Last detection of a hand: its points in pixels, float64 [21, 2], and its time."""

    points: Pixels
    milliseconds: int


@dataclass
class _Search:
    """Schedule of one search; it skips ``pause`` frames before the next attempt."""

    pause: int = 0
    _next_pause: int = _MIN_PAUSE_FRAMES

    def is_due(self) -> bool:
        """Return True if the search should run in this frame; call it once per frame."""
        if self.pause:
            self.pause -= 1
            return False
        return True

    def record_failure(self) -> None:
        self.pause, self._next_pause = self._next_pause, min(2 * self._next_pause, _MAX_PAUSE_FRAMES)

    def record_success(self) -> None:
        self.pause, self._next_pause = 0, _MIN_PAUSE_FRAMES


@dataclass
class _State:
    """State that is kept between the frames of a sample."""

    last_hands: dict[Side, _LastHand] = field(default_factory=dict)
    searches: dict[Side, _Search] = field(default_factory=lambda: {side: _Search() for side in SIDES})
    whole: _Search = field(default_factory=_Search)


@dataclass(frozen=True)
class _Crop:
    """A crop of the image, with the expected position of the hand's wrist, in pixels of the whole image.

    ``reach_px`` is the maximum distance from that position.
    """

    left: int
    top: int
    right: int
    bottom: int
    wrist: Pixels
    reach_px: float


class HandRescue:
    """Searches for hands that are missing in a frame with HandLandmarker, sample by sample."""

    def __init__(self, model: Path, device: Device = "cpu") -> None:
        """Build the graph from ``hand_landmarker.task``. Raises RunError if it cannot be loaded."""
        self._graph = Graph("hands", model, device, "image")  # stateless: it does not track
        self._state = _State()

    def restart(self) -> None:
        """Forget all hands; call it before each sample."""
        self._state = _State()

    def close(self) -> None:
        """Free the model's memory. Calling it twice is safe."""
        self._graph.close()

    def rescue(self, image: RgbImage, points: Points, milliseconds: int) -> frozenset[PartName]:
        """Fill in missing hands of ``points`` if they are found; return the names of the filled parts.

        ``image`` is uint8 [height, width, 3], RGB; ``points`` float32 [553, 4] of the holistic model. A rescued hand
        has x and y as shares of the image, z in the scale of x, visibility 1. Raises MediaPipeError.
        """
        frame = _Frame(image, points)
        for side in SIDES:
            if frame.has_hand(side):
                self._remember(frame, side, milliseconds)
        missing = [side for side in SIDES if not frame.has_hand(side)]
        rescued = [side for side in missing if self._search_hand(frame, side, milliseconds)]
        if len(missing) == len(SIDES) and not rescued:
            rescued = self._search_whole_image(frame, milliseconds)
        for side in rescued:
            self._remember(frame, side, milliseconds)
        return frozenset(SIDES[side] for side in rescued)

    def _remember(self, frame: _Frame, side: Side, milliseconds: int) -> None:
        self._state.last_hands[side] = _LastHand(frame.get_hand(side), milliseconds)
        self._state.searches[side].record_success()
        self._state.whole.record_success()

    def _search_hand(self, frame: _Frame, side: Side, milliseconds: int) -> bool:
        """Search for one hand where it should be; return True if it was found."""
        search = self._state.searches[side]
        crops = list(self._propose_crops(frame, side, milliseconds))
        if not crops or not search.is_due():
            return False
        for crop in crops:
            hand = self._choose_hand(frame, side, crop)
            if hand is not None:
                frame.set_hand(side, hand)
                return True
        search.record_failure()
        return False

    def _propose_crops(self, frame: _Frame, side: Side, milliseconds: int) -> Iterator[_Crop]:
        last = self._state.last_hands.get(side)
        if last and milliseconds - last.milliseconds <= 1000 * _MEMORY_SECONDS:
            extent = _measure_extent(last.points)
            centre = (last.points.min(axis=0) + last.points.max(axis=0)) / 2
            if crop := frame.crop(centre, _EXTENTS * extent, last.points[_WRIST], _MOVE * extent):
                yield crop
        if around := frame.crop_around_wrist(side):
            yield around

    def _choose_hand(self, frame: _Frame, side: Side, crop: _Crop) -> Points | None:
        """Return the hand in ``crop`` with the wrist nearest to its expected position, unless it is the other hand."""
        candidates = []
        hands = self._detect_in_crop(frame, crop)
        same_palms = _SAME_PALMS_ALONE if len(hands) == 1 else _SAME_PALMS
        for hand in (hand.points for hand in hands if hand.score >= _MIN_SCORE):
            pixels = hand[:, :2] * frame.size
            distance = float(np.hypot(*(pixels[_WRIST] - crop.wrist)))
            if distance <= crop.reach_px and not frame.is_same_hand(_OTHER[side], pixels, same_palms):
                candidates.append((distance, hand))
        return min(candidates, key=lambda candidate: candidate[0])[1] if candidates else None

    def _detect_in_crop(self, frame: _Frame, crop: _Crop) -> list[Hand]:
        """Return the hands in ``crop``, in shares of the whole image."""
        part = np.ascontiguousarray(frame.image[crop.top : crop.bottom, crop.left : crop.right])
        with self._graph.detect_image(part) as result:
            hands = read_hands(result)
        return [replace(hand, points=_map_to_image(hand.points, crop, frame.size)) for hand in hands]

    def _search_whole_image(self, frame: _Frame, milliseconds: int) -> list[Side]:
        """Search the whole image for both hands, for hands without a person or with a wrong pose."""
        if not self._state.whole.is_due():
            return []
        with self._graph.detect_image(frame.image) as result:
            hands: list[Hand] = read_hands(result)
        sides = self._recall_side(hands, frame, milliseconds) or assign_sides(hands, frame.size[0] / frame.size[1])
        for side, hand in sides.items():
            frame.set_hand(side, hand.points)
        if not sides:
            self._state.whole.record_failure()
        return list(sides)

    def _recall_side(self, hands: list[Hand], frame: _Frame, milliseconds: int) -> dict[Side, Hand]:
        """Return the side of a single hand if a hand was last seen there: labels of single images are unreliable."""
        if len(hands) != 1:
            return {}
        wrist = hands[0].points[_WRIST, :2] * frame.size
        recent = [
            (float(np.hypot(*(wrist - last.points[_WRIST]))), side)
            for side, last in self._state.last_hands.items()
            if milliseconds - last.milliseconds <= 1000 * _SIDE_SECONDS
        ]
        distance, side = min(recent, default=(np.inf, "left"))
        return (
            {side: hands[0]}
            if recent and distance <= _MOVE * _measure_extent(self._state.last_hands[side].points)
            else {}
        )


class _Frame:
    """An image and its points; lengths are in pixels."""

    def __init__(self, image: RgbImage, points: Points) -> None:
        self.image = image
        self.points = points
        self.size: Pixels = np.array([image.shape[1], image.shape[0]], np.float64)

    def has_hand(self, side: Side) -> bool:
        """Return True if ``points`` has that hand."""
        return not np.isnan(self._get_part(SIDES[side])[0, 0])

    def get_hand(self, side: Side) -> Pixels:
        """Return the hand's points, float64 [21, 2]."""
        return self._get_part(SIDES[side])[:, :2].astype(np.float64) * self.size

    def set_hand(self, side: Side, hand: Points) -> None:
        """Set the hand's points: float32 [21, 4], shares of the image."""
        self._get_part(SIDES[side])[:] = hand

    def is_same_hand(self, side: Side, hand: Pixels, same_palms: float) -> bool:
        """Return True if the hand of that side lies within ``same_palms`` palm lengths of ``hand``."""
        if not self.has_hand(side):
            return False
        known_hand = self.get_hand(side)
        palm = min(_measure_palm(hand), _measure_palm(known_hand))
        return float(np.hypot(*(hand - known_hand).T).mean()) < same_palms * palm

    def crop_around_wrist(self, side: Side) -> _Crop | None:
        """Return the crop around the pose's wrist; None without a pose, or if its wrist is outside the image."""
        wrist, elbow, *knuckles = (
            self._get_joint(side, name) for name in ("wrist", "elbow", "pinky", "index", "thumb")
        )
        if np.isnan(wrist).any() or (wrist < 0).any() or (wrist >= self.size).any():
            return None
        shoulders = self._get_joint("left", "shoulder") - self._get_joint("right", "shoulder")
        forearm = float(np.hypot(*(wrist - elbow)))
        side_px = max(_FOREARMS * forearm, _SHOULDER_WIDTHS * float(np.hypot(*shoulders)), _MIN_CROP_PX)
        return self.crop(np.mean([wrist, *knuckles], axis=0), side_px, wrist, _REACH * side_px)

    def crop(self, centre: Pixels, side_px: float, wrist: Pixels, reach_px: float) -> _Crop | None:
        """Return a square crop around ``centre``, clipped to the image; None if little of it remains."""
        side_px = max(side_px, _MIN_CROP_PX)
        left, top = np.maximum(centre - side_px / 2, 0).astype(int)
        right, bottom = np.minimum(centre + side_px / 2, self.size).astype(int)
        if min(right - left, bottom - top) < _MIN_CROP_PX / 2:
            return None
        return _Crop(int(left), int(top), int(right), int(bottom), wrist, reach_px)

    def _get_part(self, name: PartName) -> Points:
        part = _SKELETON.find_part(name)
        assert part is not None
        return self.points[part.span]

    def _get_joint(self, side: Side, name: str) -> Pixels:
        pose = self._get_part("pose_landmarks")
        return pose[POSE_NAMES.index(f"{side}_{name}"), :2].astype(np.float64) * self.size


def _measure_extent(hand: Pixels) -> float:
    return float(np.ptp(hand, axis=0).max())


def _measure_palm(hand: Pixels) -> float:
    return float(np.hypot(*(hand[_MIDDLE_KNUCKLE] - hand[_WRIST])))


def _map_to_image(hand: Points, crop: _Crop, size: Pixels) -> Points:
    """Convert shares of the crop to shares of the whole image; z scales with x."""
    width, height = crop.right - crop.left, crop.bottom - crop.top
    whole = hand.copy()
    whole[:, 0] = (crop.left + hand[:, 0] * width) / size[0]
    whole[:, 1] = (crop.top + hand[:, 1] * height) / size[1]
    whole[:, 2] = hand[:, 2] * width / size[0]
    return whole
