"""Quality figures of synthetic tracks with known figures, and of real tracks that were degraded on purpose."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from tasks.landmarks.metrics_columns import COLUMNS, QUALITY, SUMMARY_KEYS, render_columns, render_summary_keys
from tasks.landmarks.points import MODEL_KINDS, POSE_NAMES, SKELETONS
from tasks.landmarks.quality import Quality, list_figures, measure_quality
from tasks.landmarks.sequence import BadFrame, LandmarkSequence, Source

HOLISTIC = SKELETONS["holistic"]
LEFT, RIGHT = "left_hand_landmarks", "right_hand_landmarks"
WIDTH, HEIGHT = 640, 360
SHOULDERS = 100.0  # px apart
PALM = 40.0  # px


def create_person(frames=50, kind="holistic", fps=25.0):
    """Return a person at rest: hands 300 px apart, at the pose's wrists; shoulders 100 px apart, palms of 40 px."""
    skeleton = SKELETONS[kind]
    pixels = np.zeros((frames, skeleton.points, 2))
    for part in skeleton.parts:
        pixels[:, part.span] = _place_points(part)
    points = np.ones((frames, skeleton.points, 4), np.float32)
    points[..., :2] = pixels / (WIDTH, HEIGHT)
    points[..., 2] = 0
    source = np.full((frames, len(skeleton.parts)), Source.DETECTED, np.uint8)
    return LandmarkSequence(kind, skeleton, points, source, np.arange(frames) / fps, fps, WIDTH, HEIGHT)


def _place_points(part):
    rng = np.random.default_rng(part.points)  # the same shape for both hands
    place = rng.uniform(-20, 20, (part.points, 2))
    if part.name == "pose_landmarks":
        place += (320, 180)
        for name, offset in (("shoulder", (50, 120)), ("wrist", (150, 250))):
            place[POSE_NAMES.index(f"left_{name}")] = (320 + offset[0], offset[1])
            place[POSE_NAMES.index(f"right_{name}")] = (320 - offset[0], offset[1])
    elif part.name == "face_landmarks":
        place += (320, 60)
        place[33], place[263] = (300, 60), (350, 60)
    else:
        place[0], place[9] = (0, 0), (0, -PALM)
        place = place * (1, 1) + (470, 250) if part.name == LEFT else place * (-1, 1) + (170, 250)
    return place


def lose(sequence, name, frames):
    """Remove a part in ``frames``."""
    points, source = sequence.points.copy(), sequence.source.copy()
    points[frames, sequence.skeleton.find_part(name).span] = np.nan
    source[frames, sequence.skeleton.get_index(name)] = Source.MISSING
    return replace(sequence, points=points, source=source)


def exchange(sequence, frames):
    """Swap the labels of the hands in ``frames``."""
    points, source = sequence.points.copy(), sequence.source.copy()
    left, right = (sequence.skeleton.find_part(name).span for name in (LEFT, RIGHT))
    points[frames, left], points[frames, right] = sequence.points[frames, right], sequence.points[frames, left]
    numbers = [sequence.skeleton.get_index(name) for name in (LEFT, RIGHT)]
    source[frames, numbers[0]], source[frames, numbers[1]] = (sequence.source[frames, n] for n in reversed(numbers))
    return replace(sequence, points=points, source=source)


def shift(sequence, name, frames, pixels):
    """Move a part in ``frames``."""
    points = sequence.points.copy()
    points[frames, sequence.skeleton.find_part(name).span, :2] += np.array(pixels) / (WIDTH, HEIGHT)
    return replace(sequence, points=points)


def shake(sequence, name, sigma_px):
    """Add white noise to a part."""
    points, part = sequence.points.copy(), sequence.skeleton.find_part(name)
    noise = np.random.default_rng(5).normal(0, sigma_px, (sequence.frames, part.points, 2))
    points[:, part.span, :2] += noise / (WIDTH, HEIGHT)
    return replace(sequence, points=points)


