"""What a sample looks like at a glance: a sheet of a few of its frames, and the samples that the report shows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tasks.engine.contract.stage import get_published_file
from tasks.engine.reporting.report import Picture as ReportImage
from tasks.landmarks.drawing import draw, found_words
from tasks.landmarks.points import Skeleton
from tasks.landmarks.sequence import Points, RgbImage, Source, Sources
from tasks.media.sheets import fitting_size, scaled, sheet

_MOST_FRAMES = 6
_COLUMNS = 3
_THUMBNAIL_PX = 260  # wide, and at most as high
_QUALITY = 65
_JPEG_START = b"\xff\xd8\xff"
_COVERAGES = ("hand_coverage", "pose_coverage", "face_coverage")  # what matters more comes first


@dataclass(frozen=True)
class _Kept:
    """A frame that may get onto the sheet: small, not drawn on yet; ``picture`` is None for a bad one."""

    frame_index: int
    image: RgbImage | None
    points: Points
    source: Sources


class Strip:
    """Up to ``most`` frames of a sample, evenly through it, as one JPEG with the skeletons.

    With the number of ``frames`` known, just these frames are made small, and the others cost nothing. Without it,
    each ``stride``-th frame is kept, and the stride doubles as soon as there are more than twice as many as wanted:
    of n frames, about ``most`` (1 + log2(n / ``most``)) are made small, and never more than 2 ``most`` + 1 are held.
    """

    def __init__(self, skeleton: Skeleton, frames: int | None = None, most: int = _MOST_FRAMES) -> None:
        """Raises ValueError where ``most`` or ``frames`` is below 1."""
        if most < 1 or (frames is not None and frames < 1):
            raise ValueError(f"a strip needs at least one frame: most={most}, frames={frames}")
        self._skeleton = skeleton
        self._most = most
        self._wanted = None if frames is None else frozenset(_spread(frames, most))
        self._stride = 1
        self._kept: list[_Kept] = []

    def wants(self, frame_index: int) -> bool:
        """Whether ``add`` would do anything with that frame. Frames come in rising order."""
        return frame_index % self._stride == 0 if self._wanted is None else frame_index in self._wanted

    def add(self, frame_index: int, image: RgbImage | None, points: Points, source: Sources) -> None:
        """The next frame; None for one that could not be read. ``points`` and ``source`` as ``draw`` takes them."""
        if not self.wants(frame_index):
            return
        small = None if image is None else _small(image)
        self._kept.append(_Kept(frame_index, small, points.copy(), source.copy()))
        if self._wanted is None and len(self._kept) > 2 * self._most:
            self._stride *= 2
            self._kept = [kept for kept in self._kept if self.wants(kept.frame_index)]

    def jpeg(self) -> bytes:
        """The sheet. Raises ValueError where no frame was added."""
        chosen = [self._kept[place] for place in _spread(len(self._kept), self._most)]
        pictures = [(self._drawn(kept), _stamp(kept, self._skeleton)) for kept in chosen]
        return sheet(pictures, _COLUMNS, _THUMBNAIL_PX, _QUALITY)

    def _drawn(self, kept: _Kept) -> RgbImage | None:
        """BGR, as sheets take it."""
        if kept.image is None:
            return None
        rgb = draw(kept.image, kept.points, self._skeleton, kept.source)
        return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), dtype=np.uint8)


def _spread(frames: int, most: int) -> list[int]:
    """Numbers of at most ``most`` of ``frames`` frames: the first, the last, and evenly between."""
    return sorted({int(place) for place in np.rint(np.linspace(0, frames - 1, min(frames, most)))})


def _small(image: RgbImage) -> RgbImage:
    """``picture`` as a thumbnail; not a view, since the reader may reuse its memory."""
    small = scaled(image, fitting_size(image, _THUMBNAIL_PX, _THUMBNAIL_PX))
    return small.copy() if small is image else small


def _stamp(kept: _Kept, skeleton: Skeleton) -> str:
    """What is written under a frame."""
    number = f"frame {kept.frame_index}"
    if kept.image is None:
        return f"{number}: not readable"
    if not kept.source.any():
        return f"{number}: nothing found"
    rescued = found_words(skeleton, kept.source, Source.RESCUED)
    return f"{number}: {' and '.join(rescued)} rescued" if rescued else number


@dataclass(frozen=True)
class PreviewRow:
    """What the report needs to know of a sample. Plain values: it goes through a record as JSON.

    coverage  ``hand_coverage``, ``pose_coverage`` and ``face_coverage`` as in ``extraction_metrics.csv``, 0..1; None,
              or not there, for what the model does not look for. Other columns may be there too
    path      of the sheet, relative to the output folder; ``sha256`` of it where the sheet must still be that one
    """

    name: str
    split: str
    coverage: Mapping[str, float | None]
    frames: int
    path: str
    sha256: str | None = None


def best_and_worst(rows: Sequence[PreviewRow], output_dir: Path, most: int = 6) -> list[ReportImage]:
    """The sheets of at most ``most`` samples: first the worst half, worst first, then the best half, best first.

    Samples rank by the coverage of hands, then of the pose, then of the face, and where these are the same by split
    and name, so that the report is always the same. No sample comes twice; one whose sheet is gone, or is no longer
    what its stage made, makes room for the next.
    """
    half = min(-(-most // 2), max(1, len(rows) // 2))
    worst = _there(sorted(rows, key=lambda row: _rank(row, 1)), output_dir, half)
    taken = {(row.split, row.name) for row, _ in worst}
    others = [row for row in rows if (row.split, row.name) not in taken]
    best = _there(sorted(others, key=lambda row: _rank(row, -1)), output_dir, most // 2)
    if len(rows) == 1:
        return [_picture(row, data, "") for row, data in worst]
    return [
        *(_picture(row, data, "Among the lowest coverage: ") for row, data in worst),
        *(_picture(row, data, "Among the highest coverage: ") for row, data in best),
    ]


def _rank(row: PreviewRow, sign: int) -> tuple[list[float], str, str]:
    """Sorts the worst first with ``sign`` 1, the best first with -1; equals by split and name either way."""
    return [sign * (row.coverage.get(name) or 0.0) for name in _COVERAGES], row.split, row.name


def _there(rows: Sequence[PreviewRow], output_dir: Path, most: int) -> list[tuple[PreviewRow, bytes]]:
    """The first ``most`` of ``rows`` whose sheets are there, with these."""
    found: list[tuple[PreviewRow, bytes]] = []
    for row in rows:
        if len(found) >= most:
            break
        data = _content(row, output_dir)
        if data is not None:
            found.append((row, data))
    return found


def _content(row: PreviewRow, output_dir: Path) -> bytes | None:
    """The file of the sheet; None where it is gone or another."""
    try:
        data = get_published_file(output_dir, row.path).read_bytes()
    except OSError:
        return None
    is_its_own = row.sha256 is None or hashlib.sha256(data).hexdigest() == row.sha256
    return data if is_its_own and data.startswith(_JPEG_START) else None


def _picture(row: PreviewRow, data: bytes, why: str) -> ReportImage:
    shares = [(name.removesuffix("_coverage"), row.coverage.get(name)) for name in _COVERAGES]
    known = [f"{word} {share:.0%}" for word, share in shares if share is not None]
    frames = f"{row.frames} frame" if row.frames == 1 else f"{row.frames} frames"
    return ReportImage(f"{row.split}/{row.name}", f"{why}{', '.join([*known, frames])}", data)
