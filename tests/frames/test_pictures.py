"""Contact sheets."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.frames.pictures import contact_sheet


def picture(folder: Path, name: str, width: int, height: int, level: int = 200) -> Path:
    path = folder / name
    cv2.imwrite(str(path), np.full((height, width, 3), level, np.uint8))
    return path


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def test_all_cells_are_alike_and_the_margin_is_dark(tmp_path: Path) -> None:
    frames = [(picture(tmp_path, f"{number}.png", 160, 90), f"{number}.000 s") for number in range(6)]
    sheet = decoded(contact_sheet(frames, columns=4, thumbnail_width_px=100))
    assert sheet.shape[1] == 12 + 4 * (100 + 12)
    assert sheet[:4].max() < 60
    bright = (sheet.min(axis=2) > 150).sum()
    assert bright > 6 * 100 * 56 * 0.95


def test_pictures_of_other_shapes_and_broken_files_keep_the_grid(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    frames = [
        (picture(tmp_path, "wide.png", 160, 90), "a"),
        (picture(tmp_path, "tall.png", 90, 160), "a caption that is far too long for its small cell, in every way"),
        (tmp_path / "broken.jpg", "größer"),
        (tmp_path / "missing.jpg", ""),
    ]
    assert decoded(contact_sheet(frames, columns=2, thumbnail_width_px=100)).shape[1] == 12 + 2 * 112


def test_same_bytes(tmp_path: Path) -> None:
    frames = [(picture(tmp_path, "a.png", 160, 90), "0.120 s")]
    assert contact_sheet(frames) == contact_sheet(frames)


def test_no_frames() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        contact_sheet([])
