"""Fixtures for the tests of landmark extraction.

write_image  writes a small image with its number as pixel value to a path
release      writes a miniature PHOENIX release, with its original tables and folders
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MULTISIGNER = "phoenix2014-release/phoenix-2014-multisigner"
SI5 = "phoenix2014-release/phoenix-2014-signerindependent-SI5"
TRANSLATION = "PHOENIX-2014-T-release-v3/PHOENIX-2014-T"
FRAMES = "features/fullFrame-210x260px"


def save_image(path: Path, number: int = 0, size: tuple[int, int] = (8, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), number, np.uint8)).save(path)
    return path


@pytest.fixture
def write_image() -> Callable[..., Path]:
    return save_image


@dataclass(frozen=True)
class Release:
    """A PHOENIX release below ``root``, and methods to add samples and tables to it."""

    root: Path
    folder: str
    inner: str
    frames: str = FRAMES

    @property
    def path(self) -> Path:
        return self.root / self.folder

    def add_sample(self, split: str, name: str, images: int = 2) -> Path:
        """Add a sample with its images, named as in the release."""
        folder = self.path / self.frames / split / name / self.inner
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(images):
            save_image(folder / self._get_file_name(name, number), number)
        return folder

    def write_table(self, split: str, rows: Sequence[str], name: str | None = None) -> Path:
        """Write the corpus table of ``split`` with the header of the release."""
        header = "name|video|start|end|speaker|orth|translation" if self._is_2014t else "id|folder|signer|annotation"
        pattern = "PHOENIX-2014-T.{}.corpus.csv" if self._is_2014t else "{}.corpus.csv"
        pattern = "{}.SI5.corpus.csv" if self.folder == SI5 else pattern
        path = self.path / "annotations" / "manual" / (name or pattern.format(split))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return path

    @property
    def _is_2014t(self) -> bool:
        return self.folder == TRANSLATION

    def _get_file_name(self, name: str, number: int) -> str:
        return f"images{number + 1:04}.png" if self._is_2014t else f"{name}.avi_pid0_fn{number:06}-0.png"


@pytest.fixture
def release(tmp_path: Path) -> Callable[..., Release]:
    def create_release(folder: str = MULTISIGNER, frames: str = FRAMES) -> Release:
        return Release(tmp_path / "data", folder, "" if folder == TRANSLATION else "1", frames)

    return create_release