def test_person_at_rest_has_ideal_figures():
    assert measure_quality(create_person()) == Quality(
        frames=50,
        bad_frames=0,
        duration_seconds=pytest.approx(2),
        video_fps=25,
        pose_coverage=1,
        face_coverage=1,
        left_hand_coverage=1,
        right_hand_coverage=1,
        hand_coverage=1,
        any_hand_coverage=1,
        rescued_hand_coverage=0,
        longest_gap_frames=0,
        left_hand_longest_gap_frames=0,
        right_hand_longest_gap_frames=0,
        hand_swaps=0,
        wrong_wrist_frames=0,
        doubled_hand_frames=0,
        wrist_hand_distance_shoulder_widths=pytest.approx(0, abs=1e-5),
        pose_jitter_shoulder_widths=0,
        face_jitter_eye_distances=0,
        left_hand_jitter_palm_lengths=0,
        right_hand_jitter_palm_lengths=0,
        person_jumps=0,
        shoulder_width_px=pytest.approx(SHOULDERS, rel=1e-5),
    )


def test_coverage_and_gaps_are_counted():
    sequence = lose(lose(create_person(10), LEFT, [0, 1, 2, 6]), RIGHT, [2, 3])
    sequence.source[8, 2] = Source.RESCUED
    quality = measure_quality(lose(sequence, "face_landmarks", slice(5, 10)))
    assert (quality.left_hand_coverage, quality.right_hand_coverage, quality.hand_coverage) == (0.6, 0.8, 0.7)
    assert (quality.any_hand_coverage, quality.rescued_hand_coverage) == (0.9, 0.05)
    assert (quality.left_hand_longest_gap_frames, quality.right_hand_longest_gap_frames) == (3, 2)
    assert (quality.face_coverage, quality.longest_gap_frames) == (0.5, 5)


def test_filled_frames_do_not_count_as_detected():
    sequence = create_person(10)
    sequence.source[3:5, 2] = Source.FILLED
    assert measure_quality(sequence).left_hand_coverage == 0.8
    assert measure_quality(sequence).left_hand_longest_gap_frames == 2


def test_bad_frames_are_counted_and_the_last_frame_has_a_duration():
    sequence = replace(
        create_person(4), bad_frames=(BadFrame(1, "a.png", "truncated"), BadFrame(2, "b.png", "truncated"))
    )
    assert measure_quality(sequence).bad_frames == 2
    assert measure_quality(replace(sequence, times_seconds=np.array([5, 5.1, 5.5, 7]))).duration_seconds == 2.04


@pytest.mark.parametrize("kind", MODEL_KINDS)
@pytest.mark.parametrize("frames", [0, 1, 2, 3, 30])
@pytest.mark.parametrize("is_detected", [True, False])
def test_every_model_and_length_gives_the_same_names_with_numbers_or_none(kind, frames, is_detected):
    sequence = create_person(frames, kind)
    for part in () if is_detected else sequence.skeleton.parts:
        sequence = lose(sequence, part.name, slice(None))
    figures = list_figures(measure_quality(sequence))
    assert list(figures) == [column.name for column in QUALITY]
    json.dumps(figures, allow_nan=False)
    for column in QUALITY:
        assert type(figures[column.name]) in (int, type(None)) or column.type == "float64", column


@pytest.mark.parametrize(
    ("kind", "detected_parts"), [("hands", {LEFT, RIGHT}), ("pose", {"pose_landmarks"}), ("face", {"face_landmarks"})]
)
def test_figures_of_undetected_parts_are_none(kind, detected_parts):
    quality = measure_quality(create_person(kind=kind))
    has_hands, has_pose = LEFT in detected_parts, "pose_landmarks" in detected_parts
    for hand_figure in (
        "hand_coverage",
        "hand_swaps",
        "left_hand_longest_gap_frames",
        "right_hand_jitter_palm_lengths",
    ):
        assert (getattr(quality, hand_figure) is not None) == has_hands
    for pose_figure in ("pose_coverage", "person_jumps", "shoulder_width_px", "pose_jitter_shoulder_widths"):
        assert (getattr(quality, pose_figure) is not None) == has_pose
    assert quality.wrong_wrist_frames is quality.wrist_hand_distance_shoulder_widths is None


