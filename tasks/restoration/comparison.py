"""Comparison of several presets on the same pieces of one tape: measurements and images side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tasks.media.contact_sheets import draw_contact_sheet, resize_image
from tasks.media.orientation import Converter, ImageArray
from tasks.media.segments.clock import Clock
from tasks.media.segments.plan import Cut, Segment, plan_segments
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.source import Survey, survey_video
from tasks.restoration.chain import Chain
from tasks.restoration.measuring.measure import diagnose

_THUMBNAIL_PX = 480
_EDGE_PERCENTILE = 99.0  # percentile of the gradient that selects edges and little noise
_SOBEL_SUM = 8.0  # response of OpenCV's 3x3 kernel to a slope of one code per pixel


@dataclass(frozen=True)
class Piece:
    """A piece of the tape, restored by a preset.

    file         the restored piece
    cpu_seconds  CPU time of the restoration
    """

    preset: str
    segment: Segment
    file: Path
    chain: Chain
    cpu_seconds: float


@dataclass(frozen=True)
class Figures:
    """The measurements of a piece.

    noise_luma        standard deviation of the remaining noise, in 8-bit codes
    sharpness         slope of the steepest edges (99th percentile of the luma gradient), in codes per pixel
    megabits_per_second  bit rate of the restored video
    cpu_ms_per_frame  CPU time per written frame; None for the tape
    """

    preset: str
    piece: int
    start_seconds: float
    noise_luma: float
    sharpness: float
    megabits_per_second: float
    cpu_ms_per_frame: float | None

    def describe(self) -> str:
        """Return the measurements in one line."""
        text = f"noise {self.noise_luma:.1f}, sharpness {self.sharpness:.0f}, {self.megabits_per_second:.1f} Mbit/s"
        return text if self.cpu_ms_per_frame is None else f"{text}, {self.cpu_ms_per_frame:.0f} ms/frame"


def cut_pieces(
    survey: Survey, context_frames: int, align_frames: int, count: int, seconds: float
) -> tuple[Segment, ...]:
    """Return at most ``count`` pieces of a tape, each about ``seconds`` long, from the middles of equal parts."""
    timeline, frames = survey.timeline, len(survey.timeline)
    length = max(1, round(seconds * frames / max(timeline.duration_seconds, 1e-9)))
    parts = plan_segments(timeline, Cut(count, min_segment_frames=min(frames, length), align_frames=align_frames))
    return tuple(_cut_middle(part, length, frames, context_frames, align_frames) for part in parts)


def _cut_middle(part: Segment, length: int, frames: int, context: int, align: int) -> Segment:
    margin = max(0, len(part) - length) // 2 // align * align
    start = part.start_frame + margin
    end = min(part.end_frame, start + max(align, length // align * align))
    return Segment(part.number, start, end, max(0, start - context), min(frames, end + context))


def compare_pieces(
    source: Path, survey: Survey, tape_bytes: int, pieces: Sequence[Piece]
) -> tuple[bytes, list[Figures]]:
    """Return a JPEG with a column for the tape and one per preset, captioned with the measurements, and these.

    Each piece has two rows: its middle frame, and the center of that frame at twice the size.
    Raises BadInput if the tape or a piece cannot be read.
    """
    rows: dict[int, list[Piece]] = {}
    for piece in pieces:
        rows.setdefault(piece.segment.number, []).append(piece)
    cells: list[tuple[ImageArray | None, str]] = []
    figures: list[Figures] = []
    tape_noise = diagnose(source, survey).noise_luma
    tape_rate = 8e-6 * tape_bytes / max(survey.timeline.duration_seconds, 1e-9)
    with SegmentReader(source, survey) as reader:
        for number, row in sorted(rows.items()):
            views = [_read_restored_view(piece) for piece in row]
            size = (views[0].shape[1], views[0].shape[0])
            before = resize_image(_read_source_view(reader, row[0].segment), size)
            seconds = survey.timeline.seconds(row[0].segment.start_frame)
            measurements = [Figures("tape", number, seconds, tape_noise, _measure_sharpness(before), tape_rate, None)]
            measurements += [_measure_piece(piece, view, seconds) for piece, view in zip(row, views, strict=True)]
            whole = [before, *views]
            names = [f"{entry.preset}, {seconds:.1f} s" for entry in measurements]
            cells += zip(whole, names, strict=True)
            cells += zip(map(_crop_center, whole), (entry.describe() for entry in measurements), strict=True)
            figures += measurements
    columns = 1 + max(len(row) for row in rows.values())
    return draw_contact_sheet(cells, columns, _THUMBNAIL_PX), figures


def _read_source_view(reader: SegmentReader, segment: Segment) -> ImageArray:
    """Return the middle frame of the piece, fields included."""
    middle = (segment.start_frame + segment.end_frame) // 2
    return Converter().convert(next(reader.range(middle, middle + 1)).frame)


def _read_restored_view(piece: Piece) -> ImageArray:
    """Return the restored version of that frame."""
    segment, ratio = piece.segment, piece.chain.ratio
    piece_survey = survey_video(piece.file)
    middle = (segment.start_frame + segment.end_frame) // 2
    place = Clock.written_at(middle, ratio) - Clock.written_at(segment.start_frame, ratio)
    place = min(place, len(piece_survey.timeline) - 1)
    with SegmentReader(piece.file, piece_survey) as reader:
        return Converter().convert(next(reader.range(place, place + 1)).frame)


def _measure_piece(piece: Piece, view: ImageArray, seconds: float) -> Figures:
    piece_survey = survey_video(piece.file)
    return Figures(
        preset=piece.preset,
        piece=piece.segment.number,
        start_seconds=seconds,
        noise_luma=diagnose(piece.file, piece_survey).noise_luma,
        sharpness=_measure_sharpness(view),
        megabits_per_second=8e-6 * piece.file.stat().st_size / max(piece_survey.timeline.duration_seconds, 1e-9),
        cpu_ms_per_frame=1000 * piece.cpu_seconds / len(piece_survey.timeline),
    )


def _measure_sharpness(picture: ImageArray) -> float:
    """Return the steepest horizontal luma gradient, in codes per pixel; fields do not count as edges."""
    luma = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    slopes = np.abs(cv2.Sobel(luma, cv2.CV_32F, 1, 0)) / _SOBEL_SUM
    return float(np.percentile(slopes, _EDGE_PERCENTILE))


def _crop_center(picture: ImageArray) -> ImageArray:
    """Return the center of ``picture``, half as wide and high, which the sheet shows magnified."""
    height, width = picture.shape[:2]
    return picture[height // 4 : height - height // 4, width // 4 : width - width // 4]


def list_rows(figures: Sequence[Figures]) -> Iterator[list[str]]:
    """Yield the rows of a table: the header, then one row per preset and piece."""
    yield ["preset", "piece", "start_seconds", "noise_luma", "sharpness", "megabits_per_second", "cpu_ms_per_frame"]
    for entry in figures:
        cpu = "" if entry.cpu_ms_per_frame is None else f"{entry.cpu_ms_per_frame:.2f}"
        measured = (entry.noise_luma, entry.sharpness, entry.megabits_per_second)
        yield [
            entry.preset,
            str(entry.piece),
            f"{entry.start_seconds:.3f}",
            *(f"{value:.3f}" for value in measured),
            cpu,
        ]
