"""Decodes the outputs of YOLO networks: the layouts of exported versions 5 to 12.

anchors        N candidates with 4 + C values each: center, size, a score for each of C classes (v8, v9, v11, v12)
objectness     N candidates with 5 + C values each: the fifth is the objectness (v5, v6, v7)
end-to-end     M boxes of 6 values each: corners, score, class (v10, and exports with NMS inside)
batched rows   M boxes of 7 values each: image, corners, class, score (v7 with NMS inside)
four outputs   the number of boxes, their corners, scores and classes (v5 to v7 with TensorRT's NMS)

Candidates lie along the last axis or the one before it. More values may follow: coefficients of a segmentation mask,
or key points. Sizes and corners are in pixels of the network's input.
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
# Pixels between cells, and candidates per cell, as in all versions.
_STRIDES = (8, 16, 32, 64)
_ANCHORS_PER_CELL = 3
_MAX_ROWS = 1000  # boxes of an export with NMS inside: usually 300 or 100
_MAX_KEPT = 300
_MAX_CANDIDATES = 3000  # candidates for NMS


class UnknownOutputs(Exception):
    """The outputs have an unknown layout; the message describes it."""


@dataclass(frozen=True)
class Detections:
    """Boxes in one image, by descending score.

    boxes    float32, n x 4: left, top, right, bottom
    scores   float32, n: 0 to 1
    classes  int64, n
    """

    boxes: Floats
    scores: Floats
    classes: Ints

    def select(self, which: npt.NDArray[np.bool_] | Ints) -> Detections:
        """Return some of them."""
        return Detections(self.boxes[which], self.scores[which], self.classes[which])


@dataclass(frozen=True)
class Head:
    """Properties for decoding a network's outputs.

    classes   number of trained classes; ``None`` if unknown
    rows      it outputs boxes, not candidates; ``None`` if unknown
    width_px, height_px   of its input
    """

    classes: int | None
    rows: bool | None
    width_px: int
    height_px: int


def read_outputs(outputs: Sequence[npt.NDArray[np.generic]], head: Head, score: float, iou: float) -> Detections:
    """Return the boxes in the first image of the batch that score at least ``score``.

    Of boxes that overlap by more than ``iou`` the best is kept, whatever their class. Raises UnknownOutputs.
    """
    layout = detect_layout([np.shape(output) for output in outputs], head)
    detections = _decode(layout, [np.asarray(output, np.float32) for output in outputs], head)
    finite = np.isfinite(detections.boxes).all(axis=1) & (detections.boxes[:, 2:] > detections.boxes[:, :2]).all(axis=1)
    detections = detections.select(finite & (detections.scores >= score))
    detections = detections.select(np.argsort(-detections.scores, kind="stable")[:_MAX_CANDIDATES])
    return detections.select(suppress(detections, iou)[:_MAX_KEPT])


def detect_layout(shapes: Sequence[tuple[int, ...]], head: Head) -> Layout:
    """Return the layout of outputs with these shapes. Raises UnknownOutputs."""
    if len(shapes) == 4 and [len(shape) for shape in shapes] in ([2, 3, 2, 2], [1, 3, 2, 2]) and shapes[1][2] == 4:
        return "four_outputs"
    first = shapes[0] if shapes else ()
    if len(first) == 2 and first[1] == 7 and len(shapes) == 1:
        return "batched_rows"
    # In addition to boxes, a segmentation head outputs mask prototypes: 1 x 32 x rows x columns. Early v5 outputs the
    # raw predictions, too: 1 x 3 x rows x columns x values, for each scale.
    if len(first) != 3 or min(first[1:]) < 5 or any(len(shape) not in {4, 5} for shape in shapes[1:]):
        raise UnknownOutputs(_describe(shapes))
    if _has_rows(first, head):
        return "end_to_end"
    numbers = first[_find_values_axis(first, head)] - _count_mask_values(shapes)
    return "objectness" if _has_objectness(first, numbers, head) else "anchors"


def _has_rows(shape: tuple[int, ...], head: Head) -> bool:
    """Return True if the output contains boxes, not candidates."""
    if head.rows is not None:
        return head.rows
    return (
        shape[2] >= 6
        and shape[1] <= _MAX_ROWS
        and not _count_candidates(head).intersection(shape[1:])
        and shape[2] < 64
    )


def _find_values_axis(shape: tuple[int, ...], head: Head) -> int:
    """Return the axis of the values of one candidate."""
    counts = _count_candidates(head)
    if (shape[1] in counts) != (shape[2] in counts):
        return 2 if shape[1] in counts else 1
    return 1 if shape[1] < shape[2] else 2


def _has_objectness(shape: tuple[int, ...], numbers: int, head: Head) -> bool:
    """Return True if the fifth value is the objectness, judged by the number of classes or of candidates."""
    if head.classes is not None and numbers - head.classes in {4, 5}:
        return numbers - head.classes == 5
    single = _count_cells(head)
    triple = {_ANCHORS_PER_CELL * count for count in single}
    sizes = set(shape[1:])
    if bool(sizes & single) != bool(sizes & triple):
        return bool(sizes & triple)
    return _find_values_axis(shape, head) == 2  # v5 to v7 have it last, v8 and later first


def _count_candidates(head: Head) -> set[int]:
    """Return the possible numbers of candidates."""
    single = _count_cells(head)
    return single | {_ANCHORS_PER_CELL * count for count in single}


def _count_cells(head: Head) -> set[int]:
    """Return the numbers of cells of networks with three and four output scales."""
    places = [-(-head.width_px // stride) * -(-head.height_px // stride) for stride in _STRIDES]
    return {sum(places[:3]), sum(places)}


def _count_mask_values(shapes: Sequence[tuple[int, ...]]) -> int:
    """Return the number of mask coefficients per candidate."""
    return sum(shape[1] for shape in shapes[1:] if len(shape) == 4)


def _decode(layout: Layout, outputs: Sequence[Floats], head: Head) -> Detections:
    if layout == "four_outputs":
        count = int(outputs[0].reshape(-1)[0])
        return _make_detections(outputs[1][0, :count], outputs[2][0, :count], outputs[3][0, :count])
    if layout == "batched_rows":
        rows = outputs[0][outputs[0][:, 0] == 0]
        return _make_detections(rows[:, 1:5], rows[:, 6], rows[:, 5])
    if layout == "end_to_end":
        rows = outputs[0][0]
        return _make_detections(rows[:, :4], rows[:, 4], rows[:, 5])
    candidates = outputs[0][0]
    if _find_values_axis(outputs[0].shape, head) == 1:
        candidates = candidates.T
    first = 5 if layout == "objectness" else 4
    classes = head.classes or candidates.shape[1] - first - _count_mask_values([output.shape for output in outputs])
    return _select_best_class(candidates, first, classes)


def _select_best_class(candidates: Floats, first: int, classes: int) -> Detections:
    """Return each candidate with its best class; the scores of ``classes`` classes start at value ``first``."""
    scores = candidates[:, first : first + classes]
    best = scores.argmax(axis=1)
    score = np.take_along_axis(scores, best[:, None], axis=1)[:, 0]
    if first == 5:
        score = score * candidates[:, 4]
    centre, half = candidates[:, :2], candidates[:, 2:4] / 2
    return _make_detections(np.hstack([centre - half, centre + half]), score, best)


def _make_detections(boxes: Floats, scores: Floats, classes: npt.NDArray[np.generic]) -> Detections:
    return Detections(boxes, scores, np.nan_to_num(np.asarray(classes, np.float32)).astype(np.int64))


def suppress(detections: Detections, iou: float) -> Ints:
    """Return the positions that non-maximum suppression keeps; ``detections`` are sorted by descending score."""
    kept: list[int] = []
    free = np.ones(len(detections.scores), bool)
    for position in range(len(free)):
        if not free[position] or len(kept) == _MAX_KEPT:
            continue
        kept.append(position)
        free &= compute_ious(detections.boxes[position], detections.boxes) <= iou
    return np.array(kept, np.int64)


def _describe(shapes: Sequence[tuple[int, ...]]) -> str:
    listed = ", ".join("x".join(map(str, shape)) or "a number" for shape in shapes)
    return f"outputs of shape {listed or '(none)'}"
