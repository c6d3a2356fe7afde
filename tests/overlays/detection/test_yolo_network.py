"""YOLO networks: boxes at known positions in every layout, letterboxes, and unusable models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tasks.overlays.detection.yolo.network import (
    ModelInfo,
    Network,
    UnusableModel,
    _choose_providers,
    _refuse_fallback,
    check_model,
    fit_letterbox,
)
from tasks.overlays.detection.yolo.outputs import (
    Detections,
    Head,
    UnknownOutputs,
    detect_layout,
    read_outputs,
    suppress,
)
from tests.overlays.detection.networks import build, count_candidates

LOGO, STAMP = (24, 16, 64, 40), (100, 80, 148, 96)  # left, top, right, bottom
WIDE = (160, 128)


def draw_image(width: int = 160, height: int = 128, times: int = 1) -> np.ndarray:
    """Return a dark image with a red patch at LOGO and a weaker green one at STAMP."""
    pixels = np.full((height, width, 3), 30, np.uint8)
    for (left, top, right, bottom), channel, value in ((LOGO, 0, 255), (STAMP, 1, 204)):
        pixels[top * times : bottom * times, left * times : right * times, channel] = value
    return pixels


# name: the network, and the properties of its layout
LAYOUTS: dict[str, dict[str, Any]] = {
    "v8": {"layout": "anchors", "count": count_candidates(*WIDE)},
    "v8 without names": {"layout": "anchors", "count": count_candidates(*WIDE), "names": False},
    "v8 transposed": {"layout": "anchors", "count": count_candidates(*WIDE), "swapped": True},
    "v8 transposed without names": {
        "layout": "anchors",
        "count": count_candidates(*WIDE),
        "swapped": True,
        "names": False,
    },
    "v8 segmentation": {"layout": "anchors", "count": count_candidates(*WIDE), "masks": 32},
    "v8 segmentation without names": {
        "layout": "anchors",
        "count": count_candidates(*WIDE),
        "masks": 32,
        "names": False,
    },
    "v11 as half": {"layout": "anchors", "count": count_candidates(*WIDE), "half": True},
    "v11 for a batch of 4": {"layout": "anchors", "count": count_candidates(*WIDE), "batch": 4},
    "v8 with key points": {"layout": "anchors", "count": count_candidates(*WIDE), "masks": 51, "protos": False},
    "v5": {"layout": "objectness", "count": count_candidates(*WIDE, 3)},
    "v5 without names": {"layout": "objectness", "count": count_candidates(*WIDE, 3), "names": False},
    "v5 transposed": {"layout": "objectness", "count": count_candidates(*WIDE, 3), "swapped": True},
    "v5 transposed without names": {
        "layout": "objectness",
        "count": count_candidates(*WIDE, 3),
        "swapped": True,
        "names": False,
    },
    "v5 with four scales": {
        "layout": "objectness",
        "count": count_candidates(*WIDE, 3, (8, 16, 32, 64)),
        "names": False,
    },
    "v5 segmentation": {"layout": "objectness", "count": count_candidates(*WIDE, 3), "masks": 32},
    "v6": {"layout": "objectness", "count": count_candidates(*WIDE)},
    "v10": {"layout": "end_to_end"},
    "v10 that says so": {"layout": "end_to_end", "metadata": {"end2end": "True"}},
    "v11 with NMS": {"layout": "end_to_end", "metadata": {"end2end": "False", "args": "{'nms': True}"}},
    "v11 segmentation with NMS": {"layout": "end_to_end", "masks": 32},
    "v7 with NMS": {"layout": "batched_rows"},
    "v7 for TensorRT": {"layout": "four_outputs"},
    "any size, v8": {"layout": "anchors", "count": 5000, "size": None, "metadata": {"imgsz": "[160, 160]"}},
    "any size, v5": {"layout": "objectness", "count": 5000, "size": None, "metadata": {"imgsz": "[160, 160]"}},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_patches_are_detected_in_every_layout(tmp_path: Path, name: str) -> None:
    network = Network(build(tmp_path / "a.onnx", **LAYOUTS[name]))
    detections = network.detect(draw_image(), 0.5, 0.5)
    np.testing.assert_allclose(detections.boxes, [LOGO, STAMP], atol=0.1)
    np.testing.assert_allclose(detections.scores, [1.0, 0.8], atol=2e-3)
    assert detections.classes.tolist() == [0, 1]
    assert network.detect(draw_image(), 0.9, 0.5).classes.tolist() == [0]


@pytest.mark.parametrize("size", [(160, 128), (160, 160), (192, 96), (416, 416)])
def test_boxes_of_a_letterboxed_image_are_in_its_pixels(tmp_path: Path, size: tuple[int, int]) -> None:
    """Scaled down or up, with or without padding: accurate to half a pixel of the network's input."""
    network = Network(build(tmp_path / "a.onnx", "anchors", size, count_candidates(*size)))
    detections = network.detect(draw_image(640, 512, times=4), 0.5, 0.5)
    pixel = 640 / min(size[0], size[1] * 640 / 512)
    np.testing.assert_allclose(detections.boxes, 4 * np.array([LOGO, STAMP]), atol=max(0.6 * pixel, 0.6))