@pytest.mark.parametrize("kind", ["holistic", "hands"])
@pytest.mark.parametrize(
    ("frames", "swaps"), [(slice(20, None), 1), (slice(20, 30), 2), (slice(20, 21), 2), (slice(0, 1), 1), ([], 0)]
)
def test_swap_and_its_return_are_counted(kind, frames, swaps):
    assert measure_quality(exchange(create_person(kind=kind), frames)).hand_swaps == swaps


def test_single_hand_that_changes_its_label_is_a_swap():
    alone = lose(create_person(), RIGHT, slice(None))
    assert measure_quality(exchange(alone, slice(20, None))).hand_swaps == 1


def test_hand_that_appears_after_the_other_left_is_not_a_swap():
    assert measure_quality(lose(lose(create_person(), RIGHT, slice(25)), LEFT, slice(25, None))).hand_swaps == 0


def test_swap_is_counted_across_short_gaps_only():
    exchanged = exchange(create_person(), slice(25, None))
    assert measure_quality(lose(lose(exchanged, LEFT, slice(22, 25)), RIGHT, slice(22, 25))).hand_swaps == 1
    assert measure_quality(lose(lose(exchanged, LEFT, slice(15, 25)), RIGHT, slice(15, 25))).hand_swaps == 0


def test_noisy_overlapping_hands_are_not_a_swap():
    sequence = create_person()
    left, right = (HOLISTIC.find_part(name).span for name in (LEFT, RIGHT))
    sequence.points[:, right] = sequence.points[:, left] + (0.2 * PALM / WIDTH, 0, 0, 0)
    assert measure_quality(exchange(sequence, slice(1, None, 2))).hand_swaps == 0


def test_crossing_hands_are_not_a_swap():
    frames = 30
    crossing = create_person(frames)
    for frame in range(frames):
        crossing = shift(crossing, LEFT, [frame], (-300 * frame / frames, 0))
        crossing = shift(crossing, RIGHT, [frame], (300 * frame / frames, 0))
    assert measure_quality(crossing).hand_swaps == 0


def test_fast_hand_is_not_a_swap():
    fast = create_person(20)
    for frame in range(20):
        fast = shift(fast, LEFT, [frame], (-30 * (frame % 5), 0))  # back by 3 palms in one frame
    assert measure_quality(fast).hand_swaps == 0


def test_hand_at_the_other_wrist_is_counted_per_frame():
    assert measure_quality(exchange(create_person(), slice(20, 27))).wrong_wrist_frames == 7
    assert measure_quality(shift(create_person(), LEFT, slice(5), (-250, 0))).wrong_wrist_frames == 5
    assert measure_quality(shift(create_person(), LEFT, slice(5), (-100, 0))).wrong_wrist_frames == 0


def test_touching_wrists_are_not_counted_as_wrong():
    sequence = create_person()
    for name, x in (("left_wrist", 330), ("right_wrist", 310)):
        sequence.points[:, POSE_NAMES.index(name), 0] = x / WIDTH
    folded = shift(shift(sequence, LEFT, slice(None), (-140, 0)), RIGHT, slice(None), (140, 0))
    assert measure_quality(exchange(folded, slice(20, 30))).wrong_wrist_frames == 0


def test_hand_that_was_detected_twice_is_counted():
    sequence = create_person()
    left, right = (HOLISTIC.find_part(name).span for name in (LEFT, RIGHT))
    sequence.points[:8, right] = sequence.points[:8, left] + 0.005
    assert measure_quality(sequence).doubled_hand_frames == 8


