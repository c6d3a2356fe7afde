"""Several presets on the same pieces of one tape: what each made of them, in figures and side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tasks.media.orientation import Converter, Picture
from tasks.media.segments.clock import Clock
from tasks.media.segments.plan import Cut, Segment, plan_segments
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.source import Survey, survey_video
from tasks.media.sheets import scaled, sheet
from tasks.restoration.chain import Chain
from tasks.restoration.measuring.measure import diagnose

_THUMBNAIL_PX = 480
_STRONG = 99.0  # percentile of the gradient: edges, which noise hardly reaches
_SOBEL_SUM = 8.0  # what OpenCV's kernel of 3 makes of a slope of one code a pixel


@dataclass(frozen=True)
class Piece:
    """One piece of the tape as one preset restored it.

    file         of the restored piece
    cpu_seconds  that restoring it took
    """

    preset: str
    segment: Segment
    file: Path
    chain: Chain
    cpu_seconds: float


@dataclass(frozen=True)
class Figures:
    """What is measured in a piece.

    noise_luma        standard deviation of what noise is left, in 8-bit codes
    sharpness         slope of its steepest edges (99th percentile of the luma's gradient), in codes a pixel
    megabits_per_second  of the restored video
    cpu_ms_per_frame  that restoring took, for each frame that was written; None for the tape itself
    """

    preset: str
    piece: int
    start_seconds: float
    noise_luma: float
    sharpness: float
    megabits_per_second: float
    cpu_ms_per_frame: float | None

    def words(self) -> str:
        """The figures in one line."""
        words = f"noise {self.noise_luma:.1f}, sharpness {self.sharpness:.0f}, {self.megabits_per_second:.1f} Mbit/s"
        return words if self.cpu_ms_per_frame is None else f"{words}, {self.cpu_ms_per_frame:.0f} ms/frame"


def cut_pieces(
    found: Survey, context_frames: int, align_frames: int, count: int, seconds: float
) -> tuple[Segment, ...]:
    """``count`` pieces of a tape, each about ``seconds`` long, from the middles of equal parts; or fewer."""
    timeline, frames = found.timeline, len(found.timeline)
    length = max(1, round(seconds * frames / max(timeline.duration_seconds, 1e-9)))
    parts = plan_segments(timeline, Cut(count, min_segment_frames=min(frames, length), align_frames=align_frames))
    return tuple(_middle(part, length, frames, context_frames, align_frames) for part in parts)


def _middle(part: Segment, length: int, frames: int, context: int, align: int) -> Segment:
    spare = max(0, len(part) - length) // 2 // align * align
    start = part.start_frame + spare
    end = min(part.end_frame, start + max(align, length // align * align))
    return Segment(part.number, start, end, max(0, start - context), min(frames, end + context))


def compare(source: Path, found: Survey, tape_bytes: int, pieces: Sequence[Piece]) -> tuple[bytes, list[Figures]]:
    """A JPEG with a column for the tape and one a preset, and the figures under its pictures.

    Each piece has two rows: its middle frame, and the middle of that at twice the size.
    Raises BadInput where the tape or a piece cannot be read.
    """
    rows: dict[int, list[Piece]] = {}
    for piece in pieces:
        rows.setdefault(piece.segment.number, []).append(piece)
    cells: list[tuple[Picture | None, str]] = []
    figures: list[Figures] = []
    own_noise = diagnose(source, found).noise_luma
    own_rate = 8e-6 * tape_bytes / max(found.timeline.duration_seconds, 1e-9)
    with SegmentReader(source, found) as reader:
        for number, row in sorted(rows.items()):
            views = [_restored_view(piece) for piece in row]
            size = (views[0].shape[1], views[0].shape[0])
            before = scaled(_source_view(reader, row[0].segment), size)
            seconds = found.timeline.seconds(row[0].segment.start_frame)
            told = [Figures("tape", number, seconds, own_noise, _sharpness(before), own_rate, None)]
            told += [_measured(piece, view, seconds) for piece, view in zip(row, views, strict=True)]
            whole = [before, *views]
            names = [f"{one.preset}, {seconds:.1f} s" for one in told]
            cells += zip(whole, names, strict=True)
            cells += zip(map(_enlarged, whole), (one.words() for one in told), strict=True)
            figures += told
    columns = 1 + max(len(row) for row in rows.values())
    return sheet(cells, columns, _THUMBNAIL_PX), figures


def _source_view(reader: SegmentReader, segment: Segment) -> Picture:
    """The frame in the middle of the piece, fields and all."""
    middle = (segment.start_frame + segment.end_frame) // 2
    return Converter().picture(next(reader.range(middle, middle + 1)).frame)


def _restored_view(piece: Piece) -> Picture:
    """What was made of that frame."""
    segment, ratio = piece.segment, piece.chain.ratio
    made = survey_video(piece.file)
    middle = (segment.start_frame + segment.end_frame) // 2
    place = Clock.written_at(middle, ratio) - Clock.written_at(segment.start_frame, ratio)
    place = min(place, len(made.timeline) - 1)
    with SegmentReader(piece.file, made) as reader:
        return Converter().picture(next(reader.range(place, place + 1)).frame)


def _measured(piece: Piece, view: Picture, seconds: float) -> Figures:
    made = survey_video(piece.file)
    return Figures(
        preset=piece.preset,
        piece=piece.segment.number,
        start_seconds=seconds,
        noise_luma=diagnose(piece.file, made).noise_luma,
        sharpness=_sharpness(view),
        megabits_per_second=8e-6 * piece.file.stat().st_size / max(made.timeline.duration_seconds, 1e-9),
        cpu_ms_per_frame=1000 * piece.cpu_seconds / len(made.timeline),
    )


def _sharpness(picture: Picture) -> float:
    """The slope of the steepest edges across the picture, in codes a pixel; fields do not count as edges."""
    luma = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    slopes = np.abs(cv2.Sobel(luma, cv2.CV_32F, 1, 0)) / _SOBEL_SUM
    return float(np.percentile(slopes, _STRONG))


def _enlarged(picture: Picture) -> Picture:
    """The middle of ``picture``, half as wide and high, which a sheet shows larger."""
    height, width = picture.shape[:2]
    return picture[height // 4 : height - height // 4, width // 4 : width - width // 4]


def as_rows(figures: Sequence[Figures]) -> Iterator[list[str]]:
    """The figures as a table: a line of names, then one a preset and piece."""
    yield ["preset", "piece", "start_seconds", "noise_luma", "sharpness", "megabits_per_second", "cpu_ms_per_frame"]
    for one in figures:
        cpu = "" if one.cpu_ms_per_frame is None else f"{one.cpu_ms_per_frame:.2f}"
        measured = (one.noise_luma, one.sharpness, one.megabits_per_second)
        yield [one.preset, str(one.piece), f"{one.start_seconds:.3f}", *(f"{value:.3f}" for value in measured), cpu]
