"""Test that every codec and container keeps the pixel aspect, and that the file stays valid."""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import pytest

from tasks.media.segments import matroska
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.matroska import set_sample_aspect
from tasks.media.segments.settings import EncoderSettings
from tasks.media.segments.source import survey_video
from tasks.media.segments.verify import verify_joined

from .conftest import decode_video
from .pipeline import LOSSLESS, QUICK, make_pipeline

AUDIO = "-f lavfi -i sine=f=440:r=48000:d=1"
CHECKED = "-v error -err_detect crccheck+bitstream+buffer+explode".split()


@pytest.fixture
def make_wide_video(ffmpeg: Callable[..., bytes], tmp_path: Path) -> Callable[[str], Path]:
    """Make a video of 192 x 144 with this pixel aspect, audio, a chapter and an attached font."""

    def make(aspect: str) -> Path:
        words, chapters, path = tmp_path / "font.ttf", tmp_path / "chapters.txt", tmp_path / "wide.mkv"
        words.write_bytes(bytes(1000))
        chapters.write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=700\ntitle=One\n")
        picture = f"-f lavfi -i testsrc2=s=192x144:r=25:d=0.8,setsar={aspect}".split()
        extra = [
            "-map",
            "0",
            "-map",
            "1",
            "-map_chapters",
            "2",
            "-attach",
            str(words),
            "-metadata:s:t",
            "mimetype=font/ttf",
        ]
        ffmpeg(*picture, *AUDIO.split(), "-i", str(chapters), *extra, "-c:v", "ffv1", "-c:a", "flac", str(path))
        return path

    return make


def read_aspect(path: Path) -> Fraction | None:
    with av.open(str(path)) as container:
        return container.streams.video[0].sample_aspect_ratio


def check_sums(data: bytes) -> None:
    """Check the checksums of all elements in the segment, and their positions in SeekHead."""
    segment = next(
        element for element in matroska._read_elements(data, 0, len(data)) if element.id == matroska._SEGMENT
    )
    inside = list(matroska._read_elements(data, segment.data, segment.end))
    assert inside[-1].end == segment.end == len(data)
    for element in inside:
        if data[element.data] == matroska._CRC:
            stated = int.from_bytes(data[element.data + 2 : element.data + 6], "little")
            assert zlib.crc32(data[element.data + 6 : element.end]) == stated
    places = {element.id: element.begin - segment.data for element in inside}
    for seek in list(matroska._read_elements(data, inside[0].data, inside[0].end))[1:]:
        name, place = (
            int.from_bytes(data[child.data : child.end], "big")
            for child in matroska._read_elements(data, seek.data, seek.end)
        )
        assert places[name] == place


@pytest.mark.parametrize(
    ("settings", "suffix"),
    [
        (LOSSLESS, ".mp4"),
        (LOSSLESS, ".mkv"),
        (QUICK["x264"], ".mov"),
        (QUICK["x264"], ".mkv"),
        (QUICK["x265"], ".mkv"),
        (QUICK["svtav1"], ".mp4"),
        (QUICK["svtav1"], ".mkv"),
    ],
    ids=lambda value: getattr(value, "codec", value),
)
def test_pixel_aspect_is_preserved(
    settings: EncoderSettings, suffix: str, make_wide_video: Callable[[str], Path], tmp_path: Path
) -> None:
    pipeline = make_pipeline(make_wide_video("12/11"), tmp_path, 2, settings)
    joined, report = pipeline.join([pipeline.encode(segment) for segment in pipeline.segments], suffix)
    assert read_aspect(joined.path) == survey_video(joined.path).picture.sample_aspect == Fraction(12, 11)
    assert report.frames == 20


@pytest.mark.parametrize("aspect", ["16/15", "12/11", "1/1", "40/33"])
def test_matroska_with_pixel_aspect_is_valid(
    aspect: str, make_wide_video: Callable[[str], Path], tmp_path: Path
) -> None:
    """Check checksums, positions of chapters and attachments, and seeking."""
    pipeline = make_pipeline(make_wide_video(aspect), tmp_path, 2)
    joined, _ = pipeline.join([pipeline.encode(segment) for segment in pipeline.segments], ".mkv")
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", *CHECKED]
    done = subprocess.run([*program, "-i", str(joined.path), "-f", "null", "-"], check=True, capture_output=True)
    assert done.stderr == b""
    check_sums(joined.path.read_bytes())
    assert (read_aspect(joined.path) or 1) == Fraction(aspect)
    assert [digest for _, digest in decode_video(joined.path)] == [
        digest for _, digest in decode_video(pipeline.source)
    ]
    with av.open(str(joined.path)) as container:
        assert len(container.chapters()) == 1
        assert container.streams.attachments[0].data == bytes(1000)
        container.seek(int(0.6e6))
        assert 0.4 < float(next(container.decode(video=0)).time) <= 0.6


def test_webm_rounds_display_width_to_whole_pixels(make_wide_video: Callable[[str], Path], tmp_path: Path) -> None:
    pipeline = make_pipeline(make_wide_video("12/11"), tmp_path, 2, QUICK["svtav1"])
    joined, _ = pipeline.join([pipeline.encode(segment) for segment in pipeline.segments], ".webm")
    assert read_aspect(joined.path) == Fraction(209, 192)


def test_wrong_pixel_aspect_is_detected(make_wide_video: Callable[[str], Path], tmp_path: Path) -> None:
    pipeline = make_pipeline(make_wide_video("12/11"), tmp_path, 2)
    reports = [pipeline.encode(segment) for segment in pipeline.segments]
    joined, _ = pipeline.join(reports, ".mkv")
    set_sample_aspect(joined.path, 0, (192, 144), Fraction(16, 11))
    assert read_aspect(joined.path) == Fraction(16, 11)
    with pytest.raises(SegmentError, match=r"its pixel aspect is 16/11 instead of 12/11"):
        verify_joined(joined, pipeline.plan, reports)


@pytest.mark.parametrize("damage", ["text", "short", "other"])
def test_file_not_written_by_ffmpeg_is_unchanged(
    damage: str, make_wide_video: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "other.mkv"
    whole = make_wide_video("1/1").read_bytes()
    data = {
        "text": b"no video at all",
        "short": whole[:70],
        "other": whole.replace(b"\x11\x4d\x9b\x74", b"\x11\x4d\x9b\x75", 1),
    }
    path.write_bytes(data[damage])
    with pytest.raises(SegmentError, match=r"other\.mkv: the head of the file is not as FFmpeg writes it"):
        set_sample_aspect(path, 0, (192, 144), Fraction(16, 15))
    assert path.read_bytes() == data[damage]
