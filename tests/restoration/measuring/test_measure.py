"""Noise, colour, borders, torn lines, levels and sound of known sizes, and tapes that tell little or nothing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tasks.engine.contract.errors import BadInput
from tasks.media.segments.source import survey_video
from tasks.media.timeline import Timeline
from tasks.restoration.diagnosis import Borders
from tasks.restoration.measuring.measure import diagnose
from tasks.restoration.measuring.windows import choose_pairs, plan_windows

from .tapes import (
    SIZE,
    Clip,
    Wear,
    bordered,
    chroma_moved,
    clip,
    levelled,
    measured,
    noisy,
    record,
    torn,
)

# Frames of a worn tape: three pairs of them are looked at.
FRAMES = 24
FIELDS = f"{SIZE},tinterlace=interleave_top"
CLIPS = ("skv_bikes.mp4", "kivy_cityCC0.mpg", "skv_bigbuckbunny.mp4", "dash_solidWhiteRight.mp4", "cv_box.mp4")
# Real clips that are as they should be: their own borders are none, or known.
CLEAN = (*CLIPS[:3], "skv_carphone_pristine.mp4", "mpy_fire2.mp4", "h265_video.mp4", "bt709_full_range.mp4")
PILLARS = {"mpy_chaplin.mp4": Borders(left_px=72, right_px=72)}


def tape(shared_data: Path, name: str, wears: list[Wear], tmp_path: Path, filters: str = SIZE) -> Path:
    picture = clip(shared_data / "video" / name, filters, FRAMES)
    for wear in wears:
        picture = wear(picture)
    return record(picture, tmp_path / "tape.nut")


@pytest.mark.parametrize("name", [*CLEAN, *PILLARS])
def test_clean_clips_have_no_defects(name: str, shared_data: Path) -> None:
    found = measured(shared_data / "video" / name)
    assert (found.field_order, found.telecine, found.is_mixed) == ("progressive", "none", False)
    assert (found.chroma_shift_x_px, found.chroma_shift_y_px, found.head_switching_lines) == (0, 0, 0)
    assert found.borders == PILLARS.get(name, Borders())
    assert found.noise_luma < 1.5
    assert found.noise_chroma < 1


@pytest.mark.parametrize(("luma", "chroma"), [(2, 3), (12, 15)])
@pytest.mark.parametrize("filters", [SIZE, FIELDS], ids=["frames", "fields"])
@pytest.mark.parametrize("name", CLIPS[:3])
def test_noise(name: str, filters: str, luma: float, chroma: float, shared_data: Path, tmp_path: Path) -> None:
    found = measured(tape(shared_data, name, [noisy(luma, chroma)], tmp_path, filters))
    assert found.noise_luma == pytest.approx(luma, rel=0.25)
    assert found.noise_chroma == pytest.approx(chroma, rel=0.25)


@pytest.mark.parametrize("shift", [(-6, 0), (0, 4), (8, -4)])
@pytest.mark.parametrize("name", CLIPS[1:4])
def test_chroma_shift(name: str, shift: tuple[int, int], shared_data: Path, tmp_path: Path) -> None:
    found = measured(tape(shared_data, name, [chroma_moved(*shift)], tmp_path))
    assert (found.chroma_shift_x_px, found.chroma_shift_y_px) == pytest.approx(shift, abs=1)


def test_vertical_edges_show_no_vertical_chroma_shift(shared_data: Path, tmp_path: Path) -> None:
    """The first second of this clip has little colour, all of it in upright edges."""
    found = measured(tape(shared_data, "skv_bikes.mp4", [chroma_moved(-6, 4)], tmp_path))
    assert found.chroma_shift_x_px == pytest.approx(-6, abs=1)
    assert found.chroma_shift_y_px == 0


@pytest.mark.parametrize("name", CLIPS[1:3])
def test_chroma_shift_of_noisy_fields(name: str, shared_data: Path, tmp_path: Path) -> None:
    found = measured(tape(shared_data, name, [chroma_moved(6, 4), noisy(5, 5)], tmp_path, FIELDS))
    assert (found.chroma_shift_x_px, found.chroma_shift_y_px) == pytest.approx((6, 4), abs=1)


@pytest.mark.parametrize("wear", [torn(6), torn(12), torn(10, noise=True)], ids=["6", "12", "10-noise"])
@pytest.mark.parametrize("name", CLIPS)
def test_head_switching_lines(name: str, wear: Wear, shared_data: Path, tmp_path: Path) -> None:
    found = measured(tape(shared_data, name, [wear], tmp_path))
    clean = clip(shared_data / "video" / name, SIZE, FRAMES)
    differing = (wear(clean).luma[5] != clean.luma[5]).any(axis=1)
    assert (found.head_switching_lines, found.borders) == (int(differing.sum()), Borders())


@pytest.mark.parametrize("name", CLIPS)
def test_borders(name: str, shared_data: Path, tmp_path: Path) -> None:
    found = measured(tape(shared_data, name, [bordered(8, 12, 4, 6)], tmp_path))
    assert found.borders == Borders(8, 12, 4, 6)
    found = measured(tape(shared_data, name, [bordered(10, 0, 0, 20, level=30), noisy(6)], tmp_path))
    assert found.borders == Borders(10, 0, 0, 20)
    assert found.head_switching_lines == 0


def test_borders_next_to_torn_lines_in_noise(shared_data: Path, tmp_path: Path) -> None:
    wears = [torn(8), bordered(8, 8, 0, 0), noisy(4)]
    found = measured(tape(shared_data, "skv_bikes.mp4", wears, tmp_path))
    assert (found.borders, found.head_switching_lines) == (Borders(8, 8, 0, 0), 8)


def test_dark_scenes_have_no_borders(shared_data: Path, tmp_path: Path) -> None:
    """A night with one lamp, and a night sky above a street; nothing says that there is a border."""
    frames = clip(shared_data / "video" / "skv_bikes.mp4", SIZE, FRAMES)
    lamp = np.full_like(frames.luma, 18)
    lamp[:, 150:190, 200:260] = frames.luma[:, 150:190, 200:260]
    sky = frames.luma.copy()
    for column in range(0, sky.shape[2], 8):
        sky[:, : 40 + column % 56, column : column + 8] = 17
    for luma in (lamp, sky):
        found = measured(record(noisy(2)(Clip(luma, frames.blue, frames.red)), tmp_path / "tape.nut"))
        assert found.borders == Borders()


@pytest.mark.parametrize(("black", "noise"), [(16, 2), (24, 5), (32, 2), (8, 2)])
def test_black_level_of_a_frame_with_black(black: float, noise: float, shared_data: Path, tmp_path: Path) -> None:
    found = measured(tape(shared_data, "mpy_chaplin.mp4", [levelled(black, 235), noisy(noise)], tmp_path))
    assert found.black_level == pytest.approx(black, abs=0.5)


def test_black_level_from_black_borders(shared_data: Path, tmp_path: Path) -> None:
    wears = [levelled(30, 235), bordered(12, 12, 0, 0, level=30), noisy(3)]
    assert measured(tape(shared_data, "skv_bikes.mp4", wears, tmp_path)).black_level == pytest.approx(30, abs=0.5)


@pytest.mark.parametrize("black", [16, 28])
@pytest.mark.parametrize(
    "name", ["skv_bikes.mp4", "dash_solidWhiteRight.mp4", "kivy_cityCC0.mpg", "skv_carphone_pristine.mp4"]
)
def test_shadows_are_not_taken_for_black(name: str, black: float, shared_data: Path, tmp_path: Path) -> None:
    """The darkest pixels of these lie at 20 to 36; of a tape whose black is raised they look like it."""
    assert measured(tape(shared_data, name, [levelled(black, 235), noisy(2)], tmp_path)).black_level == 16


@pytest.mark.parametrize("white", [200, 250])
def test_white_level_without_white_is_a_high_percentile(white: float, shared_data: Path, tmp_path: Path) -> None:
    whole = measured(tape(shared_data, "mpy_fire2.mp4", [levelled(16, 235)], tmp_path))
    found = measured(tape(shared_data, "mpy_fire2.mp4", [levelled(16, white)], tmp_path))
    due = 16 + (whole.white_level - 16) * (white - 16) / 219
    assert found.white_level == pytest.approx(due, abs=2)


@pytest.mark.parametrize("white", [235, 245])
def test_white_level_of_a_title(white: int, shared_data: Path, tmp_path: Path) -> None:
    """A title on a white board, with sparks brighter than it."""
    frames = clip(shared_data / "video" / "skv_bikes.mp4", SIZE, FRAMES)
    board = frames.luma.copy()
    board[:, 40:120, 40:160] = white
    board[:, 64:80, 64:80] = 254
    found = measured(record(noisy(3)(Clip(board, frames.blue, frames.red)), tmp_path / "tape.nut"))
    assert found.white_level == pytest.approx(white, abs=0.5)


MONO = "aevalsrc=0|0.3*sin(2*PI*440*t):s=48000:d=2"
STEREO = "aevalsrc=0.1*sin(2*PI*300*t)|0.3*sin(2*PI*440*t):s=44100:d=2"
QUIET = "aevalsrc=0|0:s=48000:d=2"
# Surround sound with the front channels alone, and one channel alone.
SURROUND = "aevalsrc=0.3*sin(2*PI*440*t)|0.3*sin(2*PI*300*t)|0|0|0|0:s=48000:d=2:c=5.1"
ONE = "aevalsrc=0.3*sin(2*PI*440*t):s=48000:d=2"


@pytest.mark.parametrize(
    ("source", "codec", "layout"),
    [
        (MONO, "pcm_s16le", (2, 48000, (0,))),
        (MONO, "aac", (2, 48000, (0,))),
        (STEREO, "pcm_s16le", (2, 44100, ())),
        (QUIET, "pcm_s16le", (2, 48000, ())),
        (SURROUND, "pcm_s16le", (6, 48000, ())),
        (SURROUND, "ac3", (6, 48000, ())),
        (ONE, "pcm_s16le", (1, 48000, ())),
    ],
)
def test_audio_and_silent_channels(
    source: str, codec: str, layout: tuple[int, int, tuple[int, ...]], shared_data: Path, tmp_path: Path
) -> None:
    extra = ("-f", "lavfi", "-i", source, "-c:a", codec)
    path = record(clip(shared_data / "video" / "skv_bikes.mp4", SIZE, FRAMES), tmp_path / "tape.mkv", extra=extra)
    found = measured(path)
    assert (found.audio_channels, found.audio_rate_hz, found.silent_channels) == layout


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_diagnosis_of_a_few_frames(frames: int, shared_data: Path, tmp_path: Path) -> None:
    path = record(clip(shared_data / "video" / "skv_bikes.mp4", SIZE, FRAMES).cut(0, frames), tmp_path / "tape.nut")
    found = measured(path)
    assert (found.frames, found.field_order, found.telecine) == (frames, "progressive", "none")
    assert (found.head_switching_lines, found.borders, found.audio_channels) == (0, Borders(), 0)
    assert len(found.windows) == 1


def test_diagnosis_of_a_still_image(shared_data: Path, tmp_path: Path) -> None:
    one = clip(shared_data / "video" / "skv_bikes.mp4", SIZE, FRAMES).cut(0, 1)
    still = Clip(*(np.repeat(plane, 30, axis=0) for plane in (one.luma, one.blue, one.red)))
    found = measured(record(still, tmp_path / "tape.nut"))
    assert (found.noise_luma, found.noise_chroma, found.interlaced_share) == (0, 0, 0)
    assert (found.field_order, found.head_switching_lines, found.borders) == ("progressive", 0, Borders())


@pytest.mark.parametrize("level", [0, 16, 128])
def test_diagnosis_of_a_single_color(level: int, tmp_path: Path) -> None:
    luma = np.full((30, 96, 128), level, np.uint8)
    chroma = np.full((30, 48, 64), 128, np.uint8)
    found = measured(record(Clip(luma, chroma, chroma), tmp_path / "tape.nut"))
    assert (found.black_level, found.white_level) == (16, 235)
    assert (found.borders, found.noise_luma, found.field_order) == (Borders(), 0, "progressive")


@pytest.mark.parametrize(
    "pixels", ["gray", "rgb24", "nv12", "yuv411p", "yuv422p10le", "yuyv422", "pal8", "yuv444p", "monob", "gbrp"]
)
def test_noise_in_all_pixel_formats(pixels: str, shared_data: Path, tmp_path: Path) -> None:
    picture = noisy(6)(clip(shared_data / "video" / "skv_bikes.mp4", SIZE, FRAMES).cut(0, 12))
    found = measured(record(picture, tmp_path / "tape.nut", extra=("-pix_fmt", pixels)))
    assert (found.field_order, found.borders, found.head_switching_lines) == ("progressive", Borders(), 0)
    assert pixels in {"pal8", "monob"} or found.noise_luma == pytest.approx(6, rel=0.25)


def test_diagnosis_of_odd_and_tiny_sizes(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for width, height in ((2, 2), (16, 8), (98, 34)):
        luma = rng.integers(16, 235, (12, height, width), dtype=np.uint8)
        chroma = rng.integers(16, 240, (12, height // 2, width // 2), dtype=np.uint8)
        found = measured(record(Clip(luma, chroma, chroma), tmp_path / "tape.nut"))
        assert (found.width_px, found.height_px, found.head_switching_lines) == (width, height, 0)


@pytest.mark.parametrize(
    "name",
    ["testsrc2_odd_height_and_width_mpeg2.mp4", "testsrc2_odd_height_and_width_vp9.mp4", "nasa_13013_hdr.mp4"],
)
def test_diagnosis_of_odd_and_deep_clips(name: str, shared_data: Path) -> None:
    found = measured(shared_data / "video" / name)
    assert (found.field_order, found.borders, found.head_switching_lines) == ("progressive", Borders(), 0)
    assert 0 <= found.black_level < found.white_level <= 255


def test_sample_aspect_and_rate(shared_data: Path) -> None:
    found = measured(shared_data / "video" / "skv_carphone_pristine.mp4")
    assert found.sample_aspect == "128:117"
    assert found.fps == pytest.approx(30000 / 1001, rel=0.01)


def test_damaged_tape_is_measured_where_it_is_intact(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "video" / "kivy_cityCC0.mpg"
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path = tmp_path / "hurt.mpg"
    path.write_bytes(data)
    found = measured(path, tolerant=True)
    assert (found.field_order, found.borders) == ("progressive", Borders())


def test_tape_without_an_intact_frame_is_an_error(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "video" / "nasa_13013.mp4"
    known = survey_video(source)
    data = bytearray(source.read_bytes())
    begin, index = data.index(b"mdat") + 4, data.index(b"moov") - 4
    end = index if index > begin else len(data)
    data[begin:end] = bytes(end - begin)
    path = tmp_path / "empty.mp4"
    path.write_bytes(data)
    with pytest.raises(BadInput, match="no frame can be decoded"):
        diagnose(path, known)


def test_windows_of_a_long_tape_are_few() -> None:
    """Two hours: eight windows of two seconds, one in each eighth."""
    frames = 2 * 3600 * 25
    ticks = np.arange(frames)
    windows = plan_windows(Timeline(ticks, ticks, frames, Fraction(1, 25)))
    assert [len(window) for window in windows] == [50] * 8
    assert [window.start * 8 // frames for window in windows] == list(range(8))
    assert all(len(choose_pairs(window)) == 3 for window in windows)
