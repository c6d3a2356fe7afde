"""Test measurements of noise, chroma shift, borders, torn lines, levels and audio of known size."""

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
    add_borders,
    add_noise,
    change_levels,
    diagnose_file,
    read_clip,
    record,
    shift_chroma,
    tear_lines,
)

# Frames of a worn tape; three pairs of them are measured.
FRAMES = 24
FIELDS = f"{SIZE},tinterlace=interleave_top"
CLIPS = ("skv_bikes.mp4", "kivy_cityCC0.mpg", "skv_bigbuckbunny.mp4", "dash_solidWhiteRight.mp4", "cv_box.mp4")
# Real clips without defects, and without borders or with known ones.
CLEAN = (*CLIPS[:3], "skv_carphone_pristine.mp4", "mpy_fire2.mp4", "h265_video.mp4", "bt709_full_range.mp4")
PILLARS = {"mpy_chaplin.mp4": Borders(left_px=72, right_px=72)}


def record_worn_clip(shared_data: Path, name: str, wears: list[Wear], tmp_path: Path, filters: str = SIZE) -> Path:
    clip = read_clip(shared_data / "video" / name, filters, FRAMES)
    for wear in wears:
        clip = wear(clip)
    return record(clip, tmp_path / "tape.nut")


@pytest.mark.parametrize("name", [*CLEAN, *PILLARS])
def test_clean_clips_have_no_defects(name: str, shared_data: Path) -> None:
    diagnosis = diagnose_file(shared_data / "video" / name)
    assert (diagnosis.field_order, diagnosis.telecine, diagnosis.is_mixed) == ("progressive", "none", False)
    assert (diagnosis.chroma_shift_x_px, diagnosis.chroma_shift_y_px, diagnosis.head_switching_lines) == (0, 0, 0)
    assert diagnosis.borders == PILLARS.get(name, Borders())
    assert diagnosis.noise_luma < 1.5
    assert diagnosis.noise_chroma < 1


@pytest.mark.parametrize(("luma", "chroma"), [(2, 3), (12, 15)])
@pytest.mark.parametrize("filters", [SIZE, FIELDS], ids=["frames", "fields"])
@pytest.mark.parametrize("name", CLIPS[:3])
def test_noise(name: str, filters: str, luma: float, chroma: float, shared_data: Path, tmp_path: Path) -> None:
    diagnosis = diagnose_file(record_worn_clip(shared_data, name, [add_noise(luma, chroma)], tmp_path, filters))
    assert diagnosis.noise_luma == pytest.approx(luma, rel=0.25)
    assert diagnosis.noise_chroma == pytest.approx(chroma, rel=0.25)


@pytest.mark.parametrize("shift", [(-6, 0), (0, 4), (8, -4)])
@pytest.mark.parametrize("name", CLIPS[1:4])
def test_chroma_shift(name: str, shift: tuple[int, int], shared_data: Path, tmp_path: Path) -> None:
    diagnosis = diagnose_file(record_worn_clip(shared_data, name, [shift_chroma(*shift)], tmp_path))
    assert (diagnosis.chroma_shift_x_px, diagnosis.chroma_shift_y_px) == pytest.approx(shift, abs=1)


def test_vertical_edges_show_no_vertical_chroma_shift(shared_data: Path, tmp_path: Path) -> None:
    """Use a clip whose first second has little color, only at vertical edges."""
    diagnosis = diagnose_file(record_worn_clip(shared_data, "skv_bikes.mp4", [shift_chroma(-6, 4)], tmp_path))
    assert diagnosis.chroma_shift_x_px == pytest.approx(-6, abs=1)
    assert diagnosis.chroma_shift_y_px == 0


@pytest.mark.parametrize("name", CLIPS[1:3])
def test_chroma_shift_of_noisy_fields(name: str, shared_data: Path, tmp_path: Path) -> None:
    diagnosis = diagnose_file(
        record_worn_clip(shared_data, name, [shift_chroma(6, 4), add_noise(5, 5)], tmp_path, FIELDS)
    )
    assert (diagnosis.chroma_shift_x_px, diagnosis.chroma_shift_y_px) == pytest.approx((6, 4), abs=1)


