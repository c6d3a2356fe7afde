"""Checks of option combinations: detector, mask, model, codec, program."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.overlays.options import CleaningOptions, Method, PrepareParams
from tasks.overlays.removal.command import PLACEHOLDERS
from tasks.overlays.request import Detection, check_codec, check_program, read_adjustments, read_detection
from tests.test_docs import ROOT, find_commands, read_rows

PAGE = ROOT / "docs" / "overlay_removal.md"
WORKS = f"{sys.executable} {{input}} {{masks}} {{output}}"


def test_mask_is_a_box_or_an_image(tmp_path: Path) -> None:
    detection, problems = read_detection("mask", " 4,6,20x10 ", None, 0.4, [], "cpu")
    assert (detection.params.mask, detection.extra, problems) == ("4,6,20x10", (), [])
    _, (problem,) = read_detection("mask", None, None, 0.4, [], "cpu")
    assert str(problem).startswith("--mask: missing")
    _, (problem,) = read_detection("mask", "none.png", None, 0.4, [], "cpu")
    assert "none.png" in str(problem)


def test_missing_or_invalid_model_is_a_problem(tmp_path: Path) -> None:
    _, (problem,) = read_detection("yolo", None, None, 0.4, [], "cpu")
    assert str(problem).startswith("--model: missing")
    text = tmp_path / "marks.onnx"
    text.write_text("not a model")
    _, problems = read_detection("yolo", None, text, 0.4, ["logo"], "cpu")
    assert any("marks.onnx" in str(problem) for problem in problems)


def test_options_of_another_detector_are_problems() -> None:
    _, problems = read_detection("static", "0,0,9x9", Path("a.onnx"), 0.4, ["logo"], "cpu")
    assert [str(problem).partition(":")[0] for problem in problems] == ["--mask", "--model", "--classes"]
    assert all("--detector static" in str(problem) for problem in problems)


def test_adjustments_become_parameters_and_inputs(tmp_path: Path) -> None:
    image = tmp_path / "mask.png"
    pixels = np.zeros((8, 8), np.uint8)
    pixels[2:4, 2:4] = 255
    assert cv2.imwrite(str(image), pixels)
    model = Detection(PrepareParams(detector="yolo"), (tmp_path / "model.onnx",))
    detection, problems = read_adjustments(model, [" 1,2,3x4"], [str(image), "5,6,7x8"], ["0-1.5"])
    params = detection.params
    assert problems == []
    assert (params.skip, params.add, params.added_images, params.times) == (("1,2,3x4",), ("5,6,7x8",), 1, ("0-1.5",))
    assert detection.extra == (tmp_path / "model.onnx", image)


def test_invalid_adjustments_are_problems() -> None:
    static = Detection(PrepareParams())
    _, problems = read_adjustments(static, ["banana", "mask.png"], ["none.png", "1,2"], ["9-3"])
    assert [str(problem).partition(":")[0] for problem in problems] == ["--times", "--skip", "--skip", "--add", "--add"]
    _, (problem,) = read_adjustments(Detection(PrepareParams(detector="mask")), ["1,2,3x4"], [], [])
    assert str(problem).startswith("--skip: given with --detector mask")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"codec": "lossless", "crf": 18}, "omit it"),
        ({"codec": "x264", "crf": 60}, "0 to 51"),
        ({"codec": "svtav1", "crf": 60}, ""),
        ({}, ""),
    ],
)
def test_invalid_combinations_of_codec_and_crf_are_problems(options: dict[str, object], said: str) -> None:
    problems = check_codec(CleaningOptions.model_validate(options))
    assert len(problems) == bool(said)
    assert said in " ".join(map(str, problems))


@pytest.mark.parametrize(
    ("method", "command", "devices", "said"),
    [
        ("auto", None, None, []),
        ("auto", WORKS, 2, ["--command: given with --method auto", "--devices: given with --method auto"]),
        ("command", None, None, ["--command: missing"]),
        ("command", WORKS, None, []),
        ("command", WORKS, 4, []),
        ("command", WORKS + " {device}", 4, []),
        ("command", WORKS + " {device}", None, ["--devices: missing, with {device}"]),
        ("command", WORKS + " {{device}}", None, []),
        ("command", "no-such-painter {input} {output}", None, ["no-such-painter", "{masks}"]),
    ],
)
def test_invalid_combinations_of_method_and_command_are_problems(
    method: Method, command: str | None, devices: int | None, said: list[str]
) -> None:
    problems = [str(problem) for problem in check_program(method, command, devices)]
    assert len(problems) == len(said)
    assert all(words in problem for words, problem in zip(said, problems, strict=True)), problems


def test_documentation_lists_all_placeholders_and_a_valid_example() -> None:
    assert sorted({f"{{{name}}}" for name in PLACEHOLDERS} - set(read_rows(PAGE))) == []
    (words,) = [words for words in find_commands(PAGE) if "--command" in words]
    given = words[words.index("--command") + 1]
    assert check_program("command", given, int(words[words.index("--devices") + 1])) == []
    assert re.search(r"inference_propainter\.py .*--save_frames", given)
