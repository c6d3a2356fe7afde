"""Contact sheets of sample frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.frames.contact_sheets import render_contact_sheet


def write_image(folder: Path, name: str, width: int, height: int, level: int = 200) -> Path:
    path = folder / name
    cv2.imwrite(str(path), np.full((height, width, 3), level, np.uint8))
    return path


def decode_image(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def test_all_cells_have_equal_size_and_the_margin_is_dark(tmp_path: Path) -> None:
    frames = [(write_image(tmp_path, f"{number}.png", 160, 90), f"{number}.000 s") for number in range(6)]
    image = decode_image(render_contact_sheet(frames, columns=4, thumbnail_width_px=100))
    assert image.shape[1] == 12 + 4 * (100 + 12)
    assert image[:4].max() < 60
    bright = (image.min(axis=2) > 150).sum()
    assert bright > 6 * 100 * 56 * 0.95


def test_odd_shapes_and_broken_files_keep_the_grid(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    frames = [
        (write_image(tmp_path, "wide.png", 160, 90), "a"),
        (
            write_image(tmp_path, "tall.png", 90, 160),
            "a caption that is much too long for its small cell",
        ),
        (tmp_path / "broken.jpg", "größer"),
        (tmp_path / "missing.jpg", ""),
    ]
    assert decode_image(render_contact_sheet(frames, columns=2, thumbnail_width_px=100)).shape[1] == 12 + 2 * 112


def test_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    frames = [(write_image(tmp_path, "a.png", 160, 90), "0.120 s")]
    assert render_contact_sheet(frames) == render_contact_sheet(frames)


def test_contact_sheet_without_frames_raises_value_error() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        render_contact_sheet([])
