"""Which of the person's hands each detected hand is.

HandLandmarker of mediapipe 1.2 means the person's own hand in a picture that is not mirrored (its forerunner, the
solutions API, assumed a mirrored selfie). Each hand is judged by itself, so that both may bear the same label.
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
# Two findings are one hand where their points lie nearer than this share of the hand's own size, on average.
_SAME_HAND = 0.25

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hand:
    """A detected hand: float32 [21, 4], what the model takes it for ("left" or "right"), and how sure it is (0..1)."""

    points: Points
    label: str
    score: float


def by_side(hands: Sequence[Hand], aspect: float = 1.0) -> dict[Side, Hand]:
    """At most one hand a side, of at most two that are found.

    The surest is what its label says. The other goes to the side that is left, whatever its label: a person has one
    hand of each, and the label is what MediaPipe errs in most. Only where both findings are the same hand, seen twice,
    the less sure one is dropped, and logged. ``aspect`` is the picture's width over its height.
    """
    sides: dict[Side, Hand] = {}
    for hand in sorted(hands, key=lambda hand: -hand.score):
        if any(_is_same(hand, other, aspect) for other in sides.values()):
            _log.warning("a %s hand was found twice in a frame; the less sure finding is dropped", hand.label)
            continue
        side: Side = "left" if hand.label == "left" else "right"
        free = side if side not in sides else _OTHER[side]
        if free in sides:
            _log.warning("more than two hands were found in a frame; the least sure is dropped")
            continue
        sides[free] = hand
    return sides


def _is_same(hand: Hand, other: Hand, aspect: float) -> bool:
    scale = np.array([aspect, 1.0])  # x and y are shares of different lengths
    one, two = hand.points[:, :2] * scale, other.points[:, :2] * scale
    size = float(np.hypot(*np.ptp(two, axis=0)))
    return float(np.hypot(*(one - two).T).mean()) < _SAME_HAND * size
