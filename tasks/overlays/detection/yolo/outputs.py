"""What a YOLO network says, as boxes: the layouts in which versions 5 to 11 are exported.

anchors        N candidates with 4 + C numbers each: centre, size, a score for each of C classes (v8, v9, v11, v12)
objectness     N candidates with 5 + C numbers each: the fifth says whether there is anything (v5, v6, v7)
end-to-end     M boxes of 6 numbers each: corners, score, class (v10, and exports with NMS inside)
batched rows   M boxes of 7 numbers each: picture, corners, class, score (v7 with NMS inside)
four outputs   how many boxes there are, their corners, scores and classes (v5 to v7 with TensorRT's NMS)

Candidates lie along the last axis or the one before it. After the numbers named here, each may have more: coefficients
of a segmentation mask, or key points. Sizes and corners are in pixels of the network's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tasks.overlays.boxes import compute_ious
from tasks.overlays.overlay import Floats

Layout = Literal["anchors", "objectness", "end_to_end", "batched_rows", "four_outputs"]
Ints = npt.NDArray[np.int64]
# Pixels between candidates, and the candidates at each place: what all versions are trained with.
_STRIDES = (8, 16, 32, 64)
_ANCHORS_A_PLACE = 3
_MOST_ROWS = 1000  # boxes that an export with NMS inside gives: 300 or 100 as a rule
_MOST_KEPT = 300
_MOST_TRIED = 3000  # candidates that go through NMS


class UnknownOutputs(Exception):
    """The outputs are none of the layouts above; the message says what they are."""


@dataclass(frozen=True)
class Detections:
    """Boxes in one picture, by falling score.

    boxes    float32, n x 4: left, top, right, bottom
    scores   float32, n: 0 to 1
    classes  int64, n
    """

    boxes: Floats
    scores: Floats
    classes: Ints

    def chosen(self, which: npt.NDArray[np.bool_] | Ints) -> Detections:
        """Those of them."""
        return Detections(self.boxes[which], self.scores[which], self.classes[which])


@dataclass(frozen=True)
class Head:
    """How a network's outputs are to be read.

    classes   how many it was trained with; ``None`` where it does not say
    rows      it says of itself that it gives boxes, not candidates; ``None`` where it says nothing
    width_px, height_px   of its input
    """

    classes: int | None
    rows: bool | None
    width_px: int
    height_px: int


def read_outputs(outputs: Sequence[npt.NDArray[np.generic]], head: Head, score: float, iou: float) -> Detections:
    """The boxes in the first picture of the batch that score at least ``score``.

    Of those that overlap by more than ``iou`` the best is kept, whatever their class: they are one mark. Raises
    UnknownOutputs.
    """
    layout = layout_of([np.shape(output) for output in outputs], head)
    found = _decode(layout, [np.asarray(output, np.float32) for output in outputs], head)
    finite = np.isfinite(found.boxes).all(axis=1) & (found.boxes[:, 2:] > found.boxes[:, :2]).all(axis=1)
    found = found.chosen(finite & (found.scores >= score))
    found = found.chosen(np.argsort(-found.scores, kind="stable")[:_MOST_TRIED])
    return found.chosen(suppress(found, iou)[:_MOST_KEPT])


def layout_of(shapes: Sequence[tuple[int, ...]], head: Head) -> Layout:
    """How outputs of these shapes are to be read. Raises UnknownOutputs."""
    if len(shapes) == 4 and [len(shape) for shape in shapes] in ([2, 3, 2, 2], [1, 3, 2, 2]) and shapes[1][2] == 4:
        return "four_outputs"
    first = shapes[0] if shapes else ()
    if len(first) == 2 and first[1] == 7 and len(shapes) == 1:
        return "batched_rows"
    # Beside the boxes, a segmentation head has the pictures that its masks are mixed from: 1 x 32 x rows x columns.
    # Early v5 has what the boxes are made of, too: 1 x 3 x rows x columns x numbers, for each scale.
    if len(first) != 3 or min(first[1:]) < 5 or any(len(shape) not in {4, 5} for shape in shapes[1:]):
        raise UnknownOutputs(_told(shapes))
    if _gives_rows(first, head):
        return "end_to_end"
    numbers = first[_numbers_axis(first, head)] - _mask_numbers(shapes)
    return "objectness" if _has_objectness(first, numbers, head) else "anchors"


def _gives_rows(shape: tuple[int, ...], head: Head) -> bool:
    """Whether the output holds boxes, not candidates."""
    if head.rows is not None:
        return head.rows
    return shape[2] >= 6 and shape[1] <= _MOST_ROWS and not _counts(head).intersection(shape[1:]) and shape[2] < 64


def _numbers_axis(shape: tuple[int, ...], head: Head) -> int:
    """The axis along which the numbers of one candidate lie."""
    counts = _counts(head)
    if (shape[1] in counts) != (shape[2] in counts):
        return 2 if shape[1] in counts else 1
    return 1 if shape[1] < shape[2] else 2


def _has_objectness(shape: tuple[int, ...], numbers: int, head: Head) -> bool:
    """Whether a candidate's fifth number is no class: by the number of classes, or else of candidates."""
    if head.classes is not None and numbers - head.classes in {4, 5}:
        return numbers - head.classes == 5
    single = _grids(head)
    triple = {_ANCHORS_A_PLACE * count for count in single}
    found = set(shape[1:])
    if bool(found & single) != bool(found & triple):
        return bool(found & triple)
    return _numbers_axis(shape, head) == 2  # v5 to v7 have it last, v8 and later first


