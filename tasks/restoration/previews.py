"""What restoring a tape has changed, to look at: a sheet of frames before and after, and a clip split down its middle.

Both show the same part of the picture at the same size, in square pixels. The source is shown as it is, fields and
all, so that what was wrong with it can be seen.
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

from tasks.media.orientation import Converter, Picture
from tasks.media.segment_stages.comparing import PairReader, format_timestamp, spread_positions
from tasks.media.segments.clock import Clock, output_clock
from tasks.media.segments.encoding import SegmentEncoder
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.settings import EncoderSettings
from tasks.media.segments.source import Survey, survey_video
from tasks.media.sheets import scaled, sheet
from tasks.restoration.chain import Chain, Step

_THUMBNAIL_PX = 480
_SMPTE170M, _LIMITED_RANGE = 6, 1  # what OpenCV's conversion to YUV gives
_CLIP = EncoderSettings("x264", crf=25, preset="superfast", gop_frames=50)
_FONT = cv2.FONT_HERSHEY_DUPLEX
_INK, _SHADOW = (240, 240, 240), (20, 20, 20)


@dataclass(frozen=True)
class _Pair:
    """A frame of the source and one that was made of it: uint8, height x width x 3, BGR, both of one size."""

    seconds: float
    before: Picture
    after: Picture


def comparison_sheet(source: Path, found: Survey, restored: Path, chain: Chain, frames: int = 6) -> bytes:
    """A JPEG of ``frames`` frames, one a row, evenly through the video: the source's left, the restored one right.

    ``found`` is the survey of ``source``, and ``chain`` what ``restored`` was made with.
    Raises BadInput where one of the two cannot be read.
    """
    wanted = spread_positions(len(found.timeline), frames)
    pictures: list[tuple[Picture | None, str]] = []
    with _Videos(source, found, restored, chain, None) as videos:
        for index in wanted:
            pair = next(videos.pairs(index, index + 1))
            stamp = format_timestamp(pair.seconds)
            pictures += [(pair.before, f"{stamp} before"), (pair.after, f"{stamp} restored")]
    return sheet(pictures, 2, _THUMBNAIL_PX)


def split_screen(
    source: Path,
    found: Survey,
    restored: Path,
    chain: Chain,
    output: Path,
    seconds: float = 10.0,
    height_px: int = 720,
) -> None:
    """Write a clip to ``output`` (.mp4, H.264): ``seconds`` from the middle, or all of a shorter video.

    The left half of its picture is the source's, the right half the restored one's, which is shrunk where it is
    higher than ``height_px``. Its frames are shown when the restored ones are; it has no sound. The same videos give
    the same bytes. Arguments and errors otherwise as for ``comparison_sheet``.
    """
    start, end = _middle(found, seconds, chain.ratio.denominator)
    clock = output_clock(found.timeline, chain.ratio).part(start, end)
    with (
        _Videos(source, found, restored, chain, height_px) as videos,
        SegmentEncoder(output, _CLIP, _clip_format(videos.size), clock) as encoder,
    ):
        for pair in videos.pairs(start, end):
            encoder.write(_encodable(_split(pair)))


class _Videos(PairReader):
    """Source and restored video, opened. Use it in a ``with`` block.

    ``size`` is the width and height at which both are shown: that of the restored one in square pixels, both even, at
    most ``height_px`` high.
    """

    def __init__(self, source: Path, found: Survey, restored: Path, chain: Chain, height_px: int | None) -> None:
        made = survey_video(restored)
        self.size = _shown_size(made, height_px)
        self._timeline, self._ratio = found.timeline, chain.ratio
        self._written = len(made.timeline)
        self._cropper = _Cropper(chain.steps)
        self._converter = Converter()
        super().__init__(source, found, restored, made)

    def pairs(self, start_frame: int, end_frame: int) -> Iterator[_Pair]:
        """For the source's frames from ``start_frame`` up to and without ``end_frame``: each that was made of them.

        At least one, also where a frame was left out.
        """
        start = min(Clock.written_at(start_frame, self._ratio), self._written - 1)
        end = min(max(start + 1, Clock.written_at(end_frame, self._ratio)), self._written)
        frames = self.before.range(start_frame, end_frame)
        read = next(frames)
        before = self._shown(self._cropper.cropped(read.frame))
        for after in self.after.range(start, end):
            while read.index < min(int(after.index / self._ratio), end_frame - 1):
                read = next(frames)
                before = self._shown(self._cropper.cropped(read.frame))
            yield _Pair(self._timeline.seconds(read.index), before, self._shown(after.frame))

    def _shown(self, frame: VideoFrame) -> Picture:
        return scaled(self._converter.picture(frame), self.size)


class _Cropper:
    """Cuts off frames what a chain cuts off."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = [step for step in steps if step.filter == "crop"]
        self._graph: Graph | None = None

    def cropped(self, frame: VideoFrame) -> VideoFrame:
        """``frame`` without that; all frames have one format."""
        if not self._steps:
            return frame
        if self._graph is None:
            self._graph = self._passage(frame)
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _passage(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        time_base = frame.time_base or Fraction(1)
        crops = [graph.add("crop", **step.options) for step in self._steps]
        first = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
        graph.link_nodes(first, *crops, graph.add("buffersink")).configure()
        return graph


def _shown_size(made: Survey, height_px: int | None) -> tuple[int, int]:
    """Width and height of the restored picture in square pixels, upright."""
    picture = made.picture
    width, height = picture.width_px * picture.sample_aspect, Fraction(picture.height_px)
    if made.display_matrix and made.display_matrix[0] == 0:  # on its side
        width, height = height, width
    shrink = min(Fraction(1), Fraction(height_px) / height) if height_px else Fraction(1)
    return 2 * max(1, round(width * shrink / 2)), 2 * max(1, round(height * shrink / 2))


def _middle(found: Survey, seconds: float, align_frames: int) -> tuple[int, int]:
    """The frames of the source, half-open, that are shown in its middle; they begin at a multiple of that many."""
    timeline = found.timeline
    begin = max(0.0, (timeline.duration_seconds - seconds) / 2)
    start = (timeline.index_at(begin) or 0) // align_frames * align_frames
    end = timeline.index_at(timeline.seconds(start) + seconds)
    return start, len(timeline) if end is None else max(start + 1, end)


def _clip_format(size: tuple[int, int]) -> PictureFormat:
    return PictureFormat(
        *size,
        "yuv420p",
        field_order="progressive",
        primaries=_SMPTE170M,
        transfer=_SMPTE170M,
        matrix=_SMPTE170M,
        color_range=_LIMITED_RANGE,
    )


def _split(pair: _Pair) -> Picture:
    """One picture of both, with a line between them and a word on each side."""
    width = pair.after.shape[1]
    page = pair.after.copy()
    page[:, : width // 2] = pair.before[:, : width // 2]
    page[:, width // 2 - 1 : width // 2 + 1] = _INK
    _write(page, "before", 0, width // 2)
    _write(page, "restored", width // 2, width)
    return page


def _write(page: Picture, word: str, left: int, right: int) -> None:
    """Put ``word`` at the top between these columns; it is left out where there is no room."""
    scale = page.shape[0] / 720
    (wide, tall), _ = cv2.getTextSize(word, _FONT, scale, 1)
    origin = (left + right - wide) // 2, 2 * tall
    if wide < right - left:
        for color, thickness in ((_SHADOW, 4), (_INK, 1)):
            cv2.putText(page, word, origin, _FONT, scale, color, thickness, cv2.LINE_AA)


def _encodable(page: Picture) -> VideoFrame:
    planes = np.asarray(cv2.cvtColor(page, cv2.COLOR_BGR2YUV_I420), dtype=np.uint8)
    return VideoFrame.from_ndarray(planes, format="yuv420p")
