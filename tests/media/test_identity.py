"""Frames of every kind of video equal those of a full decode, bit by bit."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tasks.media import demuxing
from tasks.media.reading import UnreliableIndexError, VideoReader
from tests.real_data import list_video_names

from .conftest import DEFECTS, digest

Reference = Callable[..., list[tuple[int | None, str]]]

ROOT = Path(__file__).resolve().parents[2]
LARGE = Path(os.environ.get("HEADRACE_SHARED") or ROOT.parent / "shared") / "data" / "video"
LARGE_FILES = sorted({path.name for path in LARGE.glob("*.*")} - {*list_video_names()}) or ["no file"]
LONG = {"v2d_test_video.mp4": 80}  # every 80th frame of this one is compared


def make_frame_sets(frames: Sequence[int]) -> list[list[int]]:
    """Return sets of frames: all, single ones, and eight evenly spaced, adjacent and random ones."""
    total = len(frames)
    rng = random.Random(total)
    single = [[index] for index in rng.sample(frames, min(2, total))]
    even = sorted({frames[int((part + 0.5) * total / 8)] for part in range(8)})
    start = rng.randrange(total)
    return [list(frames), *single, even, list(frames[start : start + 8]), sorted(rng.sample(frames, min(8, total)))]


def read(path: Path, indices: Sequence[int]) -> list[str]:
    """Return the digests of these frames, read like the frames stage."""
    for by_decoding in (False, True):
        try:
            with VideoReader(path, by_decoding) as reader:
                frames = list(reader.read_frames(indices))
        except UnreliableIndexError:
            continue
        assert [frame.frame_index for frame in frames] == sorted(indices)
        return [digest(frame.image) for frame in frames]
    raise AssertionError("reading by decoding cannot find the index unreliable")


def check(path: Path, reference: Reference) -> None:
    step = LONG.get(path.name, 1)
    expected = reference(path, step)
    with VideoReader(path) as reader:
        assert len(reader.timeline) == len(expected)
    for indices in make_frame_sets(range(0, len(expected), step)):
        assert read(path, indices) == [expected[index][1] for index in indices]


@pytest.mark.parametrize("name", DEFECTS)
def test_frames_equal_a_full_decode(name: str, defect: Callable[[str], Path], reference: Reference) -> None:
    check(defect(name), reference)


@pytest.mark.parametrize("name", DEFECTS)
def test_frames_are_the_same_if_every_step_seeks(
    name: str, defect: Callable[[str], Path], reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demuxing, "_MIN_SEEK_BYTES", 0)
    path = defect(name)
    expected = reference(path)
    indices = list(range(3, len(expected), 9))
    assert read(path, indices) == [expected[index][1] for index in indices]


@pytest.mark.parametrize("name", list_video_names())
def test_frames_of_real_videos_equal_a_full_decode(name: str, shared_data: Path, reference: Reference) -> None:
    check(shared_data / "video" / name, reference)


@pytest.mark.parametrize("name", LARGE_FILES)
def test_frames_of_large_videos_equal_a_full_decode(name: str, large_data: Path, reference: Reference) -> None:
    check(large_data / "video" / name, reference)


@pytest.mark.parametrize("name", ["vfr.mp4", "open-gop-h264.mp4", "edit-list.mp4", "non-zero-start.mkv"])
def test_timeline_equals_times_of_decoded_frames(
    name: str, defect: Callable[[str], Path], reference: Reference
) -> None:
    times = [pts for pts, _ in reference(defect(name))]
    with VideoReader(defect(name)) as reader:
        line = reader.timeline
        assert line.pts.tolist() == times
        assert line.ticks.tolist() == [pts - times[0] for pts in times]
        assert [line.index_at(line.seconds(index)) for index in range(len(line))] == list(range(len(line)))


def test_timeline_continues_across_concatenated_recordings(defect: Callable[[str], Path]) -> None:
    with VideoReader(defect("two-in-one.ts")) as reader:
        seconds = [reader.timeline.seconds(index) for index in range(len(reader.timeline))]
    np.testing.assert_allclose(np.diff(seconds), 1 / 25, atol=1e-4)


def test_decoding_times_instead_of_presentation_times_are_sorted(shared_data: Path) -> None:
    with VideoReader(shared_data / "video" / "cv_box.mp4") as reader:
        line = reader.timeline
        assert np.all(np.diff(line.ticks) > 0)
        assert line.pts.tolist() != sorted(line.pts.tolist())


def test_keyframe_distance_counts_from_the_keyframe(defect: Callable[[str], Path]) -> None:
    with VideoReader(defect("plain.mp4")) as reader:
        frames = list(reader.read_frames([0, 15, 30]))
        assert [frame.keyframe_distance_frames for frame in frames] == [0, 0, 0]
        assert next(reader.read_frames([16])).keyframe_distance_frames > 0
