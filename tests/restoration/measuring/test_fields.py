"""Test the detection of field order, telecine and mixed tapes, made by FFmpeg's filters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.media.segments.source import survey_video

from .tapes import HEIGHT, SIZE, WIDTH, Clip, Plane, add_noise, diagnose_file, read_clip, record

MOVING = ("skv_bikes.mp4", "kivy_cityCC0.mpg", "skv_bigbuckbunny.mp4", "dash_solidWhiteRight.mp4", "mpy_chaplin.mp4")
FIELDS = {"tff": "tinterlace=interleave_top", "bff": "tinterlace=interleave_bottom"}
TELECINE = {"tff": "telecine=first_field=top:pattern=23", "bff": "telecine=first_field=bottom:pattern=23"}


def record_worn_clip(
    shared_data: Path, name: str, filters: str, sigma: float, tmp_path: Path, frames: int = 60
) -> Path:
    clip = read_clip(shared_data / "video" / name, f"{SIZE},{filters}", frames)
    return record(add_noise(sigma)(clip), tmp_path / "tape.nut")


@pytest.mark.parametrize("sigma", [8])
@pytest.mark.parametrize("name", MOVING)
def test_progressive_clips_are_recognized(name: str, sigma: float, shared_data: Path, tmp_path: Path) -> None:
    diagnosis = diagnose_file(record_worn_clip(shared_data, name, "null", sigma, tmp_path))
    assert (diagnosis.field_order, diagnosis.telecine, diagnosis.is_mixed) == ("progressive", "none", False)
    assert diagnosis.interlaced_share < 0.1


@pytest.mark.parametrize("sigma", [8])
@pytest.mark.parametrize(("name", "order"), [*((name, "tff") for name in MOVING), (MOVING[0], "bff")])
def test_interlaced_clips_are_recognized(
    name: str, order: str, sigma: float, shared_data: Path, tmp_path: Path
) -> None:
    diagnosis = diagnose_file(record_worn_clip(shared_data, name, FIELDS[order], sigma, tmp_path))
    assert (diagnosis.field_order, diagnosis.telecine, diagnosis.is_mixed) == (order, "none", False)
    assert diagnosis.interlaced_share > 0.8


@pytest.mark.parametrize("sigma", [0, 8])
@pytest.mark.parametrize(("name", "order"), [*((name, "tff") for name in MOVING[:3]), (MOVING[1], "bff")])
def test_telecined_clips_are_recognized(name: str, order: str, sigma: float, shared_data: Path, tmp_path: Path) -> None:
    diagnosis = diagnose_file(record_worn_clip(shared_data, name, TELECINE[order], sigma, tmp_path))
    assert (diagnosis.field_order, diagnosis.telecine, diagnosis.is_mixed) == (order, "3:2", False)
    assert sigma or 0.35 < diagnosis.windows[0].repeated_field_share < 0.55


@pytest.mark.parametrize("filters", ["fps=12,fps=24", "fps=15,fps=30", "telecine=pattern=22"])
def test_other_repeated_frames_are_not_telecine(filters: str, shared_data: Path, tmp_path: Path) -> None:
    """Repeat every frame, or use two fields per film frame as in PAL."""
    diagnosis = diagnose_file(record_worn_clip(shared_data, "skv_bikes.mp4", filters, 0, tmp_path))
    assert (diagnosis.field_order, diagnosis.telecine) == ("progressive", "none")


def test_tape_with_both_kinds_is_mixed(shared_data: Path, tmp_path: Path) -> None:
    video = shared_data / "video"
    fields = read_clip(video / "skv_bikes.mp4", f"{SIZE},{FIELDS['bff']}")
    frames = read_clip(video / "skv_bigbuckbunny.mp4")
    diagnosis = diagnose_file(record(fields + frames, tmp_path / "tape.nut"))
    assert (diagnosis.field_order, diagnosis.is_mixed) == ("bff", True)
    assert 0.4 < diagnosis.interlaced_share < 0.6
    shares = [(window.bff_share > 0.8, window.progressive_share > 0.8) for window in diagnosis.windows]
    assert shares == [(True, False), (False, True)]


def test_still_windows_are_undecided(shared_data: Path, tmp_path: Path) -> None:
    """Record a still, noisy title in half of the tape: missing combs are no evidence there."""
    moving = read_clip(shared_data / "video" / "skv_bikes.mp4", f"{SIZE},{FIELDS['tff']}")
    title = moving.cut(0, 1)
    still = Clip(*(np.repeat(plane, 60, axis=0) for plane in (title.luma, title.blue, title.red)))
    diagnosis = diagnose_file(record(add_noise(4)(still + moving), tmp_path / "tape.nut"))
    assert (diagnosis.field_order, diagnosis.is_mixed) == ("tff", False)
    assert [window.tff_share + window.bff_share + window.progressive_share > 0.5 for window in diagnosis.windows] == [
        False,
        True,
    ]


def test_field_order_without_motion_is_that_of_the_file(shared_data: Path, tmp_path: Path) -> None:
    title = read_clip(shared_data / "video" / "kivy_cityCC0.mpg", f"{SIZE},{FIELDS['tff']}").cut(0, 1)
    still = Clip(*(np.repeat(plane, 20, axis=0) for plane in (title.luma, title.blue, title.red)))
    path = record(still, tmp_path / "tape.mkv", extra=("-vf", "setfield=bff", "-c:v", "ffv1"))
    assert survey_video(path).picture.field_order == "bff"
    assert diagnose_file(path).field_order == "bff"
    assert diagnose_file(record(still, tmp_path / "untagged.nut")).field_order == "progressive"


def test_vertical_motion_by_a_line_per_frame_is_progressive(shared_data: Path, tmp_path: Path) -> None:
    """Move by one line per frame: fields fit those of the next frame almost as well as their own."""
    tall = read_clip(shared_data / "video" / "kivy_cityCC0.mpg", f"{SIZE}", 1)
    for lines in (1, 2, -1):
        planes = [
            np.concatenate([np.roll(plane, -number * lines // step, axis=1) for number in range(40)])
            for plane, step in ((tall.luma, 1), (tall.blue, 2), (tall.red, 2))
        ]
        diagnosis = diagnose_file(record(Clip(*planes), tmp_path / f"tape{lines}.nut"))
        assert diagnosis.field_order == "progressive"
        assert (diagnosis.width_px, diagnosis.height_px, diagnosis.frames) == (WIDTH, HEIGHT, 40)


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_still_with_jittering_lines_has_the_order_of_the_file(order: str, shared_data: Path, tmp_path: Path) -> None:
    """Shift lines differently in every field, like a player without time base corrector."""
    still = read_clip(shared_data / "video" / "skv_bikes.mp4", SIZE, 24).luma[0]
    rng = np.random.default_rng(4)
    luma = np.stack([jitter_lines(still, rng) for _ in range(40)])
    grey = np.full((len(luma), HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    tagged = ("-c:v", "ffv1", "-vf", f"setfield={order}", "-field_order", {"tff": "tt", "bff": "bb"}[order])
    assert diagnose_file(record(Clip(luma, grey, grey), tmp_path / "tape.mkv", extra=tagged)).field_order == order


def jitter_lines(still: Plane, rng: np.random.Generator) -> Plane:
    """Return ``still`` with each line shifted by about a pixel."""
    places = np.arange(still.shape[1])
    lines = [np.interp(places + rng.normal(0, 0.6), places, line) for line in still]
    return np.rint(np.stack(lines)).astype(np.uint8)
