"""A few files of the conformance table, read by the stage of dataset_prep and compared with a full decode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.video_conformance.corpus import make_video
from benchmarks.video_conformance.readers import read_headrace
from benchmarks.video_conformance.reference import read_reference


@pytest.mark.parametrize("name", ["h264-open-gop.ts", "all-sync-mpeg4.mp4", "palette-raw.avi", "truncated-h264.mp4"])
def test_every_frame_is_exact_or_reported(name: str, tmp_path: Path) -> None:
    video = make_video(name, tmp_path)
    reference = read_reference(video.sound, 12)
    frames = read_headrace(video.path, reference.chosen, reference.seconds)
    given = {place: frame for place, frame in frames.items() if frame is not None}
    assert len(given) == len(reference.chosen) or video.sound != video.path
    for place, frame in given.items():
        assert np.array_equal(frame, reference.images[reference.chosen[place]])
    assert given