def _counts(head: Head) -> set[int]:
    """How many candidates there can be."""
    single = _grids(head)
    return single | {_ANCHORS_A_PLACE * count for count in single}


def _grids(head: Head) -> set[int]:
    """How many places of candidates a network with three or four output scales has."""
    places = [-(-head.width_px // stride) * -(-head.height_px // stride) for stride in _STRIDES]
    return {sum(places[:3]), sum(places)}


def _mask_numbers(shapes: Sequence[tuple[int, ...]]) -> int:
    """How many of a candidate's numbers mix its mask."""
    return sum(shape[1] for shape in shapes[1:] if len(shape) == 4)


def _decode(layout: Layout, outputs: Sequence[Floats], head: Head) -> Detections:
    if layout == "four_outputs":
        count = int(outputs[0].reshape(-1)[0])
        return _detections(outputs[1][0, :count], outputs[2][0, :count], outputs[3][0, :count])
    if layout == "batched_rows":
        rows = outputs[0][outputs[0][:, 0] == 0]
        return _detections(rows[:, 1:5], rows[:, 6], rows[:, 5])
    if layout == "end_to_end":
        rows = outputs[0][0]
        return _detections(rows[:, :4], rows[:, 4], rows[:, 5])
    candidates = outputs[0][0]
    if _numbers_axis(outputs[0].shape, head) == 1:
        candidates = candidates.T
    first = 5 if layout == "objectness" else 4
    classes = head.classes or candidates.shape[1] - first - _mask_numbers([output.shape for output in outputs])
    return _best_class(candidates, first, classes)


def _best_class(candidates: Floats, first: int, classes: int) -> Detections:
    """Each candidate as its best class; the scores of ``classes`` classes lie from number ``first`` on."""
    scores = candidates[:, first : first + classes]
    best = scores.argmax(axis=1)
    score = np.take_along_axis(scores, best[:, None], axis=1)[:, 0]
    if first == 5:
        score = score * candidates[:, 4]
    centre, half = candidates[:, :2], candidates[:, 2:4] / 2
    return _detections(np.hstack([centre - half, centre + half]), score, best)


def _detections(boxes: Floats, scores: Floats, classes: npt.NDArray[np.generic]) -> Detections:
    return Detections(boxes, scores, np.nan_to_num(np.asarray(classes, np.float32)).astype(np.int64))


def suppress(found: Detections, iou: float) -> Ints:
    """Positions of what non-maximum suppression keeps of ``found``, which is sorted by falling score."""
    kept: list[int] = []
    free = np.ones(len(found.scores), bool)
    for position in range(len(free)):
        if not free[position] or len(kept) == _MOST_KEPT:
            continue
        kept.append(position)
        free &= compute_ious(found.boxes[position], found.boxes) <= iou
    return np.array(kept, np.int64)


def _told(shapes: Sequence[tuple[int, ...]]) -> str:
    listed = ", ".join("x".join(map(str, shape)) or "a number" for shape in shapes)
    return f"outputs of the shape {listed or 'of nothing'}"
