"""Before and after: the right frames, side by side, of the same part of the picture."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tasks.engine.contract.errors import BadInput
from tasks.media.segments.settings import EncoderSettings
from tasks.media.segments.source import survey_video
from tasks.restoration.chain import Chain
from tasks.restoration.engines.ffmpeg import FfmpegEngine
from tasks.restoration.previews import draw_comparison_sheet, write_split_screen

from .conftest import BOB, LOSSLESS, QUICK, Work, chain_of, step, work_on

Tape = Callable[[str], Path]

BOBBED = chain_of(BOB, step("scale", width="210", height="144"), ratio=2, width_px=210)
FILM = chain_of(step("fieldmatch", order="tff"), step("decimate"), ratio=Fraction(4, 5))
MARGIN_PX, CAPTION_PX = 12, 32


@pytest.fixture
def restored(tape: Tape, tmp_path: Path) -> Callable[[str, Chain], tuple[Work, Path]]:
    def make(name: str, chain: Chain, settings: EncoderSettings = LOSSLESS) -> tuple[Work, Path]:
        work = work_on(tape(name), tmp_path, chain, settings=settings)
        joined, _ = work.join(work.restore(FfmpegEngine()))
        return work, joined.path

    return make


def pictures(path: Path) -> np.ndarray:
    """frames x height x width, luma."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)]).astype(int)


def cells(jpeg: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Left and right picture of each row of a sheet."""
    page = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).astype(int)
    width = (page.shape[1] - 3 * MARGIN_PX) // 2
    height = (page.shape[0] - MARGIN_PX) // 6 - MARGIN_PX - CAPTION_PX
    tops = [MARGIN_PX + row * (height + CAPTION_PX + MARGIN_PX) for row in range(6)]
    lefts = MARGIN_PX, 2 * MARGIN_PX + width
    before, after = ([page[top : top + height, left : left + width] for top in tops] for left in lefts)
    return list(zip(before, after, strict=True))


def test_sheet_shows_the_same_frame_before_and_after(restored: Callable, tape: Tape) -> None:
    """With nothing done but cutting, both pictures of a row are one, and rows are not."""
    cut = step("crop", w="iw", h="ih-40", x="0", y="0")
    shape = step("scale", width="210", height="104")
    work, path = restored("interlaced.mkv", chain_of(cut, shape, width_px=210, height_px=104))
    rows = cells(draw_comparison_sheet(work.source, work.found, path, work.chain))
    same = [np.abs(before - after).mean() for before, after in rows]
    other = [np.abs(rows[row][0] - rows[row - 1][1]).mean() for row in range(6)]
    assert max(same) < 8 < min(other)


def test_sheet_of_a_short_video_has_fewer_rows(restored: Callable, tape: Tape) -> None:
    work, path = restored("full-range.mkv", chain_of())
    jpeg = draw_comparison_sheet(work.source, work.found, path, work.chain, frames=50)
    page = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert page.shape[0] == MARGIN_PX + len(work.found.timeline) * (360 + CAPTION_PX + MARGIN_PX)


def test_split_screen_halves_show_the_same_frame(restored: Callable, tape: Tape, tmp_path: Path) -> None:
    work, path = restored("noisy-interlaced.mkv", BOBBED)
    clip = tmp_path / "split.mp4"
    write_split_screen(work.source, work.found, path, work.chain, clip)
    shown, after = pictures(clip), pictures(path)
    before = np.stack([cv2.resize(one.astype(np.uint8), (210, 144)) for one in pictures(work.source)]).astype(int)
    assert shown.shape == after.shape == (48, 144, 210)
    for number, picture in enumerate(shown):
        right = np.abs(picture[30:, 120:] - after[:, 30:, 120:]).mean(axis=(1, 2))
        left = np.abs(picture[30:, :90] - before[:, 30:, :90]).mean(axis=(1, 2))
        assert (int(left.argmin()), int(right.argmin())) == (number // 2, number)


def test_clip_is_from_the_middle_and_keeps_frame_times(restored: Callable, tape: Tape, tmp_path: Path) -> None:
    work, path = restored("noisy-interlaced.mkv", BOBBED)
    clips = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    for clip in clips:
        write_split_screen(work.source, work.found, path, work.chain, clip, seconds=0.4, height_px=72)
    assert clips[0].read_bytes() == clips[1].read_bytes()
    found = survey_video(clips[0])
    assert (found.picture.width_px, found.picture.height_px) == (104, 72)
    assert len(found.timeline) == 20
    assert found.timeline.seconds(7) == pytest.approx(0.14)
    shown, after = pictures(clips[0]), pictures(path)
    small = np.stack([cv2.resize(one.astype(np.uint8), (104, 72), interpolation=cv2.INTER_AREA) for one in after])
    right = np.abs(shown[0][20:, 60:] - small[:, 20:, 60:].astype(int)).mean(axis=(1, 2))
    assert right.argmin() == 14  # 0.28 s of 0.96 s


def test_previews_of_inverse_telecine(restored: Callable, tape: Tape, tmp_path: Path) -> None:
    work, path = restored("telecined.mkv", FILM)
    write_split_screen(work.source, work.found, path, work.chain, tmp_path / "split.mp4")
    assert len(survey_video(tmp_path / "split.mp4").timeline) == len(work.clock)
    assert len(cells(draw_comparison_sheet(work.source, work.found, path, work.chain))) == 6


def test_split_screen_has_square_pixels(restored: Callable, tape: Tape, tmp_path: Path) -> None:
    chain = chain_of(step("setfield", mode="tff"), interlaced=True, sample_aspect="12:11")
    work, path = restored("interlaced.mkv", chain, QUICK)
    write_split_screen(work.source, work.found, path, work.chain, tmp_path / "split.mp4")
    picture = survey_video(tmp_path / "split.mp4").picture
    assert (picture.width_px, picture.height_px, picture.sample_aspect) == (210, 144, 1)


def test_invalid_restored_video_is_an_error(tape: Tape, tmp_path: Path) -> None:
    path = tmp_path / "restored.mp4"
    path.write_bytes(b"no video")
    source = tape("interlaced.mkv")
    with pytest.raises(BadInput, match=r"restored\.mp4"):
        draw_comparison_sheet(source, survey_video(source), path, chain_of())
