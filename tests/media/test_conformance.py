"""Compare frames from the stage of dataset_prep with a full decode, for a few files of the conformance table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.video_conformance.corpus import make_video
from benchmarks.video_conformance.readers import read_headrace
from benchmarks.video_conformance.reference import read_reference


@pytest.mark.parametrize("name", ["h264-open-gop.ts", "all-sync-mpeg4.mp4", "palette-raw.avi", "truncated-h264.mp4"])
def test_every_frame_is_exact_or_reported_as_damaged(name: str, tmp_path: Path) -> None:
    video = make_video(name, tmp_path)
    reference = read_reference(video.intact, 12)
    frames = read_headrace(video.path, reference.chosen, reference.seconds)
    readable = {place: frame for place, frame in frames.items() if frame is not None}
    assert len(readable) == len(reference.chosen) or video.intact != video.path
    for place, frame in readable.items():
        assert np.array_equal(frame, reference.images[reference.chosen[place]])
    assert readable
