"""Test that the tape model applies each defect as specified, and reproducibly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.restoration_truth.degrade import Frames, Tape, degrade

PERFECT = Tape(
    standard="ntsc",
    luma_bandwidth_hz=20e6,
    chroma_bandwidth_hz=20e6,
    chroma_shift_x_px=0.0,
    chroma_shift_y_px=0,
    noise_luma=0.0,
    noise_chroma=0.0,
    jitter_px=0.0,
    head_switching_lines=0,
    dropouts_per_field=0.0,
    black_level=16.0,
)


def make_frames(luma: tuple[int, ...] = (100, 100), lines: int = 480) -> Frames:
    """Return uniform frames, one per luma code."""
    frames = np.full((len(luma), 3, lines, 720), 128, np.uint8)
    frames[:, 0] = np.array(luma, np.uint8)[:, None, None]
    return frames


def draw_bar() -> Frames:
    """Return two frames with a bar of luma and color in the middle."""
    frames = make_frames()
    frames[:, :, :, 340:380] = 180
    return frames


@pytest.mark.parametrize(("order", "top", "bottom"), [("tff", 50, 150), ("bff", 150, 50)])
def test_each_field_has_a_separate_time(order: str, top: int, bottom: int) -> None:
    luma, _, _ = degrade(make_frames((50, 150)), replace(PERFECT, field_order=order))  # type: ignore[arg-type]
    assert luma.shape == (1, 480, 720)
    assert (luma[0, ::2] == top).all()
    assert (luma[0, 1::2] == bottom).all()


def test_odd_last_frame_is_dropped() -> None:
    luma, blue, red = degrade(make_frames((50, 150, 50)), PERFECT)
    assert (len(luma), blue.shape, red.shape) == (1, (1, 480, 360), (1, 480, 360))


def test_tape_depends_on_the_seed_only() -> None:
    once, again = degrade(draw_bar(), Tape("ntsc", seed=3)), degrade(draw_bar(), Tape("ntsc", seed=3))
    other = degrade(draw_bar(), Tape("ntsc", seed=4))
    assert all(np.array_equal(first, second) for first, second in zip(once, again, strict=True))
    assert not np.array_equal(once[0], other[0])


def test_noise_has_the_given_strength() -> None:
    luma, blue, _ = degrade(
        make_frames(), replace(PERFECT, noise_luma=4.0, noise_chroma=8.0, chroma_bandwidth_hz=0.4e6)
    )
    assert luma.std() == pytest.approx(4.0, rel=0.05)
    assert blue.std() == pytest.approx(8.0, rel=0.1)
    flat = blue[0].astype(float) - blue.mean()
    assert (flat[:, 1:] * flat[:, :-1]).mean() > 0.9 * flat.var()
    assert abs((flat[2:] * flat[:-2]).mean()) < 0.1 * flat.var()


def test_luma_is_limited_to_its_bandwidth() -> None:
    frames = make_frames()
    stripes = 60 * np.sin(2 * np.pi * np.arange(720) * 4.5 / 13.5)  # 4.5 MHz
    frames[:, 0] = np.uint8(128 + stripes)
    luma, _, _ = degrade(frames, replace(PERFECT, luma_bandwidth_hz=3e6))
    assert luma[0, :, 100:620].std() < 0.3 * frames[0, 0, :, 100:620].std()


def test_chroma_is_shifted_right_and_down() -> None:
    frames = make_frames()
    frames[:, 1, 200:280, 340:380] = 180
    _, blue, _ = degrade(frames, replace(PERFECT, chroma_shift_x_px=4.0, chroma_shift_y_px=2))
    rows, columns = np.nonzero(blue[0] > 154)
    assert rows.mean() == pytest.approx(239.5 + 2, abs=0.6)
    assert 2 * columns.mean() == pytest.approx(359.5 + 4, abs=1.1)


def test_only_lines_below_the_head_switch_are_torn() -> None:
    luma, _, _ = degrade(draw_bar(), replace(PERFECT, head_switching_lines=8))
    left = (luma[0] > 140).argmax(axis=1)
    assert (np.abs(left[:-8] - 340) <= 1).all()
    assert (left[-8:] >= 350).all()


def test_lines_are_shifted_by_their_jitter() -> None:
    luma, _, _ = degrade(draw_bar(), replace(PERFECT, jitter_px=3.0))
    left = (luma[0] > 140).argmax(axis=1)
    assert 2.0 < left.std() < 4.5


def test_dropouts_are_light_streaks() -> None:
    luma, _, _ = degrade(make_frames(), replace(PERFECT, dropouts_per_field=20.0))
    share = (luma > 150).mean()
    assert 0.0005 < share < 0.01


def test_black_is_raised_and_white_is_unchanged() -> None:
    luma, _, _ = degrade(make_frames((16, 16, 235, 235)), replace(PERFECT, black_level=28.0))
    assert (int(luma[0].max()), int(luma[1].min())) == (28, 235)


def test_frames_of_wrong_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"frames of pal are \(N, 3, 576, 720\), not \(2, 3, 480, 720\)"):
        degrade(make_frames(), replace(PERFECT, standard="pal"))