def test_wrist_hand_distance_is_in_shoulder_widths():
    assert measure_quality(
        shift(create_person(), LEFT, slice(None), (0, 30))
    ).wrist_hand_distance_shoulder_widths == pytest.approx(0.15, rel=1e-4)  # median of 30 px and 0 px
    both = shift(shift(create_person(), LEFT, slice(None), (18, 24)), RIGHT, slice(None), (0, 30))
    assert measure_quality(both).wrist_hand_distance_shoulder_widths == pytest.approx(0.3, rel=1e-4)


@pytest.mark.parametrize(
    ("part", "figure", "unit_px"),
    [
        ("pose_landmarks", "pose_jitter_shoulder_widths", SHOULDERS),
        ("face_landmarks", "face_jitter_eye_distances", 50),
        (LEFT, "left_hand_jitter_palm_lengths", PALM),
        (RIGHT, "right_hand_jitter_palm_lengths", PALM),
    ],
)
def test_jitter_is_the_standard_deviation_of_the_noise(part, figure, unit_px):
    quality = measure_quality(shake(create_person(400), part, 1.5))
    assert getattr(quality, figure) == pytest.approx(1.5 / unit_px, rel=0.03)
    others = [name for name in list_figures(quality) if "jitter" in name and name != figure]
    assert [getattr(quality, name) for name in others] == [0, 0, 0]


def test_jitter_is_the_median_over_all_points_of_a_part():
    still, span = create_person(), HOLISTIC.find_part("face_landmarks").span
    for shaking, jitters in ((200, False), (400, True)):  # of 478
        sequence = shake(still, "face_landmarks", 1.5)
        sequence.points[:, span][:, :-shaking] = still.points[:, span][:, :-shaking]
        assert (measure_quality(sequence).face_jitter_eye_distances > 0) == jitters


def test_steady_movement_and_single_jerks_are_not_jitter():
    moving = create_person()
    for frame in range(50):
        moving = shift(moving, LEFT, [frame], (3 * frame, -2 * frame))
    assert measure_quality(moving).left_hand_jitter_palm_lengths == pytest.approx(0, abs=1e-5)
    assert measure_quality(shift(create_person(), LEFT, slice(25, None), (90, 0))).left_hand_jitter_palm_lengths == 0


def test_guessed_points_do_not_count_as_jitter():
    sequence = shake(create_person(), "pose_landmarks", 5)
    sequence.points[:, :33, 3] = 0.3
    assert measure_quality(sequence).pose_jitter_shoulder_widths is None


def test_jitter_needs_three_consecutive_frames():
    assert measure_quality(lose(create_person(), LEFT, slice(2, None, 3))).left_hand_jitter_palm_lengths is None


@pytest.mark.parametrize(
    ("shoulder_widths", "frames", "jumps"),
    [(1.5, slice(25, None), 1), (1.5, slice(20, 25), 2), (0.45, slice(25, None), 0), (0.55, slice(25, None), 1)],
)
def test_impossibly_fast_movement_is_a_jump(shoulder_widths, frames, jumps):
    moved = shift(create_person(), "pose_landmarks", frames, (shoulder_widths * SHOULDERS, 0))
    assert measure_quality(moved).person_jumps == jumps


def test_movement_during_a_long_gap_is_not_a_jump():
    moved = shift(create_person(), "pose_landmarks", slice(30, None), (150, 0))
    assert measure_quality(lose(moved, "pose_landmarks", slice(25, 30))).person_jumps == 0
    assert measure_quality(lose(moved, "pose_landmarks", slice(28, 30))).person_jumps == 1


def test_input_sequence_is_not_modified():
    sequence = create_person(5)
    before = sequence.points.copy()
    measure_quality(sequence)
    np.testing.assert_array_equal(sequence.points, before)


