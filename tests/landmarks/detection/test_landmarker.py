"""Landmarks of real clips, and independence of consecutive samples.

MediaPipe keeps tracks and filters between frames. A sample must give identical bytes whatever the process ran before.
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
from tasks.landmarks.detection.results import read_points

ROOT = Path(__file__).resolve().parents[3]
KINDS = ("holistic", "hands", "pose", "face")
# Parts in the first frames of the clip "selfie"; HandLandmarker alone does not detect the left hand there.
EXPECTED_PARTS = {
    "holistic": ["pose_landmarks", "face_landmarks", "left_hand_landmarks", "right_hand_landmarks"],
    "hands": ["right_hand_landmarks"],
    "pose": ["pose_landmarks"],
    "face": ["face_landmarks"],
}


def run(landmarker, frames, milliseconds=None):
    """Return the landmarks of all frames, float32 [frames, points, 4]."""
    milliseconds = milliseconds or range(0, 40 * len(frames), 40)
    return np.stack([landmarker.detect(frame, at) for frame, at in zip(frames, milliseconds, strict=True)])


def run_sample(landmarker, frames, milliseconds=None):
    landmarker.restart()
    return run(landmarker, frames, milliseconds)


@pytest.mark.parametrize("kind", KINDS)
def test_result_does_not_depend_on_earlier_samples(clips, landmarkers, kind):
    alone = {name: run(landmarkers(kind), frames).tobytes() for name, frames in clips.items()}
    landmarker = landmarkers(kind)
    orders = [("squats", "selfie"), ("selfie", "later", "squats")]
    for name in itertools.chain(*orders):
        assert run_sample(landmarker, clips[name]).tobytes() == alone[name], name


@pytest.mark.parametrize("kind", KINDS)
def test_result_depends_on_earlier_frames_without_restart(clips, landmarkers, kind):
    frames = {"face": clips["later"]}.get(kind, clips["selfie"])
    landmarker = landmarkers(kind)
    first = run(landmarker, frames)
    repeated = run(landmarker, frames, range(1000, 1000 + 40 * len(frames), 40))
    assert repeated.tobytes() != first.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_landmarks_lie_on_the_person(clips, landmarkers, kind):
    landmarker = landmarkers(kind)
    points = run_sample(landmarker, clips["selfie"])
    assert points.dtype == np.float32
    assert points.shape == (len(clips["selfie"]), landmarker.skeleton.points, 4)
    seen = [part.name for part in landmarker.skeleton.parts if np.isfinite(points[:, part.span]).any()]
    assert seen == EXPECTED_PARTS[kind]
    for part in landmarker.skeleton.parts:
        values = points[:, part.span]
        is_present = np.isfinite(values).all(axis=(1, 2))
        assert np.isnan(values[~is_present]).all()
        assert ((values[is_present][..., 3] >= 0) & (values[is_present][..., 3] <= 1)).all()
        if part.name != "pose_landmarks":
            assert (values[is_present][..., 3] == 1).all()
            assert ((values[is_present][..., :2] > -0.2) & (values[is_present][..., :2] < 1.2)).all()


def test_model_kinds_agree_on_the_same_part(clips, landmarkers):
    whole, pose, face = (landmarkers(kind) for kind in ("holistic", "pose", "face"))
    points = run_sample(whole, clips["later"])
    for other, name in ((pose, "pose_landmarks"), (face, "face_landmarks")):
        span = whole.skeleton.find_part(name).span
        difference = np.abs(points[:, span, :2] - run_sample(other, clips["later"])[..., :2])
        assert np.nanmedian(difference) < 0.02, name


def test_times_that_do_not_increase_count_as_one_millisecond_later(clips, landmarkers):
    landmarker = landmarkers("hands")
    frames = clips["selfie"]
    given = run_sample(landmarker, frames, (40, 40, 0, -5, 200))
    assert given.tobytes() == run_sample(landmarker, frames, (40, 41, 42, 43, 200)).tobytes()


def test_result_does_not_depend_on_the_start_time(clips, landmarkers):
    landmarker = landmarkers("holistic")
    starts = (0, 1, 90_000_000)
    results = {run_sample(landmarker, clips["squats"], range(at, at + 200, 40)).tobytes() for at in starts}
    assert len(results) == 1


def test_times_may_start_below_zero(clips, landmarkers):
    points = run_sample(landmarkers("hands"), clips["selfie"][:2], (-80, -40))
    assert np.isfinite(points).any()


@pytest.mark.parametrize("kind", ["holistic", "hands"])
def test_change_of_frame_size_starts_a_new_track(clips, landmarkers, kind):
    landmarker = landmarkers(kind)
    mixed = [*clips["selfie"], *clips["squats"]]
    assert len({frame.shape for frame in mixed}) == 2
    parts = [run_sample(landmarker, clips[name]) for name in ("selfie", "squats")]
    assert run_sample(landmarker, mixed).tobytes() == np.concatenate(parts).tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_person_every_point_is_missing(landmarkers, kind):
    grey = np.full((120, 160, 3), 128, np.uint8)
    assert np.isnan(run_sample(landmarkers(kind), [grey, grey])).all()


def test_non_contiguous_image_is_read_correctly(clips, landmarkers):
    landmarker = landmarkers("hands")
    frames = [np.ascontiguousarray(frame) for frame in clips["selfie"][:2]]
    wide = [np.concatenate([frame, frame[:, :7]], axis=1)[:, :-7] for frame in frames]
    assert not wide[0].flags.c_contiguous
    assert run_sample(landmarker, wide).tobytes() == run_sample(landmarker, frames).tobytes()


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((8, 8), np.uint8), id="grey"),
        pytest.param(np.zeros((8, 8, 4), np.uint8), id="rgba"),
        pytest.param(np.zeros((8, 8, 3), np.uint16), id="16-bit"),
        pytest.param(np.zeros((0, 8, 3), np.uint8), id="empty"),
    ],
)
def test_array_that_is_not_an_rgb_image_is_rejected(landmarkers, image):
    with pytest.raises(ValueError, match=r"uint8 \[height, width, 3\], not empty; given: uint"):
        landmarkers("hands").detect(image, 0)


def test_image_of_one_pixel_is_accepted(landmarkers):
    assert np.isnan(landmarkers("hands").detect(np.zeros((1, 1, 3), np.uint8), 0)).all()


def test_restart_before_the_first_frame_keeps_the_graph(landmarkers):
    landmarker = landmarkers("hands")
    graph = landmarker._graph
    landmarker.restart()
    landmarker.restart()
    assert landmarker._graph is graph


def test_detect_after_close_raises_value_error(clips, landmarkers):
    landmarker = landmarkers("hands")
    landmarker.close()
    landmarker.close()
    with pytest.raises(ValueError, match="closed file"):
        landmarker.detect(clips["selfie"][0], 0)


def test_replacing_the_model_file_does_not_affect_an_open_landmarker(clips, models, tmp_path):
    file, other = tmp_path / "hand.task", tmp_path / "other.task"
    file.write_bytes(models["hands"].read_bytes())
    other.write_text("not a model")
    with Landmarker("hands", file) as landmarker:
        before = run_sample(landmarker, clips["selfie"])
        other.replace(file)
        assert run_sample(landmarker, clips["selfie"]).tobytes() == before.tobytes()


def test_graph_accepts_a_path(clips, models, landmarkers):
    graph = Graph("pose", models["pose"], "cpu")
    with graph.detect(clips["selfie"][0], 1) as result:
        points = read_points(result.pose_landmarks[0])
    graph.close()
    assert points.tobytes() == run_sample(landmarkers("pose"), clips["selfie"][:1])[0].tobytes()


def test_missing_model_is_named(tmp_path):
    with pytest.raises(
        RunError, match=r"the model .*none\.task cannot be loaded as hands: No such file or directory; use"
    ):
        Landmarker("hands", tmp_path / "none.task")


def test_file_that_is_not_a_model_is_named(tmp_path):
    (tmp_path / "text.task").write_text("not a model")
    with pytest.raises(
        RunError, match=r"text\.task cannot be loaded as pose: .*; use a \.task file of MediaPipe's Pose"
    ):
        Landmarker("pose", tmp_path / "text.task")


def test_model_of_another_kind_is_named(models):
    with pytest.raises(RunError, match=r"hand_landmarker\.task cannot be loaded as holistic: .*HolisticLandmarker$"):
        Landmarker("holistic", models["hands"])


def test_truncated_model_is_named(models, tmp_path):
    truncated = tmp_path / "truncated.task"
    truncated.write_bytes(models["hands"].read_bytes()[:100_000])
    with pytest.raises(RunError, match=r"truncated\.task cannot be loaded as hands"):
        Landmarker("hands", truncated)


def test_missing_gpu_is_reported_in_one_line(models, clips):
    problem = ""
    try:
        with Landmarker("hands", models["hands"], "gpu") as landmarker:
            assert np.isfinite(run(landmarker, clips["selfie"])).any()
    except RunError as error:
        problem = str(error)
    assert re.fullmatch(r"(--device gpu: MediaPipe found no usable GPU: .+; use --device cpu, or .+)?", problem)


def test_missing_model_is_not_reported_as_a_gpu_problem(tmp_path):
    with pytest.raises(RunError, match=r"the model .*none\.task cannot be loaded"):
        Landmarker("hands", tmp_path / "none.task", "gpu")


def run_script(script, *arguments):
    """Run ``script`` in a child process; return its printed words and its stderr."""
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return process.stdout.split(), process.stderr


def test_landmarker_never_imports_mediapipe_and_exits_quietly(models):
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
    imported, errors = run_script(script, models["hands"])
    assert imported == []
    assert "Traceback" not in errors


def test_memory_and_threads_do_not_grow_over_restarts(models):
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
    (first, threads, last, threads_at_the_end), _ = run_script(script, models["hands"])
    assert int(last) - int(first) < 12
    assert threads == threads_at_the_end
