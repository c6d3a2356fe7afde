"""Landmarks of real clips, and that nothing of one sample reaches the next.

What MediaPipe carries from frame to frame are tracks and filters; a sample must come out the same to the last byte
whatever the process has seen before.
"""

import itertools
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tasks.engine.contract.errors import RunError
from tasks.landmarks.detection.graph import Graph
from tasks.landmarks.detection.landmarker import Landmarker
from tasks.landmarks.detection.results import points_of

ROOT = Path(__file__).resolve().parents[3]
KINDS = ("holistic", "hands", "pose", "face")
# What the first frames of the clip "selfie" show: HandLandmarker alone does not find the left hand there.
SEEN = {
    "holistic": ["pose_landmarks", "face_landmarks", "left_hand_landmarks", "right_hand_landmarks"],
    "hands": ["right_hand_landmarks"],
    "pose": ["pose_landmarks"],
    "face": ["face_landmarks"],
}


def run(landmarker, frames, milliseconds=None):
    """float32 [frames, points, 4]."""
    milliseconds = milliseconds or range(0, 40 * len(frames), 40)
    return np.stack([landmarker.detect(frame, at) for frame, at in zip(frames, milliseconds, strict=True)])


def sample(landmarker, frames, milliseconds=None):
    landmarker.restart()
    return run(landmarker, frames, milliseconds)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_does_not_depend_on_what_ran_before_it(clips, landmarkers, kind):
    alone = {name: run(landmarkers(kind), frames).tobytes() for name, frames in clips.items()}
    landmarker = landmarkers(kind)
    orders = [("squats", "selfie"), ("selfie", "later", "squats")]
    for name in itertools.chain(*orders):
        assert sample(landmarker, clips[name]).tobytes() == alone[name], name


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_restart_it_would(clips, landmarkers, kind):
    frames = {"face": clips["later"]}.get(kind, clips["selfie"])
    landmarker = landmarkers(kind)
    first = run(landmarker, frames)
    again = run(landmarker, frames, range(1000, 1000 + 40 * len(frames), 40))
    assert again.tobytes() != first.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_points_are_where_the_person_is(clips, landmarkers, kind):
    landmarker = landmarkers(kind)
    points = sample(landmarker, clips["selfie"])
    assert points.dtype == np.float32
    assert points.shape == (len(clips["selfie"]), landmarker.skeleton.points, 4)
    seen = [part.name for part in landmarker.skeleton.parts if np.isfinite(points[:, part.span]).any()]
    assert seen == SEEN[kind]
    for part in landmarker.skeleton.parts:
        values = points[:, part.span]
        there = np.isfinite(values).all(axis=(1, 2))
        assert np.isnan(values[~there]).all()
        assert ((values[there][..., 3] >= 0) & (values[there][..., 3] <= 1)).all()
        if part.name != "pose_landmarks":
            assert (values[there][..., 3] == 1).all()
            assert ((values[there][..., :2] > -0.2) & (values[there][..., :2] < 1.2)).all()


def test_the_kinds_agree_where_they_look_at_the_same(clips, landmarkers):
    whole, pose, face = (landmarkers(kind) for kind in ("holistic", "pose", "face"))
    points = sample(whole, clips["later"])
    for other, name in ((pose, "pose_landmarks"), (face, "face_landmarks")):
        span = whole.skeleton.part(name).span
        difference = np.abs(points[:, span, :2] - sample(other, clips["later"])[..., :2])
        assert np.nanmedian(difference) < 0.02, name


def test_times_that_do_not_rise_are_taken_as_a_millisecond_later(clips, landmarkers):
    landmarker = landmarkers("hands")
    frames = clips["selfie"]
    given = sample(landmarker, frames, (40, 40, 0, -5, 200))
    assert given.tobytes() == sample(landmarker, frames, (40, 41, 42, 43, 200)).tobytes()


def test_it_does_not_matter_when_a_sample_begins(clips, landmarkers):
    landmarker = landmarkers("holistic")
    begins = (0, 1, 90_000_000)
    found = {sample(landmarker, clips["squats"], range(at, at + 200, 40)).tobytes() for at in begins}
    assert len(found) == 1


def test_times_may_begin_before_zero(clips, landmarkers):
    points = sample(landmarkers("hands"), clips["selfie"][:2], (-80, -40))
    assert np.isfinite(points).any()


@pytest.mark.parametrize("kind", ["holistic", "hands"])
def test_frames_of_another_size_go_on_with_a_new_track(clips, landmarkers, kind):
    landmarker = landmarkers(kind)
    mixed = [*clips["selfie"], *clips["squats"]]
    assert len({frame.shape for frame in mixed}) == 2
    parts = [sample(landmarker, clips[name]) for name in ("selfie", "squats")]
    assert sample(landmarker, mixed).tobytes() == np.concatenate(parts).tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_of_nobody_every_point_is_missing(landmarkers, kind):
    grey = np.full((120, 160, 3), 128, np.uint8)
    assert np.isnan(sample(landmarkers(kind), [grey, grey])).all()


