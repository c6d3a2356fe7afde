"""`.pose` files opened and processed with pose-format and its utilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pose_format import Pose
from pose_format.utils.generic import (
    correct_wrists,
    detect_known_pose_format,
    pose_hide_legs,
    pose_normalization_info,
    reduce_holistic,
)
from pose_format.utils.hand import estimate_active_hand

from tasks.engine.contract.errors import RunError
from tasks.landmarks.formats import face_mesh
from tasks.landmarks.formats.writing import LandmarkFile
from tests.landmarks.formats.samples import (
    BAD,
    EMPTY,
    FILLED,
    FRAMES,
    create_modified_sample,
    create_sample,
    write_into,
)


def write_and_open(folder: Path, file: LandmarkFile) -> Pose:
    """Write with our code, read with pose-format."""
    return Pose.read(write_into(folder, file, "pose")[0].read_bytes())


@pytest.fixture
def pose(tmp_path: Path) -> Pose:
    """Return a holistic sample."""
    return write_and_open(tmp_path, create_sample())


def test_components_match_pose_formats_extractor(pose: Pose) -> None:
    """Compare names and order with MediaPipe's enumerations, which that extractor uses."""
    from mediapipe.tasks.python.vision.hand_landmarker import HandLandmark
    from mediapipe.tasks.python.vision.pose_landmarker import PoseLandmark

    body, face, left, right = pose.header.components
    assert (body.name, face.name) == ("POSE_LANDMARKS", "FACE_LANDMARKS")
    assert (left.name, right.name) == ("LEFT_HAND_LANDMARKS", "RIGHT_HAND_LANDMARKS")
    assert body.points == PoseLandmark._member_names_
    assert left.points == right.points == HandLandmark._member_names_
    assert face.points == [str(number) for number in range(478)]
    assert {component.format for component in pose.header.components} == {"XYZC"}
    assert [len(component.limbs) for component in pose.header.components] == [35, 2556 + 8, 21, 21]
    assert [len(component.colors) for component in pose.header.components] == [1, 1, 21, 21]
    assert detect_known_pose_format(pose) == "holistic"


def test_limbs_match_mediapipe(pose: Pose) -> None:
    from mediapipe.tasks.python.vision import (
        FaceLandmarksConnections,
        HandLandmarksConnections,
        PoseLandmarksConnections,
    )

    irises = FaceLandmarksConnections.FACE_LANDMARKS_LEFT_IRIS + FaceLandmarksConnections.FACE_LANDMARKS_RIGHT_IRIS
    body, face, left, _ = pose.header.components
    for component, lines in (
        (body, PoseLandmarksConnections.POSE_LANDMARKS),
        (face, FaceLandmarksConnections.FACE_LANDMARKS_TESSELATION + irises),
        (left, HandLandmarksConnections.HAND_CONNECTIONS),
    ):
        assert {tuple(limb) for limb in component.limbs} == {(line.start, line.end) for line in lines}


def test_mediapipe_without_connections_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_mesh, "_read_source", lambda: "class FaceLandmarksConnections: pass")
    with pytest.raises(RunError, match=r"does not list the connections of the face .*install mediapipe 1\.2"):
        face_mesh.read_face_limbs.__wrapped__()


def test_body_is_in_pixels(pose: Pose) -> None:
    expected = create_sample().sequence.points
    assert pose.body.data.shape == (FRAMES, 1, 553, 3)
    assert (pose.header.dimensions.width, pose.header.dimensions.height) == (210, 260)
    assert pose.body.fps == pytest.approx(30000 / 1001, rel=1e-7)
    np.testing.assert_allclose(pose.body.data[0, 0], expected[0, :, :3] * [210, 260, 1], rtol=1e-6)
    np.testing.assert_array_equal(pose.body.confidence[0, 0], expected[0, :, 3])


def test_only_missing_points_are_masked(pose: Pose) -> None:
    missing = np.isnan(create_sample().sequence.points[..., :3])
    assert missing[[BAD, EMPTY]].all()
    assert missing[FILLED].any()
    np.testing.assert_array_equal(pose.body.data.mask[:, 0], missing)
    assert not np.isnan(pose.body.data.data).any()  # masked values are 0, as in pose-format's own files
    assert not pose.body.data.mask[1, 0, 0].any()  # present with visibility 0


