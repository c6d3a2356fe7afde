"""Contact sheets of cleaned videos: frames before and after, and the overlays magnified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from tasks.media.contact_sheets import draw_contact_sheet, resize_image
from tasks.media.orientation import ImageArray, parse_display_matrix, turn_image
from tasks.media.segment_stages.comparing import PairReader, format_timestamp, spread_positions
from tasks.media.segments.source import Survey, survey_video
from tasks.overlays.boxes import Box
from tasks.overlays.overlay import Overlay

_THUMBNAIL_PX = 480
_MIN_SHOWN_PX = 32  # minimum width and height of the magnified part
_MARGIN_RATIO = 1.6  # size of the magnified part relative to the overlay
_MAX_SHARE = 0.5  # its maximum width relative to the frame's; rows show different parts of wide overlays
_PLACES = 3  # number of such parts


@dataclass(frozen=True)
class _Row:
    """A frame, and the part of it to magnify, if any."""

    index: int
    seconds: float
    part: Box | None


def draw_comparison(source: Path, survey: Survey, cleaned: Path, overlays: Sequence[Overlay], frames: int = 6) -> bytes:
    """Return a JPEG of ``frames`` frames, one per row: source, cleaned, and an overlay in both, magnified.

    The frames are spread evenly over those with overlays; the overlays take turns. Without overlays, all frames count
    and no part is magnified. Images are upright, with square pixels. Raises BadInput if one of the videos cannot be
    read.
    """
    rows = _choose_rows(survey, overlays, frames)
    pictures: list[tuple[ImageArray | None, str]] = []
    with _Videos(source, survey, cleaned) as videos:
        for row in rows:
            before, after = videos.read_pair(row.index)
            stamp = format_timestamp(row.seconds)
            pictures += [
                (videos.make_thumbnail(before), f"{stamp} before"),
                (videos.make_thumbnail(after), f"{stamp} after"),
            ]
            if row.part:
                pictures += [(videos.crop_part(image, row.part), "magnified") for image in (before, after)]
    return draw_contact_sheet(pictures, 4 if overlays else 2, _THUMBNAIL_PX)


class _Videos(PairReader):
    """The source and the cleaned video. Use it in a ``with`` block."""

    def __init__(self, source: Path, survey: Survey, cleaned: Path) -> None:
        cleaned_survey = survey_video(cleaned, tolerant=True)
        self._last = len(cleaned_survey.timeline) - 1
        self._turn = parse_display_matrix(survey.display_matrix)
        self._aspect = survey.picture.sample_aspect
        self._reformatter = VideoReformatter()
        super().__init__(source, survey, cleaned, cleaned_survey)

    def read_pair(self, index: int) -> tuple[ImageArray, ImageArray]:
        """Return frame ``index`` of both as stored, BGR."""
        before = next(self.before.range(index, index + 1))
        at = min(index, self._last)
        return self._convert(before.frame), self._convert(next(self.after.range(at, at + 1)).frame)

    def make_thumbnail(self, image: ImageArray) -> ImageArray:
        """Return ``image``, a stored frame, as a thumbnail."""
        height, width = image.shape[:2]
        shown_width, shown_height = max(1, round(width * self._aspect)), height
        upright_width = shown_height if self._turn[0] == 0 else shown_width
        scale = Fraction(_THUMBNAIL_PX, upright_width)
        size = max(1, round(shown_width * scale)), max(1, round(shown_height * scale))
        return turn_image(resize_image(image, size), self._turn)

    def crop_part(self, image: ImageArray, box: Box) -> ImageArray:
        """Return the part ``box`` of ``image`` at the size of a thumbnail."""
        return self.make_thumbnail(image[box.y : box.bottom, box.x : box.right])

    def _convert(self, frame: VideoFrame) -> ImageArray:
        converted = self._reformatter.reformat(frame, format="bgr24", threads=1)
        return np.asarray(converted.to_ndarray(), np.uint8)


def _choose_rows(survey: Survey, overlays: Sequence[Overlay], frames: int) -> list[_Row]:
    """Return ``frames`` rows; fewer if the video has fewer frames."""
    shown = _list_shown_frames(len(survey.timeline), overlays)
    wanted = spread_positions(len(shown), frames)
    rows = []
    for place, position in enumerate(wanted):
        index = int(shown[position])
        over = [overlay for overlay in overlays if overlay.is_shown(index)]
        size = survey.picture.width_px, survey.picture.height_px
        part = _choose_part(over[place % len(over)].box, place // len(over), *size) if over else None
        rows.append(_Row(index, survey.timeline.seconds(index), part))
    return rows


def _list_shown_frames(count: int, overlays: Sequence[Overlay]) -> list[int]:
    """Return the frames, of ``count``, with an overlay; all if there is none."""
    is_shown = np.zeros(count, np.bool_)
    for overlay in overlays:
        for part in overlay.ranges:
            is_shown[part.start_frame : part.end_frame] = True
    return [int(frame) for frame in np.flatnonzero(is_shown if is_shown.any() else ~is_shown)]


def _choose_part(box: Box, turn: int, width_px: int, height_px: int) -> Box:
    """Return the part of the frame to magnify: ``box`` with a margin, in the frame's aspect ratio.

    If the overlay is too wide, ``turn`` selects a part of it.
    """
    wanted = max(_MARGIN_RATIO * box.width, _MARGIN_RATIO * box.height * width_px / height_px, _MIN_SHOWN_PX)
    width = min(width_px, round(min(wanted, max(_MAX_SHARE * width_px, _MIN_SHOWN_PX))))
    height = max(1, round(width * height_px / width_px))
    share = turn % _PLACES / (_PLACES - 1) if box.width > width else 0.5
    left = min(max(0, box.x + round((box.width - width) * share)), width_px - width)
    top = min(max(0, box.y + (box.height - height) // 2), height_px - height)
    return Box(left, top, width, height)
