"""The sheet of frames before and after: what its cells show."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.overlay_truth.marks import Marked
from tasks.media.orientation import Picture
from tasks.media.segments.source import survey_video
from tasks.overlays.pictures import draw_comparison
from tests.overlays.conftest import MarkClip

CELL_PX, MARGIN_PX, CAPTION_PX = 480, 12, 32


def _rows(page: bytes, marked: Marked) -> Iterator[list[Picture]]:
    """The pictures of a sheet of that clip, row by row: before, after, and both magnified."""
    picture = np.asarray(cv2.imdecode(np.frombuffer(page, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    assert picture.shape[1] == MARGIN_PX + 4 * (CELL_PX + MARGIN_PX)
    height = round(CELL_PX * marked.picture.height_px / marked.picture.width_px)
    for top in range(MARGIN_PX, picture.shape[0], height + CAPTION_PX + MARGIN_PX):
        lefts = (MARGIN_PX + column * (CELL_PX + MARGIN_PX) for column in range(4))
        yield [picture[top : top + height, left : left + CELL_PX] for left in lefts]


def _apart(one: Picture, two: Picture) -> npt.NDArray[np.bool_]:
    """Where the pictures differ by more than JPEG's own error."""
    return np.asarray(np.abs(one.astype(int) - two).max(axis=2) > 40)


def test_only_the_overlay_differs_and_it_is_magnified(opaque_logo: Marked) -> None:
    page = draw_comparison(
        opaque_logo.marked, survey_video(opaque_logo.marked), opaque_logo.clean, opaque_logo.overlays, frames=3
    )
    rows = list(_rows(page, opaque_logo))
    assert len(rows) == 3
    (logo,) = opaque_logo.overlays
    scale = CELL_PX / opaque_logo.picture.width_px
    left, top, right, bottom = (
        round(edge * scale) for edge in (logo.box.x, logo.box.y, logo.box.right, logo.box.bottom)
    )
    for before, after, close_before, close_after in rows:
        apart = _apart(before, after)
        inside = apart[top:bottom, left:right]
        assert inside.mean() > 0.2
        assert np.count_nonzero(apart) - np.count_nonzero(inside) < 0.02 * np.count_nonzero(inside)
        close = _apart(close_before, close_after)
        assert np.count_nonzero(close) > 5 * np.count_nonzero(inside)
        edges = np.concatenate([close[0], close[-1], close[:, 0], close[:, -1]])
        assert not edges.any()  # there is room around it


def test_frames_are_those_that_the_overlay_lies_over(marked_clip: MarkClip) -> None:
    """A line of subtitles that appears later: every row shows it."""
    marked = marked_clip("bikes", "subtitles", 1.0, 16)
    assert marked.overlays[0].ranges[0].start_frame > 0
    page = draw_comparison(marked.marked, survey_video(marked.marked), marked.clean, marked.overlays, frames=4)
    rows = list(_rows(page, marked))
    assert len(rows) == 4
    assert all(_apart(before, after).mean() > 0.005 for before, after, *_ in rows)


@pytest.mark.parametrize("frames", [1, 50])
def test_there_are_no_more_rows_than_frames(opaque_logo: Marked, frames: int) -> None:
    found = survey_video(opaque_logo.clean)
    page = draw_comparison(opaque_logo.clean, found, opaque_logo.clean, opaque_logo.overlays, frames)
    rows = list(_rows(page, opaque_logo))
    assert len(rows) == min(frames, opaque_logo.frames)
    assert not any(_apart(before, after).any() for before, after, *_ in rows)


def test_without_overlays_nothing_is_magnified(opaque_logo: Marked) -> None:
    found = survey_video(opaque_logo.clean)
    page = draw_comparison(opaque_logo.clean, found, opaque_logo.clean, (), frames=2)
    picture = cv2.imdecode(np.frombuffer(page, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] == MARGIN_PX + 2 * (CELL_PX + MARGIN_PX)
