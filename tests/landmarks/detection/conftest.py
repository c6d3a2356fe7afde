"""Fixtures for the tests of landmark detection.

clips        a few frames of each of three real clips: two of one size, one of another
models       the .task file of each kind; the pose model is extracted from the holistic one
landmarkers  creates landmarkers and closes them after the test
"""

import zipfile
from pathlib import Path

import av
import numpy as np
import pytest

from tasks.landmarks.detection.landmarker import Landmarker

POSE_PARTS = ("pose_detector.tflite", "pose_landmarks_detector.tflite")


def read_frames(video: Path, numbers: range) -> list[np.ndarray]:
    """Return the frames as PyAV decodes them: uint8 [height, width, 3], RGB."""
    with av.open(str(video)) as container:
        decoded = zip(range(numbers.stop), container.decode(video=0), strict=False)
        return [frame.to_ndarray(format="rgb24") for number, frame in decoded if number in numbers]


@pytest.fixture(scope="session")
def clips(shared_data):
    selfie = shared_data / "hands" / "mp_selfie_segmentation_web.mp4"
    squats = shared_data / "hands" / "tfjs_pose_squats.mp4"
    return {
        "selfie": read_frames(selfie, range(0, 10, 2)),
        "later": read_frames(selfie, range(40, 50, 2)),
        "squats": read_frames(squats, range(0, 10, 2)),
    }


@pytest.fixture(scope="session")
def models(shared_models, tmp_path_factory):
    holistic, pose = shared_models / "holistic_assembled.task", tmp_path_factory.mktemp("models") / "pose.task"
    with zipfile.ZipFile(holistic) as whole, zipfile.ZipFile(pose, "w", zipfile.ZIP_STORED) as part:
        for name in POSE_PARTS:
            part.writestr(name, whole.read(name))
    others = {"hands": shared_models / "hand_landmarker.task", "face": shared_models / "face_landmarker.task"}
    return {"holistic": holistic, "pose": pose, **others}


@pytest.fixture
def landmarkers(models):
    landmarkers = []

    def create_landmarker(kind, **options):
        landmarkers.append(Landmarker(kind, models[kind], **options))
        return landmarkers[-1]

    yield create_landmarker
    for landmarker in landmarkers:
        landmarker.close()
