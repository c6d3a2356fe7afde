"""Test that lossless settings are lossless, and that field order and pixel aspect are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.media.segments.picture import FULL_RANGE, PictureFormat
from tasks.media.segments.settings import choose_lossless_settings
from tasks.media.segments.source import survey_video

from .conftest import decode_video
from .pipeline import QUICK, make_pipeline

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
    pipeline = make_pipeline(source, tmp_path, 2, settings)
    for make in (pipeline.encode, pipeline.pipe):
        joined, _ = pipeline.join([make(segment) for segment in pipeline.segments], ".mp4")
        assert [digest for _, digest in decode_video(joined.path)] == [digest for _, digest in decode_video(source)]
        if codec != "ffv1":  # it does not store the range
            assert (survey_video(joined.path).picture.color_range == FULL_RANGE) == (picture.color_range == FULL_RANGE)


def test_formats_without_lossless_encoder_are_an_error() -> None:
    with pytest.raises(ValueError, match="no lossless encoder here takes pal8; convert"):
        choose_lossless_settings(PictureFormat(64, 48, "pal8"))


@pytest.mark.parametrize("method", ["encode", "pipe"])
def test_bottom_field_first_is_in_the_headers(method: str, ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    source = tmp_path / "bottom.mkv"
    ffmpeg(*FIELDS.split(), str(source))
    pipeline = make_pipeline(source, tmp_path, 2, QUICK["x264"])
    assert pipeline.survey.picture.field_order == "bff"
    joined, _ = pipeline.join([getattr(pipeline, method)(segment) for segment in pipeline.segments])
    assert survey_video(joined.path).picture.field_order == "bff"
