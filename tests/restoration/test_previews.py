"""Test that previews show the same frames and the same area before and after."""

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

from .conftest import BOB, LOSSLESS, QUICK, Pipeline, make_chain, make_pipeline, make_step

MakeTape = Callable[[str], Path]

BOBBED = make_chain(BOB, make_step("scale", width="210", height="144"), ratio=2, width_px=210)
FILM = make_chain(make_step("fieldmatch", order="tff"), make_step("decimate"), ratio=Fraction(4, 5))
MARGIN_PX, CAPTION_PX = 12, 32


@pytest.fixture
def restore_tape(make_tape: MakeTape, tmp_path: Path) -> Callable[[str, Chain], tuple[Pipeline, Path]]:
    def make(name: str, chain: Chain, settings: EncoderSettings = LOSSLESS) -> tuple[Pipeline, Path]:
        pipeline = make_pipeline(make_tape(name), tmp_path, chain, settings=settings)
        joined, _ = pipeline.join(pipeline.restore(FfmpegEngine()))
        return pipeline, joined.path

    return make


def read_luma(path: Path) -> np.ndarray:
    """Return the luma of all frames: frames x height x width."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)]).astype(int)


def read_rows(jpeg: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the left and right image of each row of a contact sheet."""
    page = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).astype(int)
    width = (page.shape[1] - 3 * MARGIN_PX) // 2
    height = (page.shape[0] - MARGIN_PX) // 6 - MARGIN_PX - CAPTION_PX
    tops = [MARGIN_PX + row * (height + CAPTION_PX + MARGIN_PX) for row in range(6)]
    lefts = MARGIN_PX, 2 * MARGIN_PX + width
    before, after = ([page[top : top + height, left : left + width] for top in tops] for left in lefts)
    return list(zip(before, after, strict=True))


def test_sheet_shows_the_same_frame_before_and_after(restore_tape: Callable, make_tape: MakeTape) -> None:
    """Only crop the frames: both images of a row are similar, and rows differ."""
    cut = make_step("crop", w="iw", h="ih-40", x="0", y="0")
    shape = make_step("scale", width="210", height="104")
    pipeline, path = restore_tape("interlaced.mkv", make_chain(cut, shape, width_px=210, height_px=104))
    rows = read_rows(draw_comparison_sheet(pipeline.source, pipeline.survey, path, pipeline.chain))
    same = [np.abs(before - after).mean() for before, after in rows]
    other = [np.abs(rows[row][0] - rows[row - 1][1]).mean() for row in range(6)]
    assert max(same) < 8 < min(other)


def test_sheet_of_a_short_video_has_fewer_rows(restore_tape: Callable, make_tape: MakeTape) -> None:
    pipeline, path = restore_tape("full-range.mkv", make_chain())
    jpeg = draw_comparison_sheet(pipeline.source, pipeline.survey, path, pipeline.chain, frames=50)
    page = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert page.shape[0] == MARGIN_PX + len(pipeline.survey.timeline) * (360 + CAPTION_PX + MARGIN_PX)


def test_split_screen_halves_show_the_same_frame(restore_tape: Callable, make_tape: MakeTape, tmp_path: Path) -> None:
    pipeline, path = restore_tape("noisy-interlaced.mkv", BOBBED)
    clip = tmp_path / "split.mp4"
    write_split_screen(pipeline.source, pipeline.survey, path, pipeline.chain, clip)
    shown, after = read_luma(clip), read_luma(path)
    before = np.stack([cv2.resize(frame.astype(np.uint8), (210, 144)) for frame in read_luma(pipeline.source)]).astype(
        int
    )
    assert shown.shape == after.shape == (48, 144, 210)
    for number, frame in enumerate(shown):
        right = np.abs(frame[30:, 120:] - after[:, 30:, 120:]).mean(axis=(1, 2))
        left = np.abs(frame[30:, :90] - before[:, 30:, :90]).mean(axis=(1, 2))
        assert (int(left.argmin()), int(right.argmin())) == (number // 2, number)


def test_clip_is_from_the_middle_and_keeps_frame_times(
    restore_tape: Callable, make_tape: MakeTape, tmp_path: Path
) -> None:
    pipeline, path = restore_tape("noisy-interlaced.mkv", BOBBED)
    clips = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    for clip in clips:
        write_split_screen(pipeline.source, pipeline.survey, path, pipeline.chain, clip, seconds=0.4, height_px=72)
    assert clips[0].read_bytes() == clips[1].read_bytes()
    survey = survey_video(clips[0])
    assert (survey.picture.width_px, survey.picture.height_px) == (104, 72)
    assert len(survey.timeline) == 20
    assert survey.timeline.seconds(7) == pytest.approx(0.14)
    shown, after = read_luma(clips[0]), read_luma(path)
    small = np.stack([cv2.resize(frame.astype(np.uint8), (104, 72), interpolation=cv2.INTER_AREA) for frame in after])
    right = np.abs(shown[0][20:, 60:] - small[:, 20:, 60:].astype(int)).mean(axis=(1, 2))
    assert right.argmin() == 14  # 0.28 s of 0.96 s


def test_previews_of_inverse_telecine(restore_tape: Callable, make_tape: MakeTape, tmp_path: Path) -> None:
    pipeline, path = restore_tape("telecined.mkv", FILM)
    write_split_screen(pipeline.source, pipeline.survey, path, pipeline.chain, tmp_path / "split.mp4")
    assert len(survey_video(tmp_path / "split.mp4").timeline) == len(pipeline.clock)
    assert len(read_rows(draw_comparison_sheet(pipeline.source, pipeline.survey, path, pipeline.chain))) == 6


def test_split_screen_has_square_pixels(restore_tape: Callable, make_tape: MakeTape, tmp_path: Path) -> None:
    chain = make_chain(make_step("setfield", mode="tff"), interlaced=True, sample_aspect="12:11")
    pipeline, path = restore_tape("interlaced.mkv", chain, QUICK)
    write_split_screen(pipeline.source, pipeline.survey, path, pipeline.chain, tmp_path / "split.mp4")
    picture = survey_video(tmp_path / "split.mp4").picture
    assert (picture.width_px, picture.height_px, picture.sample_aspect) == (210, 144, 1)


def test_invalid_restored_video_is_an_error(make_tape: MakeTape, tmp_path: Path) -> None:
    path = tmp_path / "restored.mp4"
    path.write_bytes(b"no video")
    source = make_tape("interlaced.mkv")
    with pytest.raises(BadInput, match=r"restored\.mp4"):
        draw_comparison_sheet(source, survey_video(source), path, make_chain())
