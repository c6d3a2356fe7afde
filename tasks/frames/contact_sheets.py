"""Contact sheets of a sample's frames, for the report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tasks.engine.contract.stage import get_published_file
from tasks.engine.reporting.report import Picture as ReportImage
from tasks.media.contact_sheets import draw_contact_sheet
from tasks.media.orientation import ImageArray


def render_contact_sheet(frames: Sequence[tuple[Path, str]], columns: int = 4, thumbnail_width_px: int = 240) -> bytes:
    """Return a contact sheet of image files with captions as a JPEG; see ``draw_contact_sheet``.

    An unreadable file leaves its cell empty. Raises ValueError if there are no frames.
    """
    return draw_contact_sheet([(_read_image(path), caption) for path, caption in frames], columns, thumbnail_width_px)


def _read_image(path: Path) -> ImageArray | None:
    """Read an image file as uint8, height x width x 3, BGR; None if it is not an image."""
    try:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # larger than OpenCV's limit
        return None
    return None if image is None else np.asarray(image, dtype=np.uint8)


def render_contact_sheets(
    samples: Iterable[Mapping[str, Any]],
    output_dir: Path,
    max_samples: int = 12,
    titles: Mapping[str, str] | None = None,
) -> list[ReportImage]:
    """Return a contact sheet for at most ``max_samples`` samples, evenly spaced, for the report.

    ``samples`` are the details of the frames stage, with paths relative to ``output_dir``. A file that differs from the
    published one is not decoded. ``titles`` are the samples' names by id.
    """
    names = titles or {}
    candidates = [sample for sample in samples if sample["frames"]]
    chosen = candidates[:: max(1, -(-len(candidates) // max_samples))]
    return [sheet for sample in chosen if (sheet := _render_sample(sample, output_dir, names))]


def _render_sample(sample: Mapping[str, Any], output_dir: Path, titles: Mapping[str, str]) -> ReportImage | None:
    frames = [
        (output_dir / frame["path"], _format_caption(frame))
        for frame in sample["frames"]
        if _is_unaltered(output_dir, frame)
    ]
    if not frames:
        return None
    outside = len(sample["outside_seconds"])
    missed = f", {outside} requested outside the video" if outside else ""
    bad = len(sample["bad_frames"])
    damaged = f", {bad} damaged or missing" if bad else ""
    caption = f"{sample['video']}: {len(frames)} frames, * requested{missed}{damaged}"
    return ReportImage(titles.get(sample["id"], sample["id"]), caption, render_contact_sheet(frames))


def _is_unaltered(output_dir: Path, frame: Mapping[str, Any]) -> bool:
    """Return True if the file of ``frame`` is the one that the stage published."""
    try:
        with get_published_file(output_dir, frame["path"]).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == str(frame["sha256"])
    except OSError:
        return False


def _format_caption(frame: Mapping[str, Any]) -> str:
    """Return the time when the frame is displayed, with a star if the manifest requested it."""
    return f"{frame['actual_seconds']:.2f} s" + (" *" if frame["source"] == "support" else "")