@pytest.fixture(scope="module")
def signer(shared_data, shared_models):
    """Return 65 frames of a person in front of a camera, as HolisticLandmarker detects them."""
    import av
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    model = BaseOptions(model_asset_path=str(shared_models / "holistic_assembled.task"))
    options = vision.HolisticLandmarkerOptions(base_options=model, running_mode=vision.RunningMode.VIDEO)
    frames, times = [], []
    with (
        vision.HolisticLandmarker.create_from_options(options) as landmarker,
        av.open(shared_data / "hands" / "tfjs_pose_squats.mp4") as video,
    ):
        for frame in video.decode(video=0):
            image = mp.Image(image_format=mp.ImageFormat.SRGB, data=frame.to_ndarray(format="rgb24"))
            frames.append(landmarker.detect_for_video(image, round(frame.time * 1000)))
            times.append(frame.time)
    points = np.stack([np.concatenate([_convert_part(frame, part) for part in HOLISTIC.parts]) for frame in frames])
    source = np.stack([np.isfinite(points[:, part.start, 0]) for part in HOLISTIC.parts], axis=1).astype(np.uint8)
    return LandmarkSequence("holistic", HOLISTIC, points, source, np.array(times), 5.0, image.width, image.height)


def _convert_part(frame, part):
    landmarks = getattr(frame, part.name)
    if not landmarks:
        return np.full((part.points, 4), np.nan, np.float32)
    return np.array(
        [(p.x, p.y, p.z, p.visibility if part.name == "pose_landmarks" else 1) for p in landmarks], np.float32
    )


def test_real_person_has_plausible_figures(signer):
    quality = measure_quality(signer)
    assert (quality.frames, quality.duration_seconds) == (65, pytest.approx(13))
    assert quality.pose_coverage == quality.face_coverage == 1
    assert quality.hand_coverage > 0.85
    assert (quality.hand_swaps, quality.wrong_wrist_frames, quality.person_jumps) == (0, 0, 0)
    assert quality.wrist_hand_distance_shoulder_widths < 0.1
    assert 0 < quality.pose_jitter_shoulder_widths < 0.1


def test_every_swap_of_separate_real_hands_is_counted(signer):
    left, right = (
        signer.get_part_points(name)[..., :2] * (signer.width_px, signer.height_px) for name in (LEFT, RIGHT)
    )
    are_apart = (
        np.linalg.norm(left - right, axis=-1).mean(axis=-1) > 4 * 38
    )  # four palms: at 5 fps, a hand moves by two
    frames = [int(frame) for frame in np.flatnonzero(are_apart[1:] & are_apart[:-1]) + 1]
    assert len(frames) > 10
    assert [measure_quality(exchange(signer, slice(frame, None))).hand_swaps for frame in frames] == [1] * len(frames)
    assert measure_quality(exchange(signer, frames)).wrong_wrist_frames == len(frames)


def test_noise_increases_the_jitter_of_real_tracks(signer):
    before = measure_quality(signer).face_jitter_eye_distances
    after = measure_quality(shake(signer, "face_landmarks", 30)).face_jitter_eye_distances
    assert after > 3 * before


def test_columns_are_declared_once_in_order_and_described():
    assert [column.name for column in QUALITY] == [field.name for field in fields(Quality)]
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)
    assert all(column.description for column in COLUMNS)
    for unit, end in (
        ("s", "seconds"),
        ("px", "_px"),
        ("palm lengths", "_palm_lengths"),
        ("share, 0 to 1", "coverage"),
    ):
        assert {column.name for column in COLUMNS if column.unit == unit} == {
            column.name for column in COLUMNS if column.name.endswith(end)
        }


def test_markdown_tables_have_a_row_per_column():
    lines = render_columns().splitlines()
    assert len(lines) == 2 + len(COLUMNS)
    assert all(line.replace("\\|", "").count("|") == 4 for line in lines)
    assert len(render_summary_keys().splitlines()) == 2 + len(SUMMARY_KEYS)
