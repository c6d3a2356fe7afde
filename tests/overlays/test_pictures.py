"""The contact sheet of frames before and after."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.overlay_truth.marks import Marked
from tasks.media.orientation import ImageArray
from tasks.media.segments.source import survey_video
from tasks.overlays.pictures import draw_comparison
from tests.overlays.conftest import MarkClip

CELL_PX, MARGIN_PX, CAPTION_PX = 480, 12, 32


def _read_rows(page: bytes, marked: Marked) -> Iterator[list[ImageArray]]:
    """Return the cells of a clip's contact sheet, row by row: before, after, and both magnified."""
    picture = np.asarray(cv2.imdecode(np.frombuffer(page, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    assert picture.shape[1] == MARGIN_PX + 4 * (CELL_PX + MARGIN_PX)
    height = round(CELL_PX * marked.picture.height_px / marked.picture.width_px)
    for top in range(MARGIN_PX, picture.shape[0], height + CAPTION_PX + MARGIN_PX):
        lefts = (MARGIN_PX + column * (CELL_PX + MARGIN_PX) for column in range(4))
        yield [picture[top : top + height, left : left + CELL_PX] for left in lefts]


def _differ(image: ImageArray, two: ImageArray) -> npt.NDArray[np.bool_]:
    """Return where the images differ by more than JPEG's own error."""
    return np.asarray(np.abs(image.astype(int) - two).max(axis=2) > 40)


def test_sheet_shows_changes_only_under_the_magnified_overlay(opaque_logo: Marked) -> None:
    page = draw_comparison(
        opaque_logo.marked, survey_video(opaque_logo.marked), opaque_logo.clean, opaque_logo.overlays, frames=3
    )
    rows = list(_read_rows(page, opaque_logo))
    assert len(rows) == 3
    (logo,) = opaque_logo.overlays
    scale = CELL_PX / opaque_logo.picture.width_px
    left, top, right, bottom = (
        round(edge * scale) for edge in (logo.box.x, logo.box.y, logo.box.right, logo.box.bottom)
    )
    for before, after, close_before, close_after in rows:
        apart = _differ(before, after)
        inside = apart[top:bottom, left:right]
        assert inside.mean() > 0.2
        assert np.count_nonzero(apart) - np.count_nonzero(inside) < 0.02 * np.count_nonzero(inside)
        close = _differ(close_before, close_after)
        assert np.count_nonzero(close) > 5 * np.count_nonzero(inside)
        edges = np.concatenate([close[0], close[-1], close[:, 0], close[:, -1]])
        assert not edges.any()  # there is room around it


def test_sheet_shows_frames_with_the_overlay(marked_clip: MarkClip) -> None:
    """A subtitle that appears late is in every row."""
    marked = marked_clip("bikes", "subtitles", 1.0, 16)
    assert marked.overlays[0].ranges[0].start_frame > 0
    page = draw_comparison(marked.marked, survey_video(marked.marked), marked.clean, marked.overlays, frames=4)
    rows = list(_read_rows(page, marked))
    assert len(rows) == 4
    assert all(_differ(before, after).mean() > 0.005 for before, after, *_ in rows)


@pytest.mark.parametrize("frames", [1, 50])
def test_sheet_has_at_most_one_row_per_frame(opaque_logo: Marked, frames: int) -> None:
    survey = survey_video(opaque_logo.clean)
    page = draw_comparison(opaque_logo.clean, survey, opaque_logo.clean, opaque_logo.overlays, frames)
    rows = list(_read_rows(page, opaque_logo))
    assert len(rows) == min(frames, opaque_logo.frames)
    assert not any(_differ(before, after).any() for before, after, *_ in rows)


def test_sheet_without_overlays_has_no_magnified_cells(opaque_logo: Marked) -> None:
    survey = survey_video(opaque_logo.clean)
    page = draw_comparison(opaque_logo.clean, survey, opaque_logo.clean, (), frames=2)
    picture = cv2.imdecode(np.frombuffer(page, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] == MARGIN_PX + 2 * (CELL_PX + MARGIN_PX)
