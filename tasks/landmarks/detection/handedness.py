"""Assign detected hands to the person's left and right side.

HandLandmarker of mediapipe 1.2 reports the person's own hand in an image that is not mirrored (the older solutions API
assumed a mirrored selfie). It judges each hand independently, so that both may have the same label.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tasks.landmarks.points import PartName
from tasks.landmarks.sequence import Points

Side = Literal["left", "right"]
SIDES: Mapping[Side, PartName] = {"left": "left_hand_landmarks", "right": "right_hand_landmarks"}
_OTHER: Mapping[Side, Side] = {"left": "right", "right": "left"}
# Two detections are one hand if their mean point distance is below this share of the hand's size.
_SAME_HAND = 0.25

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hand:
    """A detected hand: points float32 [21, 4], the model's label ("left" or "right"), and its score (0..1)."""

    points: Points
    label: str
    score: float


def assign_sides(hands: Sequence[Hand], aspect: float = 1.0) -> dict[Side, Hand]:
    """Return at most one hand per side, from at most two detections.

    The hand with the highest score gets the side of its label. The other hand gets the remaining side, whatever its
    label: a person has one hand of each, and labels are MediaPipe's most frequent error. If both detections are the
    same hand, the one with the lower score is dropped and logged. ``aspect`` is the image's width over its height.
    """
    sides: dict[Side, Hand] = {}
    for hand in sorted(hands, key=lambda hand: -hand.score):
        if any(_is_same(hand, other, aspect) for other in sides.values()):
            _log.warning("a %s hand was found twice in a frame; dropped the one with the lower score", hand.label)
            continue
        side: Side = "left" if hand.label == "left" else "right"
        free = side if side not in sides else _OTHER[side]
        if free in sides:
            _log.warning("more than two hands were found in a frame; dropped the one with the lowest score")
            continue
        sides[free] = hand
    return sides


def _is_same(hand: Hand, other: Hand, aspect: float) -> bool:
    scale = np.array([aspect, 1.0])  # x and y have different units
    first, second = hand.points[:, :2] * scale, other.points[:, :2] * scale
    size = float(np.hypot(*np.ptp(second, axis=0)))
    return float(np.hypot(*(first - second).T).mean()) < _SAME_HAND * size