@pytest.mark.parametrize(
    "wear", [tear_lines(6), tear_lines(12), tear_lines(10, noise=True)], ids=["6", "12", "10-noise"]
)
@pytest.mark.parametrize("name", CLIPS)
def test_head_switching_lines(name: str, wear: Wear, shared_data: Path, tmp_path: Path) -> None:
    diagnosis = diagnose_file(record_worn_clip(shared_data, name, [wear], tmp_path))
    clean = read_clip(shared_data / "video" / name, SIZE, FRAMES)
    differing = (wear(clean).luma[5] != clean.luma[5]).any(axis=1)
    assert (diagnosis.head_switching_lines, diagnosis.borders) == (int(differing.sum()), Borders())


@pytest.mark.parametrize("name", CLIPS)
def test_borders(name: str, shared_data: Path, tmp_path: Path) -> None:
    diagnosis = diagnose_file(record_worn_clip(shared_data, name, [add_borders(8, 12, 4, 6)], tmp_path))
    assert diagnosis.borders == Borders(8, 12, 4, 6)
    diagnosis = diagnose_file(
        record_worn_clip(shared_data, name, [add_borders(10, 0, 0, 20, level=30), add_noise(6)], tmp_path)
    )
    assert diagnosis.borders == Borders(10, 0, 0, 20)
    assert diagnosis.head_switching_lines == 0


def test_borders_next_to_torn_lines_in_noise(shared_data: Path, tmp_path: Path) -> None:
    wears = [tear_lines(8), add_borders(8, 8, 0, 0), add_noise(4)]
    diagnosis = diagnose_file(record_worn_clip(shared_data, "skv_bikes.mp4", wears, tmp_path))
    assert (diagnosis.borders, diagnosis.head_switching_lines) == (Borders(8, 8, 0, 0), 8)


def test_dark_scenes_have_no_borders(shared_data: Path, tmp_path: Path) -> None:
    """Measure a lamp at night, and a night sky above a street: neither has a border."""
    frames = read_clip(shared_data / "video" / "skv_bikes.mp4", SIZE, FRAMES)
    lamp = np.full_like(frames.luma, 18)
    lamp[:, 150:190, 200:260] = frames.luma[:, 150:190, 200:260]
    sky = frames.luma.copy()
    for column in range(0, sky.shape[2], 8):
        sky[:, : 40 + column % 56, column : column + 8] = 17
    for luma in (lamp, sky):
        diagnosis = diagnose_file(record(add_noise(2)(Clip(luma, frames.blue, frames.red)), tmp_path / "tape.nut"))
        assert diagnosis.borders == Borders()


@pytest.mark.parametrize(("black", "noise"), [(16, 2), (24, 5), (32, 2), (8, 2)])
def test_black_level_of_a_frame_with_black(black: float, noise: float, shared_data: Path, tmp_path: Path) -> None:
    diagnosis = diagnose_file(
        record_worn_clip(shared_data, "mpy_chaplin.mp4", [change_levels(black, 235), add_noise(noise)], tmp_path)
    )
    assert diagnosis.black_level == pytest.approx(black, abs=0.5)


def test_black_level_from_black_borders(shared_data: Path, tmp_path: Path) -> None:
    wears = [change_levels(30, 235), add_borders(12, 12, 0, 0, level=30), add_noise(3)]
    assert diagnose_file(record_worn_clip(shared_data, "skv_bikes.mp4", wears, tmp_path)).black_level == pytest.approx(
        30, abs=0.5
    )


