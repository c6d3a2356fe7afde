"""Previews of a restored tape: a contact sheet of frames before and after, and a split-screen clip.

Both show the same part of the frame at the same size, in square pixels. The source is shown as it is, fields
included, so that its defects are visible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame

from tasks.media.contact_sheets import draw_contact_sheet, resize_image
from tasks.media.orientation import Converter, ImageArray
from tasks.media.segment_stages.comparing import PairReader, format_timestamp, spread_positions
from tasks.media.segments.clock import Clock, build_clock
from tasks.media.segments.encoding import SegmentEncoder
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.settings import EncoderSettings
from tasks.media.segments.source import Survey, survey_video
from tasks.restoration.chain import Chain, Step

_THUMBNAIL_PX = 480
_SMPTE170M, _LIMITED_RANGE = 6, 1  # as OpenCV converts to YUV
_CLIP = EncoderSettings("x264", crf=25, preset="superfast", gop_frames=50)
_FONT = cv2.FONT_HERSHEY_DUPLEX
_INK, _SHADOW = (240, 240, 240), (20, 20, 20)


@dataclass(frozen=True)
class _Pair:
    """A frame of the source and a restored one: uint8, height x width x 3, BGR, of equal size."""

    seconds: float
    before: ImageArray
    after: ImageArray


def draw_comparison_sheet(source: Path, survey: Survey, restored: Path, chain: Chain, frames: int = 6) -> bytes:
    """Return a contact sheet (JPEG) of ``frames`` frames, evenly spread, one per row: source left, restored right.

    ``survey`` is the survey of ``source``, ``chain`` the chain of ``restored``.
    Raises BadInput if one of the two cannot be read.
    """
    positions = spread_positions(len(survey.timeline), frames)
    cells: list[tuple[ImageArray | None, str]] = []
    with _Videos(source, survey, restored, chain, None) as videos:
        for index in positions:
            pair = next(videos.pairs(index, index + 1))
            stamp = format_timestamp(pair.seconds)
            cells += [(pair.before, f"{stamp} before"), (pair.after, f"{stamp} restored")]
    return draw_contact_sheet(cells, 2, _THUMBNAIL_PX)


def write_split_screen(
    source: Path,
    survey: Survey,
    restored: Path,
    chain: Chain,
    output: Path,
    seconds: float = 10.0,
    height_px: int = 720,
) -> None:
    """Write a clip to ``output`` (.mp4, H.264): ``seconds`` from the middle, or all of a shorter video.

    The left half of each frame is the source, the right half the restored video, scaled down to ``height_px`` if it
    is higher. Frames have the times of the restored video; there is no audio. Equal videos give equal bytes.
    Other arguments and errors: see ``draw_comparison_sheet``.
    """
    start, end = _find_middle(survey, seconds, chain.ratio.denominator)
    clock = build_clock(survey.timeline, chain.ratio).part(start, end)
    with (
        _Videos(source, survey, restored, chain, height_px) as videos,
        SegmentEncoder(output, _CLIP, _get_clip_format(videos.size), clock) as encoder,
    ):
        for pair in videos.pairs(start, end):
            encoder.write(_to_video_frame(_join_halves(pair)))


class _Videos(PairReader):
    """Source and restored video, opened. Use it in a ``with`` block.

    ``size`` is the width and height of both previews: that of the restored video in square pixels, both even, at most
    ``height_px`` high.
    """

    def __init__(self, source: Path, survey: Survey, restored: Path, chain: Chain, height_px: int | None) -> None:
        restored_survey = survey_video(restored)
        self.size = _choose_size(restored_survey, height_px)
        self._timeline, self._ratio = survey.timeline, chain.ratio
        self._written = len(restored_survey.timeline)
        self._cropper = _Cropper(chain.steps)
        self._converter = Converter()
        super().__init__(source, survey, restored, restored_survey)

    def pairs(self, start_frame: int, end_frame: int) -> Iterator[_Pair]:
        """Yield a pair per restored frame for the source frames from ``start_frame`` to ``end_frame``, exclusive.

        There is at least one pair, even if the source frame was dropped.
        """
        start = min(Clock.written_at(start_frame, self._ratio), self._written - 1)
        end = min(max(start + 1, Clock.written_at(end_frame, self._ratio)), self._written)
        frames = self.before.range(start_frame, end_frame)
        read = next(frames)
        before = self._scale_frame(self._cropper.crop(read.frame))
        for after in self.after.range(start, end):
            while read.index < min(int(after.index / self._ratio), end_frame - 1):
                read = next(frames)
                before = self._scale_frame(self._cropper.crop(read.frame))
            yield _Pair(self._timeline.seconds(read.index), before, self._scale_frame(after.frame))

    def _scale_frame(self, frame: VideoFrame) -> ImageArray:
        return resize_image(self._converter.convert(frame), self.size)


class _Cropper:
    """Crops frames as a chain does."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = [step for step in steps if step.filter == "crop"]
        self._graph: Graph | None = None

    def crop(self, frame: VideoFrame) -> VideoFrame:
        """Return the cropped frame; all frames must have the same format."""
        if not self._steps:
            return frame
        if self._graph is None:
            self._graph = self._build_graph(frame)
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _build_graph(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        time_base = frame.time_base or Fraction(1)
        crops = [graph.add("crop", **step.options) for step in self._steps]
        first = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
        graph.link_nodes(first, *crops, graph.add("buffersink")).configure()
        return graph


def _choose_size(restored_survey: Survey, height_px: int | None) -> tuple[int, int]:
    """Return the width and height of upright restored frames in square pixels."""
    picture = restored_survey.picture
    width, height = picture.width_px * picture.sample_aspect, Fraction(picture.height_px)
    if restored_survey.display_matrix and restored_survey.display_matrix[0] == 0:  # rotated by 90 degrees
        width, height = height, width
    shrink = min(Fraction(1), Fraction(height_px) / height) if height_px else Fraction(1)
    return 2 * max(1, round(width * shrink / 2)), 2 * max(1, round(height * shrink / 2))


def _find_middle(survey: Survey, seconds: float, align_frames: int) -> tuple[int, int]:
    """Return the middle part of the source, half-open; its start is a multiple of ``align_frames``."""
    timeline = survey.timeline
    begin = max(0.0, (timeline.duration_seconds - seconds) / 2)
    start = (timeline.index_at(begin) or 0) // align_frames * align_frames
    end = timeline.index_at(timeline.seconds(start) + seconds)
    return start, len(timeline) if end is None else max(start + 1, end)


def _get_clip_format(size: tuple[int, int]) -> PictureFormat:
    return PictureFormat(
        *size,
        "yuv420p",
        field_order="progressive",
        primaries=_SMPTE170M,
        transfer=_SMPTE170M,
        matrix=_SMPTE170M,
        color_range=_LIMITED_RANGE,
    )


def _join_halves(pair: _Pair) -> ImageArray:
    """Return a frame with both halves, a line between them and a label on each side."""
    width = pair.after.shape[1]
    image = pair.after.copy()
    image[:, : width // 2] = pair.before[:, : width // 2]
    image[:, width // 2 - 1 : width // 2 + 1] = _INK
    _write(image, "before", 0, width // 2)
    _write(image, "restored", width // 2, width)
    return image


def _write(image: ImageArray, word: str, left: int, right: int) -> None:
    """Write ``word`` at the top between these columns, if it fits."""
    scale = image.shape[0] / 720
    (wide, tall), _ = cv2.getTextSize(word, _FONT, scale, 1)
    origin = (left + right - wide) // 2, 2 * tall
    if wide < right - left:
        for color, thickness in ((_SHADOW, 4), (_INK, 1)):
            cv2.putText(image, word, origin, _FONT, scale, color, thickness, cv2.LINE_AA)


def _to_video_frame(image: ImageArray) -> VideoFrame:
    planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), dtype=np.uint8)
    return VideoFrame.from_ndarray(planes, format="yuv420p")
