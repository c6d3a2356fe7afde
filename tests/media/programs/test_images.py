"""Pictures that a program made belong to those that it was given: by their names, else by their order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.media.programs.images import IMAGE_NAMES, choose_rgb_format, find_images, read_image
from tasks.media.segments.errors import SegmentError

COUNT = 12


@pytest.fixture
def given(tmp_path: Path) -> Path:
    return filled(tmp_path / "given", (IMAGE_NAMES % number for number in range(COUNT)))


def filled(folder: Path, names: Iterable[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    "pattern",
    ["{:08}.png", "{:08}_out.png", "{}.png", "frame-{}.png", "{:04}.png", "video/frames/{:04}.png", "{:08}/made.png"],
)
def test_images_are_matched_by_name(pattern: str, given: Path, tmp_path: Path) -> None:
    names = [pattern.format(number) for number in range(COUNT)]
    made = filled(tmp_path / "made", reversed(names))
    assert [file.relative_to(made).as_posix() for file in find_images(given, made, "paint")] == names


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], r"paint exited without an error, but wrote no image \(\.png\) into made"),
        ([f"{number:08}.png" for number in range(COUNT - 2)], r"wrote none for 2, the first is 00000010\.png"),
        ([f"{number:08}.png" for number in range(COUNT + 1)], r"wrote too many images: 1 extra, the first is 00000012"),
        ([f"{number}.png" for number in range(COUNT - 1)], "got 12 images and wrote 11, with other names"),
    ],
)
def test_wrong_number_of_images_is_an_error(names: list[str], words: str, given: Path, tmp_path: Path) -> None:
    with pytest.raises(SegmentError, match=words):
        find_images(given, filled(tmp_path / "made", names), "paint")


@pytest.mark.parametrize(("kind", "name"), [(np.uint8, "rgb24"), (np.uint16, "rgb48le")])
def test_images_keep_their_bit_depth(kind: type, name: str, tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, np.iinfo(kind).max, (6, 10, 3), kind)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    found = read_image(tmp_path / "a.png", "paint")
    assert choose_rgb_format(found) == name
    assert np.array_equal(found.reformat(format=name).to_ndarray()[..., ::-1], picture)


def test_invalid_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("words")
    with pytest.raises(SegmentError, match=r"the image a\.png written by paint cannot be read"):
        read_image(tmp_path / "a.png", "paint")
