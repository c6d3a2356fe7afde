"""dataset_prep --verify-frames: right frames pass, and wrong frames fail their video alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

from tests.runs.bench import Bench

FLOW = "flows.dataset_prep"
# Imported by every Python process that has its folder on the path. Changes one pixel in every frame of wrong.mp4.
WRONG_READER = """
from dataclasses import replace
from tasks.media.reading import VideoReader

read = VideoReader.read_frames_or_damage

def read_wrong(self, indices=None):
    for frame in read(self, indices):
        if self.path.name == "wrong.mp4":
            frame.image[0, 0, 0] ^= 1
        yield frame

VideoReader.read_frames_or_damage = read_wrong
"""


def write_video(path: Path) -> None:
    """Write two seconds of a moving pattern with four keyframes."""
    source = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=2", "-c:v", "libx264", "-g", "12"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *source, str(path)], check=True)


def test_verification_passes_right_frames_and_fails_wrong_ones(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Extract the same videos twice; the second time a broken reader alters the frames of one of them."""
    videos, patch = bench.folder / "videos", bench.folder / "patch"
    videos.mkdir()
    patch.mkdir()
    for name in ("right.mp4", "wrong.mp4"):
        write_video(videos / name)
    samples = [{"id": name, "video_path": f"{name}.mp4", "support_frames": [0.7]} for name in ("right", "wrong")]
    bench.manifest.write_text(json.dumps({"data": samples}))
    options = ("--manifest", bench.manifest, "--videos-dir", videos, "--max-frames", 3, "--verify-frames", 1)
    assert bench.run(*options, "--output-dir", bench.output, flow=FLOW) == 0
    rows = {row["name"]: row for row in bench.items.values() if row["stage"] == "frames"}
    assert {name: (row["frames"], row["verified_frames"]) for name, row in rows.items()} == {
        "right.mp4": (3, 3),
        "wrong.mp4": (3, 3),
    }
    (patch / "sitecustomize.py").write_text(WRONG_READER)
    monkeypatch.syspath_prepend(patch)
    bench.output = bench.folder / "output-of-wrong-reader"
    assert bench.run(*options, "--output-dir", bench.output, flow=FLOW) == 3
    (failure,) = bench.failures.values()
    assert (failure["name"], failure["stage"]) == ("wrong.mp4", "frames")
    assert "wrong.mp4: 3 of 3 verified frames differ from a full decode: frames " in failure["message"]
    assert sorted(path.name for path in (bench.output / "frames").iterdir()) == ["right"]
    assert len(list((bench.output / "frames" / "right").iterdir())) == 3
