"""Small networks, as real ONNX graphs, that detect bright patches exactly, in every layout of YOLO's outputs.

The box of bright pixels in the red channel is class 0, ``logo``; that of the green channel is class 1, ``stamp``. Its
score is the maximum of the channel. Each box comes twice, the second one shifted by two pixels with a lower score, for
NMS to remove, if the layout leaves NMS to the reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NAMES = {0: "logo", 1: "stamp"}
BRIGHT = 0.6  # more than the gray padding


def count_candidates(width: int, height: int, at_a_place: int = 1, strides: Sequence[int] = (8, 16, 32)) -> int:
    """Return the number of candidates of a real network with an input of that size."""
    return at_a_place * sum((width // stride) * (height // stride) for stride in strides)


@dataclass
class Graph:
    """Nodes in the order in which they are added."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def put(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def store_numbers(self, *values: int) -> str:
        return self.put(values, np.int64)

    def join(self, parts: Sequence[str], axis: int) -> str:
        return self.add("Concat", *parts, axis=axis)

    def find_edges(self, profile: str) -> tuple[str, str]:
        """Return the first and last position, float 1 x 1 each, of bright values in a profile of length n (1 x n)."""
        is_bright = self.add("Cast", self.add("Greater", profile, self.put(BRIGHT)), to=TensorProto.FLOAT)
        back = self.add(
            "Slice",
            is_bright,
            self.store_numbers(-1),
            self.store_numbers(-(2**31)),
            self.store_numbers(1),
            self.store_numbers(-1),
        )
        length = self.add("Cast", self.add("Shape", profile, start=1), to=TensorProto.FLOAT)
        first, behind = (
            self.add("Cast", self.add("ArgMax", part, axis=1), to=TensorProto.FLOAT) for part in (is_bright, back)
        )
        return first, self.add("Sub", length, behind)

    def find_patch(self, pictures: str, channel: int) -> tuple[str, str]:
        """Return the box (1 x 4: left, top, right, bottom) and the score (1 x 1) of bright pixels in ``channel``."""
        picture = self.add("Gather", pictures, self.put(channel, np.int64), axis=1)
        columns = self.add("ReduceMax", picture, self.store_numbers(1), keepdims=0)
        rows = self.add("ReduceMax", picture, self.store_numbers(2), keepdims=0)
        (left, right), (top, bottom) = self.find_edges(columns), self.find_edges(rows)
        score = self.add("ReduceMax", columns, self.store_numbers(1), keepdims=1)
        bright = self.add("Cast", self.add("Greater", score, self.put(BRIGHT)), to=TensorProto.FLOAT)
        return self.join([left, top, right, bottom], 1), self.add("Mul", score, bright)


