"""Test that the frames of all segments equal those of a full decode, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from tasks.engine.contract.errors import BadInput
from tasks.media.segments.clock import build_clock
from tasks.media.segments.copies import FrameCopier
from tasks.media.segments.plan import Cut, plan_segments
from tasks.media.segments.planes import hash_frame, view_planes
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.source import Survey, load_survey, save_survey, survey_video

DecodeFrames = Callable[[Path], list[tuple[int | None, str]]]
# The others are cut, encoded and joined in test_joining.py.
REAL = ("kivy_cityCC0.mpg", "nasa_13013.mp4", "nasa_13013_hdr.mp4")


def read_digests(path: Path, survey: Survey, count: int, context: int = 0) -> list[str]:
    """Return the digests of the frames of ``count`` segments without context; each segment has a new reader."""
    digests: list[str] = []
    for segment in plan_segments(survey.timeline, Cut(count, min_segment_frames=1, context_frames=context)):
        with SegmentReader(path, survey) as reader:
            taken = list(reader.frames(segment))
            assert [frame.index for frame in taken] == list(range(segment.read_start, segment.read_end))
            kept = [frame for frame in taken if segment.start_frame <= frame.index < segment.end_frame]
            digests += [hash_frame(frame.frame) for frame in kept]
    return digests


def check(path: Path, decode_frames: DecodeFrames, tmp_path: Path) -> None:
    expected = decode_frames(path)
    save_survey(survey_video(path), tmp_path / "survey.npz")
    survey = load_survey(tmp_path / "survey.npz")
    assert read_digests(path, survey, 3, context=2) == [digest for _, digest in expected]
    assert build_clock(survey.timeline).pts.tolist() == [pts for pts, _ in expected]


@pytest.mark.parametrize("name", ["bob.mp4", "vfr.mkv", "open-gop-hevc.mp4", "cut-in-open-gop.ts"])
def test_segments_equal_a_full_decode(
    name: str, make_video: Callable[[str], Path], decode_frames: DecodeFrames, tmp_path: Path
) -> None:
    check(make_video(name), decode_frames, tmp_path)


@pytest.mark.parametrize("name", REAL)
def test_segments_of_real_videos_equal_a_full_decode(
    name: str, shared_data: Path, decode_frames: DecodeFrames, tmp_path: Path
) -> None:
    check(shared_data / "video" / name, decode_frames, tmp_path)


@pytest.mark.parametrize("name", ["mpeg2-without-b-frames.mpg", "h264-without-times.avi"])
def test_counting_restarts_at_keyframes(name: str, make_video: Callable[[str], Path]) -> None:
    survey = survey_video(make_video(name))
    assert survey.positions is None
    assert survey.restarts[:, 0].tolist() == [0, 15, 30, 45]
    with SegmentReader(make_video(name), survey) as reader:
        next(iter(reader.range(46, 48)))
        assert reader._source._cursor > 45


def test_frames_keep_their_metadata(make_video: Callable[[str], Path]) -> None:
    with SegmentReader(make_video("bob.mp4"), survey_video(make_video("bob.mp4"))) as reader:
        assert all(frame.frame.interlaced_frame for frame in reader.range(0, 5))
    with SegmentReader(
        make_video("ten-bit-full-range.mkv"), survey_video(make_video("ten-bit-full-range.mkv"))
    ) as reader:
        frame = next(reader.range(3, 4)).frame
        assert (frame.format.name, frame.color_range) == ("yuv420p10le", 2)
        luma, chroma, _ = view_planes(frame)
        assert (luma.dtype, luma.shape, chroma.shape) == (np.uint16, (180, 320), (90, 160))


@pytest.mark.parametrize(
    "pixels", ["yuv420p", "yuv422p10le", "gray", "rgb24", "nv12", "yuyv422", "gbrp", "yuv444p12le"]
)
def test_planes_are_views_of_the_pixels(pixels: str) -> None:
    frame = av.VideoFrame(33, 17, pixels)
    rng = np.random.default_rng(1)
    for view in view_planes(frame):
        view[:] = rng.integers(0, 200, view.shape, dtype=view.dtype)
    copy = FrameCopier().copy(frame)
    before = hash_frame(frame)
    frame.make_writable()
    view_planes(frame)[0][16, 32] ^= 1
    assert hash_frame(copy) == before != hash_frame(frame)
    if pixels in {"gray", "rgb24"}:
        np.testing.assert_array_equal(view_planes(frame)[0].reshape(frame.to_ndarray().shape), frame.to_ndarray())


def test_upside_down_rows_are_flipped(ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    """Use bitmaps in AVI that ffmpeg stores upside down, with a flag."""
    recipe = "-f lavfi -i testsrc2=s=64x48:r=25:d=0.12 -c:v rawvideo -pix_fmt bgr24".split()
    images = []
    for name, flipped in (("up.avi", "1"), ("down.avi", "0")):
        ffmpeg(*recipe, "-flipped_raw_rgb", flipped, str(tmp_path / name))
        with SegmentReader(tmp_path / name, survey_video(tmp_path / name)) as reader:
            images.append(view_planes(next(reader.range(1, 2)).frame)[0].copy())
    np.testing.assert_array_equal(images[0][::-1], images[1])


def test_flipped_bit_is_not_a_missing_end(make_video: Callable[[str], Path], tmp_path: Path) -> None:
    """Count frames that depend on a damaged frame as existing."""
    data = bytearray(make_video("sound.mp4").read_bytes())
    data[len(data) * 4 // 10] ^= 0x10
    path = tmp_path / "hurt.mp4"
    path.write_bytes(data)
    survey = survey_video(path, tolerant=True)
    assert (len(survey.timeline), survey.damage) == (40, None)


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("name", ["bob.mp4", "ten-bit-full-range.mkv", "sound.mp4"])
def test_copied_frame_has_the_same_metadata(name: str, upright: bool, make_video: Callable[[str], Path]) -> None:
    with SegmentReader(make_video(name), survey_video(make_video(name))) as reader:
        copier = FrameCopier(upright)
        for frame in reader.range(3, 6):
            copy = copier.copy(frame.frame)
            for word in ("pts", "time_base", "interlaced_frame", "color_range", "colorspace", "color_trc", "pict_type"):
                assert getattr(copy, word) == getattr(frame.frame, word), word
            assert hash_frame(copy) == hash_frame(frame.frame)


def truncate(path: Path, share: float, tmp_path: Path) -> Path:
    short = tmp_path / f"short{path.suffix}"
    data = path.read_bytes()
    short.write_bytes(data[: int(len(data) * share)])
    return short


@pytest.mark.parametrize("name", ["plain.ts", "vfr.mkv", "fragmented.mp4", "sound.mpg", "sound.avi"])
def test_truncated_video_is_read_up_to_its_end(
    name: str, make_video: Callable[[str], Path], decode_frames: DecodeFrames, tmp_path: Path
) -> None:
    whole, short = decode_frames(make_video(name)), truncate(make_video(name), 0.63, tmp_path)
    survey = survey_video(short, tolerant=True)
    assert 0.4 * len(whole) < len(survey.timeline) < 0.8 * len(whole)
    digests = read_digests(short, survey, 3)
    assert digests == [digest for _, digest in whole][: len(digests)]


def test_missing_frames_are_counted(
    make_video: Callable[[str], Path], ffmpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    """Truncate a video whose index at the start lists all frames."""
    whole = tmp_path / "whole.mp4"
    ffmpeg("-i", str(make_video("plain.mp4")), "-c", "copy", "-movflags", "+faststart", str(whole))
    short = truncate(whole, 0.5, tmp_path)
    with pytest.raises(BadInput, match="is truncated"):
        survey_video(short)
    survey = survey_video(short, tolerant=True)
    assert survey.damage is not None
    assert survey.damage.missing_frames is not None
    assert abs(survey.damage.missing_frames + len(survey.timeline) - 50) <= 1
    assert len(read_digests(short, survey, 2)) == len(survey.timeline)


def test_damage_in_the_middle_is_an_error_or_reported(
    make_video: Callable[[str], Path], decode_frames: DecodeFrames, tmp_path: Path
) -> None:
    data = bytearray(make_video("plain.ts").read_bytes())
    middle = len(data) // 2 // 188 * 188
    data[middle + 40 : middle + 188] = bytes(148)
    path = tmp_path / "hurt.ts"
    path.write_bytes(data)
    strict = survey_video(path)
    with SegmentReader(path, strict) as reader, pytest.raises(BadInput, match=r"frame \d+ at .* is damaged"):
        list(reader.range(0, len(strict.timeline)))
    survey = survey_video(path, tolerant=True)
    with SegmentReader(path, survey) as reader:
        taken = list(reader.range(0, 50))
    whole = [digest for _, digest in decode_frames(make_video("plain.ts"))]
    differing = [frame.index for frame, digest in zip(taken, whole, strict=True) if hash_frame(frame.frame) != digest]
    assert differing
    assert set(differing) <= set(reader.damaged)
    assert all(taken[index].damage for index in differing)
    assert len({index // 15 for index in differing}) == 1  # the damage ends with its GOP


def test_replaced_file_is_refused(make_video: Callable[[str], Path]) -> None:
    with pytest.raises(BadInput, match="has changed since"):
        SegmentReader(make_video("vfr.mp4"), survey_video(make_video("plain.mp4")))
