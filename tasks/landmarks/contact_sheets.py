"""Contact sheet of a sample's frames, and the samples in the report."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tasks.engine.contract.stage import get_published_file
from tasks.engine.reporting.report import Picture as ReportImage
from tasks.landmarks.drawing import draw, list_words
from tasks.landmarks.points import Skeleton
from tasks.landmarks.sequence import Points, RgbImage, Source, Sources
from tasks.media.contact_sheets import draw_contact_sheet, fit_size, resize_image

_MAX_FRAMES = 6
_COLUMNS = 3
_THUMBNAIL_PX = 260  # width, and maximum height
_QUALITY = 65
_JPEG_START = b"\xff\xd8\xff"
_COVERAGES = ("hand_coverage", "pose_coverage", "face_coverage")  # most important first


@dataclass(frozen=True)
class _KeptFrame:
    """A candidate frame for the contact sheet: a thumbnail without landmarks; ``image`` is None for a bad one."""

    frame_index: int
    image: RgbImage | None
    points: Points
    source: Sources


class ContactSheet:
    """Shows up to ``max_frames`` frames of a sample, evenly spaced, with their skeletons in one JPEG.

    If the number of ``frames`` is known, only these frames are scaled. Otherwise every ``stride``-th frame is kept, and
    the stride doubles when there are more than twice as many as needed: of n frames, about ``max_frames`` (1 + log2(n /
    ``max_frames``)) are scaled, and at most 2 ``max_frames`` + 1 are in memory.
    """

    def __init__(self, skeleton: Skeleton, frames: int | None = None, max_frames: int = _MAX_FRAMES) -> None:
        """Raises ValueError if ``max_frames`` or ``frames`` is below 1."""
        if max_frames < 1 or (frames is not None and frames < 1):
            raise ValueError(f"a contact sheet needs at least one frame: max_frames={max_frames}, frames={frames}")
        self._skeleton = skeleton
        self._max_frames = max_frames
        self._selected = None if frames is None else frozenset(_choose_evenly(frames, max_frames))
        self._stride = 1
        self._kept: list[_KeptFrame] = []

    def needs(self, frame_index: int) -> bool:
        """Return True if ``add`` would use that frame. Frames must come in increasing order."""
        return frame_index % self._stride == 0 if self._selected is None else frame_index in self._selected

    def add(self, frame_index: int, image: RgbImage | None, points: Points, source: Sources) -> None:
        """Add the next frame; None for an unreadable one. ``points`` and ``source`` are as in ``draw``."""
        if not self.needs(frame_index):
            return
        small = None if image is None else _create_thumbnail(image)
        self._kept.append(_KeptFrame(frame_index, small, points.copy(), source.copy()))
        if self._selected is None and len(self._kept) > 2 * self._max_frames:
            self._stride *= 2
            self._kept = [kept for kept in self._kept if self.needs(kept.frame_index)]

    def encode_jpeg(self) -> bytes:
        """Return the contact sheet. Raises ValueError if no frame was added."""
        chosen = [self._kept[place] for place in _choose_evenly(len(self._kept), self._max_frames)]
        pictures = [(self._draw(kept), _format_caption(kept, self._skeleton)) for kept in chosen]
        return draw_contact_sheet(pictures, _COLUMNS, _THUMBNAIL_PX, _QUALITY)

    def _draw(self, kept: _KeptFrame) -> RgbImage | None:
        """Return the frame with its landmarks in BGR, as ``sheet`` expects it."""
        if kept.image is None:
            return None
        rgb = draw(kept.image, kept.points, self._skeleton, kept.source)
        return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), dtype=np.uint8)


def _choose_evenly(frames: int, max_frames: int) -> list[int]:
    """Return the indices of at most ``max_frames`` of ``frames`` frames: the first, the last, and evenly between."""
    return sorted({int(place) for place in np.rint(np.linspace(0, frames - 1, min(frames, max_frames)))})


def _create_thumbnail(image: RgbImage) -> RgbImage:
    """Return ``image`` as a thumbnail; a copy, because the reader may reuse its memory."""
    small = resize_image(image, fit_size(image, _THUMBNAIL_PX, _THUMBNAIL_PX))
    return small.copy() if small is image else small


def _format_caption(kept: _KeptFrame, skeleton: Skeleton) -> str:
    """Return the caption of a frame."""
    number = f"frame {kept.frame_index}"
    if kept.image is None:
        return f"{number}: not readable"
    if not kept.source.any():
        return f"{number}: no landmarks"
    rescued = list_words(skeleton, kept.source, Source.RESCUED)
    return f"{number}: {' and '.join(rescued)} rescued" if rescued else number


@dataclass(frozen=True)
class PreviewRow:
    """Data of one sample for the report. Plain values, because they pass through a record as JSON.

    coverage  ``hand_coverage``, ``pose_coverage`` and ``face_coverage`` as in ``extraction_metrics.csv``, 0..1; None or
              absent for parts that the model does not detect. Other columns may be present too
    path      contact sheet, relative to the output folder; ``sha256`` is its digest if it must be verified
    """

    name: str
    split: str
    coverage: Mapping[str, float | None]
    frames: int
    path: str
    sha256: str | None = None


def choose_previews(rows: Sequence[PreviewRow], output_dir: Path, max_samples: int = 6) -> list[ReportImage]:
    """Return contact sheets for at most ``max_samples`` samples: first the worst half, worst first, then the best half.

    Samples are ranked by the coverage of the hands, then the pose, then the face, then by split and name, so that the
    report is reproducible. No sample appears twice. A sample whose contact sheet is missing or was changed is replaced
    by the next one.
    """
    half = min(-(-max_samples // 2), max(1, len(rows) // 2))
    worst = _read_existing(sorted(rows, key=lambda row: _rank(row, 1)), output_dir, half)
    chosen = {(row.split, row.name) for row, _ in worst}
    others = [row for row in rows if (row.split, row.name) not in chosen]
    best = _read_existing(sorted(others, key=lambda row: _rank(row, -1)), output_dir, max_samples // 2)
    if len(rows) == 1:
        return [_create_report_image(row, data, "") for row, data in worst]
    return [
        *(_create_report_image(row, data, "Among the lowest coverage: ") for row, data in worst),
        *(_create_report_image(row, data, "Among the highest coverage: ") for row, data in best),
    ]


def _rank(row: PreviewRow, sign: int) -> tuple[list[float], str, str]:
    """Return the sort key: worst first with ``sign`` 1, best first with -1; ties by split and name."""
    return [sign * (row.coverage.get(name) or 0.0) for name in _COVERAGES], row.split, row.name


def _read_existing(rows: Sequence[PreviewRow], output_dir: Path, max_samples: int) -> list[tuple[PreviewRow, bytes]]:
    """Return the first ``max_samples`` of ``rows`` whose contact sheets exist, with the files' contents."""
    existing: list[tuple[PreviewRow, bytes]] = []
    for row in rows:
        if len(existing) >= max_samples:
            break
        data = _read_sheet(row, output_dir)
        if data is not None:
            existing.append((row, data))
    return existing


def _read_sheet(row: PreviewRow, output_dir: Path) -> bytes | None:
    """Return the contents of the contact sheet; None if it is missing or was changed."""
    try:
        data = get_published_file(output_dir, row.path).read_bytes()
    except OSError:
        return None
    is_unchanged = row.sha256 is None or hashlib.sha256(data).hexdigest() == row.sha256
    return data if is_unchanged and data.startswith(_JPEG_START) else None


def _create_report_image(row: PreviewRow, data: bytes, prefix: str) -> ReportImage:
    shares = [(name.removesuffix("_coverage"), row.coverage.get(name)) for name in _COVERAGES]
    figures = [f"{word} {share:.0%}" for word, share in shares if share is not None]
    frames = f"{row.frames} frame" if row.frames == 1 else f"{row.frames} frames"
    return ReportImage(f"{row.split}/{row.name}", f"{prefix}{', '.join([*figures, frames])}", data)