@pytest.mark.parametrize(
    ("size", "room", "due"),
    [
        ((1920, 1080), (640, 640), (0, 140, 640, 360, 640, 640)),
        ((1080, 1920), (640, 640), (140, 0, 360, 640, 640, 640)),
        ((100, 75), (640, 640), (0, 80, 640, 480, 640, 640)),
        ((641, 479), (640, 640), (0, 81, 640, 478, 640, 640)),
        ((1000, 663), (640, 640), (0, 108, 640, 424, 640, 640)),
        ((333, 640), (640, 640), (153, 0, 333, 640, 640, 640)),  # 307 of grey: 153 left, 154 right
        ((1920, 1080), (None, None), (0, 12, 640, 360, 640, 384)),
        ((4000, 10), (640, 640), (0, 319, 640, 2, 640, 640)),
    ],
)
def test_letterbox_matches_the_original(size: Any, room: Any, due: Any) -> None:
    """The values come from ultralytics' LetterBox."""
    info = ModelInfo("images", np.float32, 1, *room)
    fit = fit_letterbox(*size, info)
    assert (fit.left, fit.top, fit.width, fit.height, fit.input_width, fit.input_height) == due


def test_letterbox_pads_the_scaled_image_with_gray() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (75, 101, 3), np.uint8)
    fit = fit_letterbox(101, 75, ModelInfo("images", np.float32, 1, 64, 64))
    filled = fit.fill(pixels)
    scaled = cv2.resize(pixels, (64, 48), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(filled[8:56], scaled)
    assert (filled[:8] == 114).all()
    assert (filled[56:] == 114).all()


def test_boxes_are_clipped_and_boxes_outside_are_dropped() -> None:
    fit = fit_letterbox(200, 100, ModelInfo("images", np.float32, 1, 100, 100))  # 25 of grey above and below
    boxes = np.array([[-10, 20, 50, 60], [10, 0, 20, 24], [90, 70, 120, 90]], np.float32)
    detections = fit.undo(Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 1, 2])), 200, 100)
    np.testing.assert_allclose(detections.boxes, [[0, 0, 100, 70], [180, 90, 200, 100]])
    assert detections.classes.tolist() == [0, 2]


def test_suppression_keeps_the_best_of_overlapping_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 4], [30, 0, 40, 10]], np.float32)
    detections = Detections(boxes, np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.array([0, 1, 0, 0]))
    assert suppress(detections, 0.5).tolist() == [0, 2, 3]  # 9/11 overlaps; 4/10 does not
    assert suppress(detections, 0.35).tolist() == [0, 3]
    assert suppress(detections, 0.9).tolist() == [0, 1, 2, 3]


def test_boxes_with_nan_are_dropped() -> None:
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, :3] = [[0, 0, 9, 9, 0.9, 0], [np.nan, 0, 9, 9, 0.9, 0], [9, 9, 0, 0, 0.9, 0]]
    detections = read_outputs([rows], Head(2, True, 160, 128), 0.5, 0.5)
    np.testing.assert_array_equal(detections.boxes, [[0, 0, 9, 9]])


# Shapes as the exporters of v5 to v12 leave them, for an input of 640x640 or 320x320.
REAL_SHAPES = [
    ([(1, 84, 8400)], 80, False, "anchors"),
    ([(1, 84, 8400)], None, None, "anchors"),
    ([(1, 5, 8400)], 1, None, "anchors"),
    ([(1, 5, 8400)], None, None, "anchors"),
    ([(1, 6, 8400)], 1, None, "objectness"),
    ([(1, 8400, 84)], None, None, "anchors"),
    ([(1, 116, 8400), (1, 32, 160, 160)], 80, False, "anchors"),
    ([(1, 56, 8400)], 1, False, "anchors"),
    ([(1, 25200, 85)], 80, None, "objectness"),
    ([(1, 25200, 85)], None, None, "objectness"),
    ([(1, 25200, 6)], None, None, "objectness"),
    ([(1, 25200, 117), (1, 32, 160, 160)], 80, None, "objectness"),
    ([(1, 25200, 85), (1, 3, 80, 80, 85), (1, 3, 40, 40, 85), (1, 3, 20, 20, 85)], None, None, "objectness"),
    ([(1, 25500, 85)], None, None, "objectness"),
    ([(1, 8400, 85)], 80, None, "objectness"),
    ([(1, 300, 6)], 80, True, "end_to_end"),
    ([(1, 300, 6)], None, None, "end_to_end"),
    ([(1, 300, 38), (1, 32, 160, 160)], 80, True, "end_to_end"),
    ([(1, 300, 38), (1, 32, 160, 160)], None, None, "end_to_end"),
    ([(12, 7)], 80, None, "batched_rows"),
    ([(0, 7)], None, None, "batched_rows"),
    ([(1, 1), (1, 100, 4), (1, 100), (1, 100)], None, None, "four_outputs"),
]