@pytest.mark.parametrize("black", [16, 28])
@pytest.mark.parametrize(
    "name", ["skv_bikes.mp4", "dash_solidWhiteRight.mp4", "kivy_cityCC0.mpg", "skv_carphone_pristine.mp4"]
)
def test_shadows_are_not_taken_for_black(name: str, black: float, shared_data: Path, tmp_path: Path) -> None:
    """Use clips whose darkest pixels are at 20 to 36, like raised black."""
    assert (
        diagnose_file(
            record_worn_clip(shared_data, name, [change_levels(black, 235), add_noise(2)], tmp_path)
        ).black_level
        == 16
    )


@pytest.mark.parametrize("white", [200, 250])
def test_white_level_without_white_is_a_high_percentile(white: float, shared_data: Path, tmp_path: Path) -> None:
    whole = diagnose_file(record_worn_clip(shared_data, "mpy_fire2.mp4", [change_levels(16, 235)], tmp_path))
    diagnosis = diagnose_file(record_worn_clip(shared_data, "mpy_fire2.mp4", [change_levels(16, white)], tmp_path))
    due = 16 + (whole.white_level - 16) * (white - 16) / 219
    assert diagnosis.white_level == pytest.approx(due, abs=2)


@pytest.mark.parametrize("white", [235, 245])
def test_white_level_of_a_title(white: int, shared_data: Path, tmp_path: Path) -> None:
    """Measure a white title board with brighter sparks."""
    frames = read_clip(shared_data / "video" / "skv_bikes.mp4", SIZE, FRAMES)
    board = frames.luma.copy()
    board[:, 40:120, 40:160] = white
    board[:, 64:80, 64:80] = 254
    diagnosis = diagnose_file(record(add_noise(3)(Clip(board, frames.blue, frames.red)), tmp_path / "tape.nut"))
    assert diagnosis.white_level == pytest.approx(white, abs=0.5)


MONO = "aevalsrc=0|0.3*sin(2*PI*440*t):s=48000:d=2"
STEREO = "aevalsrc=0.1*sin(2*PI*300*t)|0.3*sin(2*PI*440*t):s=44100:d=2"
QUIET = "aevalsrc=0|0:s=48000:d=2"
# Surround audio in the front channels only, and mono.
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
    path = record(read_clip(shared_data / "video" / "skv_bikes.mp4", SIZE, FRAMES), tmp_path / "tape.mkv", extra=extra)
    diagnosis = diagnose_file(path)
    assert (diagnosis.audio_channels, diagnosis.audio_rate_hz, diagnosis.silent_channels) == layout


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_diagnosis_of_a_few_frames(frames: int, shared_data: Path, tmp_path: Path) -> None:
    path = record(
        read_clip(shared_data / "video" / "skv_bikes.mp4", SIZE, FRAMES).cut(0, frames), tmp_path / "tape.nut"
    )
    diagnosis = diagnose_file(path)
    assert (diagnosis.frames, diagnosis.field_order, diagnosis.telecine) == (frames, "progressive", "none")
    assert (diagnosis.head_switching_lines, diagnosis.borders, diagnosis.audio_channels) == (0, Borders(), 0)
    assert len(diagnosis.windows) == 1


def test_diagnosis_of_a_still_image(shared_data: Path, tmp_path: Path) -> None:
    frame = read_clip(shared_data / "video" / "skv_bikes.mp4", SIZE, FRAMES).cut(0, 1)
    still = Clip(*(np.repeat(plane, 30, axis=0) for plane in (frame.luma, frame.blue, frame.red)))
    diagnosis = diagnose_file(record(still, tmp_path / "tape.nut"))
    assert (diagnosis.noise_luma, diagnosis.noise_chroma, diagnosis.interlaced_share) == (0, 0, 0)
    assert (diagnosis.field_order, diagnosis.head_switching_lines, diagnosis.borders) == ("progressive", 0, Borders())


@pytest.mark.parametrize("level", [0, 16, 128])
def test_diagnosis_of_a_single_color(level: int, tmp_path: Path) -> None:
    luma = np.full((30, 96, 128), level, np.uint8)
    chroma = np.full((30, 48, 64), 128, np.uint8)
    diagnosis = diagnose_file(record(Clip(luma, chroma, chroma), tmp_path / "tape.nut"))
    assert (diagnosis.black_level, diagnosis.white_level) == (16, 235)
    assert (diagnosis.borders, diagnosis.noise_luma, diagnosis.field_order) == (Borders(), 0, "progressive")


