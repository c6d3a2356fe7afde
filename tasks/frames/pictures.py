"""Contact sheets of the frames of a sample, for the report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tasks.engine.contract.stage import published_file
from tasks.engine.reporting.report import Picture as SheetPicture
from tasks.media.orientation import Picture
from tasks.media.sheets import sheet


def contact_sheet(frames: Sequence[tuple[Path, str]], columns: int = 4, thumbnail_width_px: int = 240) -> bytes:
    """A JPEG of all ``frames``, given as image files with their captions: :func:`tasks.media.sheets.sheet`.

    A file that is no picture leaves its cell empty. Raises ValueError where there are no frames.
    """
    return sheet([(_picture(path), caption) for path, caption in frames], columns, thumbnail_width_px)


def _picture(path: Path) -> Picture | None:
    """The image file as uint8, height x width x 3, BGR; ``None`` where it is none."""
    try:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # it says that it is larger than OpenCV reads
        return None
    return None if picture is None else np.asarray(picture, dtype=np.uint8)


def sheets(
    samples: Iterable[Mapping[str, Any]], output_dir: Path, most: int = 12, titles: Mapping[str, str] | None = None
) -> list[SheetPicture]:
    """A contact sheet for each of at most ``most`` samples, evenly through them, for the report.

    ``samples`` are the details that the frames stage gives; their paths are relative to ``output_dir``. A file that is
    not what the stage made is not even decoded. ``titles`` are the samples' names by id.
    """
    names = titles or {}
    known = [sample for sample in samples if sample["frames"]]
    chosen = known[:: max(1, -(-len(known) // most))]
    return [sheet for sample in chosen if (sheet := _sheet(sample, output_dir, names))]


def _sheet(sample: Mapping[str, Any], output_dir: Path, titles: Mapping[str, str]) -> SheetPicture | None:
    frames = [
        (output_dir / frame["path"], _stamp(frame)) for frame in sample["frames"] if _is_unaltered(output_dir, frame)
    ]
    if not frames:
        return None
    outside = len(sample["outside_seconds"])
    missed = f", {outside} requested outside the video" if outside else ""
    bad = len(sample["bad_frames"])
    damaged = f", {bad} damaged or missing" if bad else ""
    caption = f"{sample['video']}: {len(frames)} frames, * where requested{missed}{damaged}"
    return SheetPicture(titles.get(sample["id"], sample["id"]), caption, contact_sheet(frames))


def _is_unaltered(output_dir: Path, frame: Mapping[str, Any]) -> bool:
    """Return True if the file of ``frame`` is the one that the stage published."""
    try:
        with published_file(output_dir, frame["path"]).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == str(frame["sha256"])
    except OSError:
        return False


def _stamp(frame: Mapping[str, Any]) -> str:
    """The time at which the frame is shown; a star where the manifest asked for it."""
    return f"{frame['actual_seconds']:.2f} s" + (" *" if frame["source"] == "support" else "")
