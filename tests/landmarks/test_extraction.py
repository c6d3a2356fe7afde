"""From frames to points: what the extractor makes of large pictures, bad frames and samples one after another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tasks.landmarks.detection.landmarker import Landmarker
from tasks.landmarks.detection.rescue import HandRescue
from tasks.landmarks.extraction import LONGEST_SIDE_PX, Extractor, Track
from tasks.landmarks.frames import Frame, open_frames
from tasks.landmarks.sequence import Source


@pytest.fixture(scope="module")
def frames(shared_data: Path) -> list[np.ndarray]:
    """Six frames of a woman who waves, 640x360, BGR."""
    with av.open(str(shared_data / "hands" / "mp_selfie_segmentation_web.mp4")) as container:
        return [frame.to_ndarray(format="bgr24") for frame, _ in zip(container.decode(video=0), range(6), strict=False)]


@pytest.fixture(scope="module")
def landmarker(shared_models: Path) -> Iterator[Landmarker]:
    with Landmarker("holistic", shared_models / "holistic_assembled.task") as made:
        yield made


def write(folder: Path, frames: list[np.ndarray]) -> Path:
    folder.mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number}.png"), frame, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return folder


def track(extractor: Extractor, folder: Path):
    made = Track("holistic", extractor.skeleton)
    with open_frames(folder, "frames", None) as source:
        for look in extractor.looks(source):
            made.add(look)
        return made.sequence(source.fps)


def test_a_large_picture_gives_the_points_of_a_small_one(
    landmarker: Landmarker, frames: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, detect = [], landmarker.detect
    monkeypatch.setattr(landmarker, "detect", lambda image, at: (shown.append(image.shape), detect(image, at))[1])
    small = track(Extractor(landmarker, None), write(tmp_path / "small", frames[:2]))
    large = [cv2.resize(frame, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC) for frame in frames[:2]]
    huge = track(Extractor(landmarker, None), write(tmp_path / "large", large))
    assert {max(shape) for shape in shown} == {640, LONGEST_SIDE_PX}
    assert (huge.width_px, huge.height_px) == (2560, 1440)
    nose = np.stack([sequence.get_part_points("pose_landmarks")[:, 0, :2] for sequence in (small, huge)])
    np.testing.assert_allclose(nose[0], nose[1], atol=0.01)


def test_a_bad_frame_has_its_row_and_time(landmarker: Landmarker, frames: list[np.ndarray], tmp_path: Path) -> None:
    folder = write(tmp_path / "sample", frames[:4])
    (folder / "1.png").write_bytes(b"no picture")
    found = track(Extractor(landmarker, None), folder)
    assert [(bad.frame_index, bad.name) for bad in found.bad_frames] == [(1, "1.png")]
    assert found.times_seconds.tolist() == [0, 0.04, 0.08, 0.12]
    assert found.get_presence("pose_landmarks").tolist() == [True, False, True, True]
    assert np.isnan(found.points[1]).all()


def test_what_was_rescued_is_told_apart(
    landmarker: Landmarker,
    frames: list[np.ndarray],
    tmp_path: Path,
    shared_models: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The model's right hand is dropped in every frame; the second look finds it in most."""
    right = landmarker.skeleton.find_part("right_hand_landmarks")
    assert right is not None
    detect = landmarker.detect

    def without_right_hand(image: np.ndarray, at: int) -> np.ndarray:
        points = detect(image, at)
        points[right.span] = np.nan
        return points

    monkeypatch.setattr(landmarker, "detect", without_right_hand)
    rescue = HandRescue(shared_models / "hand_landmarker.task")
    found = track(Extractor(landmarker, rescue), write(tmp_path / "sample", frames))
    rescue.close()
    sources = found.source[:, landmarker.skeleton.get_index("right_hand_landmarks")]
    assert set(sources.tolist()) <= {Source.MISSING, Source.RESCUED}
    assert (sources == Source.RESCUED).any()
    assert (~np.isnan(found.points[:, right.start, 0]) == (sources == Source.RESCUED)).all()


def test_no_frame_is_looked_at_twice_for_nothing(landmarker: Landmarker, frames: list[np.ndarray]) -> None:
    class Frames:
        fps, frames = 25.0, 2

        def __iter__(self) -> Iterator[Frame]:
            yield Frame(0, "0", 0.0, None, "is damaged")
            yield Frame(1, "1", 0.04, np.ascontiguousarray(frames[0][..., ::-1]))

    looks = list(Extractor(landmarker, None).looks(Frames()))  # type: ignore[arg-type]
    assert [look.source.any() for look in looks] == [False, True]