def test_a_picture_whose_rows_have_gaps_is_read_as_it_is_seen(clips, landmarkers):
    landmarker = landmarkers("hands")
    frames = [np.ascontiguousarray(frame) for frame in clips["selfie"][:2]]
    wide = [np.concatenate([frame, frame[:, :7]], axis=1)[:, :-7] for frame in frames]
    assert not wide[0].flags.c_contiguous
    assert sample(landmarker, wide).tobytes() == sample(landmarker, frames).tobytes()


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(np.zeros((8, 8), np.uint8), id="grey"),
        pytest.param(np.zeros((8, 8, 4), np.uint8), id="rgba"),
        pytest.param(np.zeros((8, 8, 3), np.uint16), id="16-bit"),
        pytest.param(np.zeros((0, 8, 3), np.uint8), id="empty"),
    ],
)
def test_an_array_that_is_no_rgb_picture_is_refused(landmarkers, picture):
    with pytest.raises(ValueError, match=r"uint8 \[height, width, 3\], not empty; given: uint"):
        landmarkers("hands").detect(picture, 0)


def test_one_pixel_is_a_picture(landmarkers):
    assert np.isnan(landmarkers("hands").detect(np.zeros((1, 1, 3), np.uint8), 0)).all()


def test_a_restart_before_the_first_frame_keeps_the_graph(landmarkers):
    landmarker = landmarkers("hands")
    graph = landmarker._graph
    landmarker.restart()
    landmarker.restart()
    assert landmarker._graph is graph


def test_after_a_close_there_is_nothing_to_detect_with(clips, landmarkers):
    landmarker = landmarkers("hands")
    landmarker.close()
    landmarker.close()
    with pytest.raises(ValueError, match="closed file"):
        landmarker.detect(clips["selfie"][0], 0)


def test_a_model_whose_file_is_replaced_meanwhile_stays_what_it_was(clips, models, tmp_path):
    file, other = tmp_path / "hand.task", tmp_path / "other.task"
    file.write_bytes(models["hands"].read_bytes())
    other.write_text("no model")
    with Landmarker("hands", file) as landmarker:
        before = sample(landmarker, clips["selfie"])
        other.replace(file)
        assert sample(landmarker, clips["selfie"]).tobytes() == before.tobytes()


def test_a_graph_is_built_from_a_path_too(clips, models, landmarkers):
    graph = Graph("pose", models["pose"], "cpu")
    with graph.detect(clips["selfie"][0], 1) as result:
        points = points_of(result.pose_landmarks[0])
    graph.close()
    assert points.tobytes() == sample(landmarkers("pose"), clips["selfie"][:1])[0].tobytes()


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(
        RunError, match=r"the model .*none\.task cannot be loaded as hands: No such file or directory; give"
    ):
        Landmarker("hands", tmp_path / "none.task")


def test_a_file_that_is_no_model_is_named(tmp_path):
    (tmp_path / "text.task").write_text("no model")
    with pytest.raises(
        RunError, match=r"text\.task cannot be loaded as pose: .*; give a \.task file of MediaPipe's Pose"
    ):
        Landmarker("pose", tmp_path / "text.task")


def test_a_model_of_another_kind_is_named(models):
    with pytest.raises(RunError, match=r"hand_landmarker\.task cannot be loaded as holistic: .*HolisticLandmarker$"):
        Landmarker("holistic", models["hands"])


def test_a_truncated_model_is_named(models, tmp_path):
    cut = tmp_path / "cut.task"
    cut.write_bytes(models["hands"].read_bytes()[:100_000])
    with pytest.raises(RunError, match=r"cut\.task cannot be loaded as hands"):
        Landmarker("hands", cut)


def test_a_gpu_is_used_or_its_absence_told_in_one_line(models, clips):
    problem = ""
    try:
        with Landmarker("hands", models["hands"], "gpu") as landmarker:
            assert np.isfinite(run(landmarker, clips["selfie"])).any()
    except RunError as error:
        problem = str(error)
    assert re.fullmatch(
        r"(--device gpu: MediaPipe finds no GPU that it can use: .+; use --device cpu, or .+)?", problem
    )


def test_a_missing_model_is_no_matter_of_the_gpu(tmp_path):
    with pytest.raises(RunError, match=r"the model .*none\.task cannot be loaded"):
        Landmarker("hands", tmp_path / "none.task", "gpu")


def child(script, *arguments):
    """What a process of its own prints, and what it says on stderr."""
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return ran.stdout.split(), ran.stderr


def test_neither_the_import_nor_the_graph_imports_mediapipe_and_the_end_is_quiet(models):
    script = """
        import sys
        import numpy as np
        from pathlib import Path
        from tasks.landmarks.detection.landmarker import Landmarker
        assert "libmediapipe" not in Path("/proc/self/maps").read_text()
        landmarker = Landmarker("hands", Path(sys.argv[1]))
        landmarker.detect(np.zeros((64, 64, 3), np.uint8), 0)
        print(*(name for name in ("mediapipe", "matplotlib", "sounddevice") if name in sys.modules))
    """
    imported, errors = child(script, models["hands"])
    assert imported == []
    assert "Traceback" not in errors


def test_memory_and_threads_stay_flat_over_restarts(models):
    script = """
        import os, sys
        import numpy as np, psutil
        from pathlib import Path
        from tasks.landmarks.detection.landmarker import Landmarker
        process, picture = psutil.Process(), np.zeros((240, 320, 3), np.uint8)
        with Landmarker("hands", Path(sys.argv[1])) as landmarker:
            for number in range(40):
                landmarker.restart()
                landmarker.detect(picture, 0)
                if number in (9, 39):
                    print(process.memory_info().rss // 2**20, process.num_threads())
    """
    (first, threads, last, threads_at_the_end), _ = child(script, models["hands"])
    assert int(last) - int(first) < 12
    assert threads == threads_at_the_end