@pytest.mark.parametrize(
    "pixels", ["gray", "rgb24", "nv12", "yuv411p", "yuv422p10le", "yuyv422", "pal8", "yuv444p", "monob", "gbrp"]
)
def test_noise_in_all_pixel_formats(pixels: str, shared_data: Path, tmp_path: Path) -> None:
    frames = add_noise(6)(read_clip(shared_data / "video" / "skv_bikes.mp4", SIZE, FRAMES).cut(0, 12))
    diagnosis = diagnose_file(record(frames, tmp_path / "tape.nut", extra=("-pix_fmt", pixels)))
    assert (diagnosis.field_order, diagnosis.borders, diagnosis.head_switching_lines) == ("progressive", Borders(), 0)
    assert pixels in {"pal8", "monob"} or diagnosis.noise_luma == pytest.approx(6, rel=0.25)


def test_diagnosis_of_odd_and_tiny_sizes(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for width, height in ((2, 2), (16, 8), (98, 34)):
        luma = rng.integers(16, 235, (12, height, width), dtype=np.uint8)
        chroma = rng.integers(16, 240, (12, height // 2, width // 2), dtype=np.uint8)
        diagnosis = diagnose_file(record(Clip(luma, chroma, chroma), tmp_path / "tape.nut"))
        assert (diagnosis.width_px, diagnosis.height_px, diagnosis.head_switching_lines) == (width, height, 0)


@pytest.mark.parametrize(
    "name",
    ["testsrc2_odd_height_and_width_mpeg2.mp4", "testsrc2_odd_height_and_width_vp9.mp4", "nasa_13013_hdr.mp4"],
)
def test_diagnosis_of_odd_and_deep_clips(name: str, shared_data: Path) -> None:
    diagnosis = diagnose_file(shared_data / "video" / name)
    assert (diagnosis.field_order, diagnosis.borders, diagnosis.head_switching_lines) == ("progressive", Borders(), 0)
    assert 0 <= diagnosis.black_level < diagnosis.white_level <= 255


def test_sample_aspect_and_rate(shared_data: Path) -> None:
    diagnosis = diagnose_file(shared_data / "video" / "skv_carphone_pristine.mp4")
    assert diagnosis.sample_aspect == "128:117"
    assert diagnosis.fps == pytest.approx(30000 / 1001, rel=0.01)


def test_damaged_tape_is_measured_where_it_is_intact(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "video" / "kivy_cityCC0.mpg"
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path = tmp_path / "hurt.mpg"
    path.write_bytes(data)
    diagnosis = diagnose_file(path, tolerant=True)
    assert (diagnosis.field_order, diagnosis.borders) == ("progressive", Borders())


def test_tape_without_an_intact_frame_is_an_error(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "video" / "nasa_13013.mp4"
    survey = survey_video(source)
    data = bytearray(source.read_bytes())
    begin, index = data.index(b"mdat") + 4, data.index(b"moov") - 4
    end = index if index > begin else len(data)
    data[begin:end] = bytes(end - begin)
    path = tmp_path / "empty.mp4"
    path.write_bytes(data)
    with pytest.raises(BadInput, match="no frame can be decoded"):
        diagnose(path, survey)


def test_windows_of_a_long_tape_are_few() -> None:
    """Plan two hours: eight windows of two seconds, one in each eighth."""
    frames = 2 * 3600 * 25
    ticks = np.arange(frames)
    windows = plan_windows(Timeline(ticks, ticks, frames, Fraction(1, 25)))
    assert [len(window) for window in windows] == [50] * 8
    assert [window.start * 8 // frames for window in windows] == list(range(8))
    assert all(len(choose_pairs(window)) == 3 for window in windows)