def test_shoulder_widths_are_not_scaled(tmp_path: Path) -> None:
    file = create_modified_sample()
    pose = write_and_open(tmp_path, file)
    np.testing.assert_array_equal(pose.body.data.filled(np.nan)[:, 0], file.sequence.points[..., :3])
    assert (pose.header.dimensions.width, pose.header.dimensions.height) == (210, 260)


def test_pose_format_normalizes_the_pose(pose: Pose) -> None:
    """Check that the origin is between the shoulders and that their mean distance is 1."""
    info = pose_normalization_info(pose.header)
    pose.normalize()
    right, left = pose.body.data[:, 0, info.p1], pose.body.data[:, 0, info.p2]
    assert np.sqrt(((right - left) ** 2).sum(axis=-1)).mean() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(((right + left) / 2).mean(axis=0), 0, atol=1e-5)
    assert pose.body.data.mask[BAD].all()


def test_pose_format_hides_the_legs(pose: Pose) -> None:
    knee = pose.header.get_point_index("POSE_LANDMARKS", "LEFT_KNEE")
    assert pose.body.confidence[0, 0, knee] > 0
    assert pose_hide_legs(pose).body.confidence[0, 0, knee] == 0


def test_pose_format_removes_the_legs(pose: Pose) -> None:
    assert pose_hide_legs(pose, remove=True).body.data.shape == (FRAMES, 1, 553 - 10, 3)


def test_pose_format_reduces_the_holistic_pose(pose: Pose) -> None:
    """Check the points of the upper body, the face contours, and both hands."""
    reduced = reduce_holistic(pose)
    assert [len(component.points) for component in reduced.header.components] == [8, 128, 21, 21]


def test_pose_format_corrects_the_wrists(pose: Pose) -> None:
    """Check that the wrist is the pose's in the frame without a right hand."""
    corrected = correct_wrists(pose)
    wrist = pose.header.get_point_index("POSE_LANDMARKS", "RIGHT_WRIST")
    np.testing.assert_array_equal(corrected.body.data[FILLED, 0, wrist], pose.body.data[FILLED, 0, wrist])
    hand = pose.header.get_point_index("RIGHT_HAND_LANDMARKS", "WRIST")
    np.testing.assert_array_equal(corrected.body.data[0, 0, wrist], pose.body.data[0, 0, hand])


def test_pose_format_estimates_the_active_hand(pose: Pose) -> None:
    assert estimate_active_hand(pose) in {"LEFT", "RIGHT"}


def test_pose_format_interpolates_the_frames(pose: Pose) -> None:
    half = pose.interpolate(new_fps=pose.body.fps / 2, kind="linear")
    assert len(half.body.data) == FRAMES // 2


def test_pose_format_draws_the_pose(pose: Pose) -> None:
    from pose_format.pose_visualizer import PoseVisualizer

    drawn = list(PoseVisualizer(pose).draw(max_frames=BAD + 1))
    assert drawn[0].shape == (260, 210, 3)
    assert (drawn[0] != 255).any()
    assert (drawn[BAD] == 255).all()  # no person


@pytest.mark.parametrize(("kind", "points"), [("hands", 42), ("pose", 33), ("face", 478)])
def test_other_models_have_their_own_components(tmp_path: Path, kind, points: int) -> None:
    pose = write_and_open(tmp_path, create_sample(kind))
    assert pose.body.data.shape == (FRAMES, 1, points, 3)
    assert detect_known_pose_format(pose) == "holistic"


def test_pose_format_writes_the_same_bytes(pose: Pose, tmp_path: Path) -> None:
    with (tmp_path / "copy.pose").open("wb") as stream:
        pose.write(stream)
    assert (tmp_path / "copy.pose").read_bytes() == (
        tmp_path / "landmarks" / f"{create_sample().name}.pose"
    ).read_bytes()