def build(
    path: Path,
    layout: str,
    size: tuple[int, int] | None = (160, 128),
    count: int | None = None,
    swapped: bool = False,
    half: bool = False,
    masks: int = 0,
    protos: bool = True,
    metadata: dict[str, str] | None = None,
    names: bool = True,
    batch: int = 1,
) -> Path:
    """Build a network with that layout at ``path``. ``size``: (width, height) of its input; None: any.

    ``masks``: values after the scores; ``protos``: output their mask prototypes, else they are key points.
    """
    graph = Graph()
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    width, height = size or ("width", "height")
    given = helper.make_tensor_value_info("images", kind, [batch, 3, height, width])
    channel_slice = graph.add("Slice", "images", graph.store_numbers(0), graph.store_numbers(1), graph.store_numbers(0))
    patches = [graph.find_patch(graph.add("Cast", channel_slice, to=TensorProto.FLOAT), channel) for channel in (0, 1)]
    outputs = _OUTPUTS[layout](graph, patches, count, swapped, masks)
    if masks and protos:
        outputs.append(graph.put(np.zeros((1, masks, 8, 8))))
    results = []
    for number, name in enumerate(outputs):
        graph.nodes.append(helper.make_node("Cast", [name], [f"output{number}"], to=kind))
        results.append(helper.make_tensor_value_info(f"output{number}", kind, None))
    model = helper.make_model(
        helper.make_graph(graph.nodes, "patches", [given], results, graph.constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    helper.set_model_props(model, ({"names": str(NAMES)} if names else {}) | (metadata or {}))
    onnx.save(model, path)
    return path


def _duplicate(graph: Graph, patches: list[tuple[str, str]]) -> tuple[str, str]:
    """Return boxes (4 x 4) and scores (4 x 1): each patch, and each shifted."""
    boxes = [box for box, _ in patches] + [graph.add("Add", box, graph.put([2, 2, 2, 2])) for box, _ in patches]
    scores = [score for _, score in patches] + [graph.add("Mul", score, graph.put(0.9)) for _, score in patches]
    return graph.join(boxes, 0), graph.join(scores, 0)


def _center(graph: Graph, boxes: str) -> str:
    """Return corners as center and size."""
    change = [[0.5, 0, -1, 0], [0, 0.5, 0, -1], [0.5, 0, 1, 0], [0, 0.5, 0, 1]]
    return graph.add("MatMul", boxes, graph.put(change))


def _pad(graph: Graph, rows: str, count: int) -> str:
    """Return ``rows`` (4 x n) at the end of 1 x count x n, with zeros before."""
    far = graph.add("Pad", rows, graph.store_numbers(count - 4, 0, 0, 0))
    return graph.add("Unsqueeze", far, graph.store_numbers(0))


def _finish(graph: Graph, rows: str, count: int | None, numbers_first: bool) -> list[str]:
    assert count is not None
    padded = _pad(graph, rows, count)
    return [graph.add("Transpose", padded, perm=[0, 2, 1]) if numbers_first else padded]


def _add_masks(graph: Graph, rows: list[str], masks: int) -> str:
    # Larger than any score: what takes them for one is found out.
    return graph.join([*rows, graph.put(np.full((4, masks), 7.0))] if masks else rows, 1)


def _build_anchors(graph: Graph, patches: Any, count: int | None, swapped: bool, masks: int) -> list[str]:
    boxes, scores = _duplicate(graph, patches)
    classes = graph.add("Mul", scores, graph.put([[1, 0], [0, 1], [1, 0], [0, 1]]))
    return _finish(graph, _add_masks(graph, [_center(graph, boxes), classes], masks), count, not swapped)


def _build_objectness(graph: Graph, patches: Any, count: int | None, swapped: bool, masks: int) -> list[str]:
    boxes, scores = _duplicate(graph, patches)
    classes = graph.put([[1, 0], [0, 1], [1, 0], [0, 1]])
    return _finish(graph, _add_masks(graph, [_center(graph, boxes), scores, classes], masks), count, swapped)


def _build_end_to_end(graph: Graph, patches: Any, count: int | None, swapped: bool, masks: int) -> list[str]:
    boxes = graph.join([box for box, _ in patches] * 2, 0)
    scores = graph.join([score for _, score in patches] + [graph.put([[0.0]])] * 2, 0)
    rows = _add_masks(graph, [boxes, scores, graph.put([[0], [1], [0], [0]])], masks)
    return [_pad(graph, rows, count or 300)]


def _build_batched_rows(graph: Graph, patches: Any, count: int | None, swapped: bool, masks: int) -> list[str]:
    boxes = graph.join([box for box, _ in patches], 0)
    scores = graph.join([score for _, score in patches], 0)
    rows = graph.join([graph.put([[0], [0]]), boxes, graph.put([[0], [1]]), scores], 1)
    return [graph.join([rows, graph.put([[1, 0, 0, 9, 9, 0, 0.99]])], 0)]  # of another image of the batch


def _build_four_outputs(graph: Graph, patches: Any, count: int | None, swapped: bool, masks: int) -> list[str]:
    boxes = graph.add("Unsqueeze", graph.join([box for box, _ in patches] * 2, 0), graph.store_numbers(0))
    scores = graph.add("Reshape", graph.join([score for _, score in patches] * 2, 0), graph.store_numbers(1, 4))
    # Behind the number of boxes that it says there are, anything may lie.
    return [graph.put([[2]]), boxes, scores, graph.put([[0, 1, 0, 1]])]


_OUTPUTS = {
    "anchors": _build_anchors,
    "objectness": _build_objectness,
    "end_to_end": _build_end_to_end,
    "batched_rows": _build_batched_rows,
    "four_outputs": _build_four_outputs,
}
