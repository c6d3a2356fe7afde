"""What cleaning a video has changed, to look at: frames before and after, and what was there, magnified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from tasks.media.orientation import Picture, matrix_turn, turned
from tasks.media.segment_stages.comparing import PairReader, format_timestamp, spread_positions
from tasks.media.segments.source import Survey, survey_video
from tasks.media.sheets import scaled, sheet
from tasks.overlays.boxes import Box
from tasks.overlays.overlay import Overlay

_THUMBNAIL_PX = 480
_LEAST_SHOWN_PX = 32  # of the picture, across and down, in what is magnified
_ROOM = 1.6  # what is magnified is that much larger than the overlay
_MOST_SHOWN = 0.5  # and at most that share of the picture's width: of a wide overlay it is a part, another in each row
_PLACES = 3  # such parts


@dataclass(frozen=True)
class _Row:
    """A frame that is shown, and where in it what is magnified beside it lies, if anything does."""

    index: int
    seconds: float
    part: Box | None


def comparison_sheet(source: Path, found: Survey, cleaned: Path, overlays: Sequence[Overlay], frames: int = 6) -> bytes:
    """A JPEG of ``frames`` frames, one a row: the source's, the cleaned one, and an overlay in both, magnified.

    The frames are spread evenly through those that an overlay lies over; the overlays take turns. Where there are none
    the frames are those of the whole video, and nothing is magnified. Pictures are upright, in square pixels.
    ``found`` is the survey of ``source``. Raises BadInput where one of the two cannot be read.
    """
    rows = _rows(found, overlays, frames)
    pictures: list[tuple[Picture | None, str]] = []
    with _Videos(source, found, cleaned) as videos:
        for row in rows:
            before, after = videos.pair(row.index)
            stamp = format_timestamp(row.seconds)
            pictures += [(videos.whole(before), f"{stamp} before"), (videos.whole(after), f"{stamp} after")]
            if row.part:
                pictures += [(videos.part(one, row.part), "magnified") for one in (before, after)]
    return sheet(pictures, 4 if overlays else 2, _THUMBNAIL_PX)


class _Videos(PairReader):
    """Source and cleaned video, opened. Use it in a ``with`` block."""

    def __init__(self, source: Path, found: Survey, cleaned: Path) -> None:
        made = survey_video(cleaned, tolerant=True)
        self._last = len(made.timeline) - 1
        self._turn = matrix_turn(found.display_matrix)
        self._aspect = found.picture.sample_aspect
        self._reformatter = VideoReformatter()
        super().__init__(source, found, cleaned, made)

    def pair(self, index: int) -> tuple[Picture, Picture]:
        """Frame ``index`` of both, BGR, as they are stored."""
        before = next(self.before.range(index, index + 1))
        at = min(index, self._last)
        return self._stored(before.frame), self._stored(next(self.after.range(at, at + 1)).frame)

    def whole(self, picture: Picture) -> Picture:
        """``picture``, which is stored so, as a thumbnail."""
        height, width = picture.shape[:2]
        shown_width, shown_height = max(1, round(width * self._aspect)), height
        upright_width = shown_height if self._turn[0] == 0 else shown_width
        scale = Fraction(_THUMBNAIL_PX, upright_width)
        size = max(1, round(shown_width * scale)), max(1, round(shown_height * scale))
        return turned(scaled(picture, size), self._turn)

    def part(self, picture: Picture, box: Box) -> Picture:
        """What of ``picture`` lies in ``box``, as large as a thumbnail."""
        return self.whole(picture[box.y : box.bottom, box.x : box.right])

    def _stored(self, frame: VideoFrame) -> Picture:
        converted = self._reformatter.reformat(frame, format="bgr24", threads=1)
        return np.asarray(converted.to_ndarray(), np.uint8)


def _rows(found: Survey, overlays: Sequence[Overlay], frames: int) -> list[_Row]:
    """``frames`` rows; fewer where there are fewer frames."""
    shown = _shown(len(found.timeline), overlays)
    wanted = spread_positions(len(shown), frames)
    rows = []
    for place, position in enumerate(wanted):
        index = int(shown[position])
        over = [one for one in overlays if one.shows(index)]
        size = found.picture.width_px, found.picture.height_px
        part = _part(over[place % len(over)].box, place // len(over), *size) if over else None
        rows.append(_Row(index, found.timeline.seconds(index), part))
    return rows


def _shown(count: int, overlays: Sequence[Overlay]) -> list[int]:
    """The frames, of ``count``, that an overlay lies over; all where none does."""
    is_shown = np.zeros(count, np.bool_)
    for one in overlays:
        for part in one.ranges:
            is_shown[part.start_frame : part.end_frame] = True
    return [int(frame) for frame in np.flatnonzero(is_shown if is_shown.any() else ~is_shown)]


def _part(box: Box, turn: int, width_px: int, height_px: int) -> Box:
    """What is magnified of a picture of that size: ``box`` with room around it, in the picture's own shape.

    Where it is too wide for that, the part of it whose ``turn`` it is.
    """
    wanted = max(_ROOM * box.width, _ROOM * box.height * width_px / height_px, _LEAST_SHOWN_PX)
    width = min(width_px, round(min(wanted, max(_MOST_SHOWN * width_px, _LEAST_SHOWN_PX))))
    height = max(1, round(width * height_px / width_px))
    share = turn % _PLACES / (_PLACES - 1) if box.width > width else 0.5
    left = min(max(0, box.x + round((box.width - width) * share)), width_px - width)
    top = min(max(0, box.y + (box.height - height) // 2), height_px - height)
    return Box(left, top, width, height)