@pytest.mark.parametrize(("shapes", "classes", "rows", "layout"), REAL_SHAPES)
def test_layouts_of_real_exports_are_detected(shapes: Any, classes: int | None, rows: bool | None, layout: str) -> None:
    assert detect_layout(shapes, Head(classes, rows, 640, 640)) == layout


@pytest.mark.parametrize(
    "shapes", [[], [(1, 1000)], [(1, 3, 80, 80, 85)], [(1, 84, 8400), (3,)], [(1, 3, 640, 640)], [(1, 4, 8400)]]
)
def test_unknown_layouts_are_refused(shapes: Any) -> None:
    with pytest.raises(UnknownOutputs, match="outputs of"):
        detect_layout(shapes, Head(None, None, 640, 640))


def save_identity(
    path: Path, shape: list[Any], kind: int = TensorProto.FLOAT, metadata: dict[str, str] | None = None
) -> Path:
    """Save a network that outputs its input."""
    value = helper.make_tensor_value_info("images", kind, shape)
    result = helper.make_tensor_value_info("output", kind, shape)
    graph = helper.make_graph([helper.make_node("Identity", ["images"], ["output"])], "same", [value], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


def test_unusable_models_are_one_problem_in_one_line(tmp_path: Path) -> None:
    good = build(tmp_path / "good.onnx", "anchors", count=420)
    (tmp_path / "text.onnx").write_text("no model at all")
    (tmp_path / "cut.onnx").write_bytes(good.read_bytes()[:700])
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "best.pt").write_bytes(b"PK")
    reasons = {
        tmp_path / "absent.onnx": "missing",
        tmp_path: "a folder",
        tmp_path / "text.onnx": "not a usable ONNX model",
        tmp_path / "cut.onnx": "not a usable ONNX model",
        tmp_path / "best.pt": "a .pt file",
        save_identity(tmp_path / "flat.onnx", [1, 1000]): "takes tensor(float) 1x1000, not images",
        save_identity(tmp_path / "bytes.onnx", [1, 3, 64, 64], TensorProto.UINT8): "takes tensor(uint8) 1x3x64x64",
        save_identity(tmp_path / "last.onnx", [1, 64, 64, 3]): "takes tensor(float) 1x64x64x3",
        save_identity(tmp_path / "same.onnx", [1, 3, 64, 64]): "outputs of shape 1x3x64x64",
        save_identity(tmp_path / "turned.onnx", [1, 3, 64, 64], metadata={"task": "obb"}): "a model for 'obb'",
    }
    for path, reason in reasons.items():
        problems = check_model(path)
        assert len(problems) == 1, path
        line = str(problems[0])
        assert reason in line, (line, reason)
        assert line.startswith("--model: ")
        assert "\n" not in line
        assert "export" in line or "path" in line or "detection" in line
    assert len(check_model(tmp_path / "empty.onnx")) == 1
    assert check_model(good) == []


def test_unknown_classes_are_problems(tmp_path: Path) -> None:
    good = build(tmp_path / "good.onnx", "anchors", count=420)
    assert check_model(good, classes=["logo", "stamp"]) == []
    (problem,) = check_model(good, classes=["logo", "cat"])
    assert "'cat'; allowed: 'logo, stamp'" in str(problem)
    (problem,) = check_model(build(good, "anchors", count=420, names=False), classes=["logo"])
    assert "names no classes" in str(problem)


@pytest.mark.parametrize("names", ["{0: __import__('os').abort()}", "[" * 500, "{'a': 'b'}", "{0:", "7"])
def test_malformed_metadata_is_ignored(tmp_path: Path, names: str) -> None:
    path = build(tmp_path / "a.onnx", "anchors", count=420, metadata={"names": names, "stride": "x", "imgsz": "[]"})
    network = Network(path)
    assert network.info.names == {}
    assert len(network.detect(draw_image(), 0.5, 0.5).boxes) == 2


def test_unsupported_gpu_is_a_problem() -> None:
    with pytest.raises(UnusableModel, match=r"gpu, but the installed onnxruntime supports none; .*onnxruntime-gpu"):
        _choose_providers("gpu", ["AzureExecutionProvider", "CPUExecutionProvider"])
    chosen = _choose_providers("gpu", ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"])
    assert chosen == ["CUDAExecutionProvider", "CPUExecutionProvider"]


def test_gpu_that_fails_to_start_is_not_replaced_by_the_cpu() -> None:
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    _refuse_fallback(wanted, wanted)
    _refuse_fallback(["CPUExecutionProvider"], ["CPUExecutionProvider"])
    with pytest.raises(UnusableModel, match="CUDAExecutionProvider does not start"):
        _refuse_fallback(wanted, ["CPUExecutionProvider"])
