"""Settings do what they say: what is lossless is, fields keep their order, and pixels their shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.media.segments.picture import FULL_RANGE, PictureFormat
from tasks.media.segments.settings import choose_lossless_settings
from tasks.media.segments.source import survey_video

from .conftest import decoded
from .workshop import QUICK, work_on

NOISE = "-f lavfi -i testsrc2=s=192x108:r=25:d=0.6,noise=alls=40:allf=t"
FIELDS = "-f lavfi -i testsrc2=s=192x144:r=50:d=1.2 -vf interlace=scan=bff -c:v ffv1 -flags +ildct"


@pytest.mark.parametrize(
    ("pixels", "codec"),
    [
        ("yuv420p", "x264"),
        ("yuv422p10le", "x264"),
        ("yuv444p", "x264"),
        ("gray", "ffv1"),
        ("gray10le", "ffv1"),
        ("gbrp", "x265"),
        ("yuvj420p", "x264"),
        ("yuv411p", "ffv1"),
        ("yuv420p12le", "ffv1"),
        ("gbrp10le", "ffv1"),
        ("bgr0", "ffv1"),
    ],
)
def test_lossless_settings_keep_every_pixel(
    pixels: str, codec: str, ffmpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    source = tmp_path / "source.mkv"
    encoder = {"yuvj420p": "mjpeg", "gbrp": "utvideo"}.get(pixels, "ffv1")
    ffmpeg(*NOISE.split(), "-pix_fmt", pixels, "-c:v", encoder, "-q:v", "1", str(source))
    picture = survey_video(source).picture
    settings = choose_lossless_settings(picture)
    assert settings.codec == codec
    work = work_on(source, tmp_path, 2, settings)
    for make in (work.encode, work.pipe):
        joined, _ = work.join([make(segment) for segment in work.segments], ".mp4")
        assert [digest for _, digest in decoded(joined.path)] == [digest for _, digest in decoded(source)]
        if codec != "ffv1":  # it has no word for it
            assert (survey_video(joined.path).picture.color_range == FULL_RANGE) == (picture.color_range == FULL_RANGE)


def test_formats_without_lossless_encoder_are_an_error() -> None:
    with pytest.raises(ValueError, match="no lossless encoder here takes pal8; convert"):
        choose_lossless_settings(PictureFormat(64, 48, "pal8"))


@pytest.mark.parametrize("how", ["encode", "pipe"])
def test_bottom_field_first_is_in_the_headers(how: str, ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    source = tmp_path / "bottom.mkv"
    ffmpeg(*FIELDS.split(), str(source))
    work = work_on(source, tmp_path, 2, QUICK["x264"])
    assert work.found.picture.field_order == "bff"
    joined, _ = work.join([getattr(work, how)(segment) for segment in work.segments])
    assert survey_video(joined.path).picture.field_order == "bff"
