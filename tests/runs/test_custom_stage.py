"""Test that the example of ``docs/custom_stage.md`` runs and that the page shows its code."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

import tasks.api
from tests.runs.bench import ROOT, Bench

EXAMPLE = ROOT / "examples" / "thumbnails.py"


def test_example_writes_thumbnails_and_reports_a_damaged_image(bench: Bench, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    cv2.imwrite(str(images / "good.png"), np.zeros((480, 640, 3), np.uint8))
    (images / "damaged.png").write_text("not an image")
    options = ("--images", images, "--output-dir", bench.output, "--workers", 1)
    assert bench.run(*options, flow="examples.thumbnails", small=False) == 3
    assert cv2.imread(str(bench.output / "thumbnails" / "good.png.jpg")).shape == (96, 128, 3)
    (failure,) = json.loads((bench.output / "failures.json").read_bytes())
    assert (failure["name"], failure["failure_kind"]) == ("damaged.png", "bad_input")


def test_page_shows_the_code_of_the_example() -> None:
    page = (ROOT / "docs" / "custom_stage.md").read_text(encoding="utf-8")
    assert EXAMPLE.read_text(encoding="utf-8").rstrip() in page


def test_public_api_has_all_listed_names() -> None:
    assert [name for name in tasks.api.__all__ if not hasattr(tasks.api, name)] == []
