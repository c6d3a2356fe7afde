"""Extraction of landmarks from large images, bad frames and consecutive samples."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from tasks.landmarks.detection.landmarker import Landmarker
from tasks.landmarks.detection.rescue import HandRescue
from tasks.landmarks.extraction import MAX_SIDE_PX, Extractor, SequenceBuilder
from tasks.landmarks.frames import Frame, open_frames
from tasks.landmarks.quality import measure_quality
from tasks.landmarks.sequence import Source


@pytest.fixture(scope="module")
def frames(shared_data: Path) -> list[np.ndarray]:
    """Return six frames of a waving woman, 640x360, BGR."""
    with av.open(str(shared_data / "hands" / "mp_selfie_segmentation_web.mp4")) as container:
        return [frame.to_ndarray(format="bgr24") for frame, _ in zip(container.decode(video=0), range(6), strict=False)]


@pytest.fixture(scope="module")
def landmarker(shared_models: Path) -> Iterator[Landmarker]:
    with Landmarker("holistic", shared_models / "holistic_assembled.task") as landmarker:
        yield landmarker


def write_frames(folder: Path, frames: list[np.ndarray]) -> Path:
    folder.mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number}.png"), frame, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return folder


def extract(extractor: Extractor, folder: Path):
    builder = SequenceBuilder("holistic", extractor.skeleton)
    with open_frames(folder, "frames", None) as source:
        for detection in extractor.detect(source):
            builder.add(detection)
        return builder.build(source.fps)


def test_large_and_small_images_give_the_same_points(
    landmarker: Landmarker, frames: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes, detect = [], landmarker.detect
    monkeypatch.setattr(landmarker, "detect", lambda image, at: (shapes.append(image.shape), detect(image, at))[1])
    small = extract(Extractor(landmarker, None), write_frames(tmp_path / "small", frames[:2]))
    large = [cv2.resize(frame, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC) for frame in frames[:2]]
    huge = extract(Extractor(landmarker, None), write_frames(tmp_path / "large", large))
    assert {max(shape) for shape in shapes} == {640, MAX_SIDE_PX}
    assert (huge.width_px, huge.height_px) == (2560, 1440)
    nose = np.stack([sequence.get_part_points("pose_landmarks")[:, 0, :2] for sequence in (small, huge)])
    np.testing.assert_allclose(nose[0], nose[1], atol=0.01)


def test_anamorphic_video_gives_the_same_shoulder_width(
    landmarker: Landmarker, shared_data: Path, tmp_path: Path
) -> None:
    """As in digitized tapes: the stored picture has half of the width at which it is shown."""
    clip = shared_data / "hands" / "mp_selfie_segmentation_web.mp4"
    widths = {}
    for name, filters in (("square", "scale=640:360,setsar=1"), ("narrow", "scale=320:360,setsar=2/1")):
        path = tmp_path / f"{name}.mp4"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", str(clip), "-frames:v", "3"]
        subprocess.run([*command, "-vf", filters, "-c:v", "libx264", "-crf", "12", str(path)], check=True)
        builder = SequenceBuilder("holistic", landmarker.skeleton)
        with open_frames(path, "video", None) as source:
            for detection in Extractor(landmarker, None).detect(source):
                builder.add(detection)
            widths[name] = measure_quality(builder.build(source.fps)).shoulder_width_px
    assert widths["narrow"] == pytest.approx(widths["square"], rel=0.03)


def test_bad_frame_keeps_its_row_and_time(landmarker: Landmarker, frames: list[np.ndarray], tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "sample", frames[:4])
    (folder / "1.png").write_bytes(b"not an image")
    sequence = extract(Extractor(landmarker, None), folder)
    assert [(bad.frame_index, bad.name) for bad in sequence.bad_frames] == [(1, "1.png")]
    assert sequence.times_seconds.tolist() == [0, 0.04, 0.08, 0.12]
    assert sequence.get_presence("pose_landmarks").tolist() == [True, False, True, True]
    assert np.isnan(sequence.points[1]).all()


def test_rescued_hands_are_marked_as_rescued(
    landmarker: Landmarker,
    frames: list[np.ndarray],
    tmp_path: Path,
    shared_models: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Drop the model's right hand in every frame; the rescue finds it in most of them."""
    right = landmarker.skeleton.find_part("right_hand_landmarks")
    assert right is not None
    detect = landmarker.detect

    def remove_right_hand(image: np.ndarray, at: int) -> np.ndarray:
        points = detect(image, at)
        points[right.span] = np.nan
        return points

    monkeypatch.setattr(landmarker, "detect", remove_right_hand)
    rescue = HandRescue(shared_models / "hand_landmarker.task")
    sequence = extract(Extractor(landmarker, rescue), write_frames(tmp_path / "sample", frames))
    rescue.close()
    sources = sequence.source[:, landmarker.skeleton.get_index("right_hand_landmarks")]
    assert set(sources.tolist()) <= {Source.MISSING, Source.RESCUED}
    assert (sources == Source.RESCUED).any()
    assert (~np.isnan(sequence.points[:, right.start, 0]) == (sources == Source.RESCUED)).all()


def test_detection_skips_unreadable_frames(landmarker: Landmarker, frames: list[np.ndarray]) -> None:
    class Frames:
        fps, frames = 25.0, 2

        def __iter__(self) -> Iterator[Frame]:
            yield Frame(0, "0", 0.0, None, "is damaged")
            yield Frame(1, "1", 0.04, np.ascontiguousarray(frames[0][..., ::-1]))

    detections = list(Extractor(landmarker, None).detect(Frames()))  # type: ignore[arg-type]
    assert [detection.source.any() for detection in detections] == [False, True]
