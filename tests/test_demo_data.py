"""The demo's input: enough of it, right, and the same on every machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).resolve().parents[1]
DAMAGED = {"damaged-truncated.mp4", "damaged-text.mp4"}


def make(folder: Path) -> Path:
    subprocess.run([sys.executable, ROOT / "examples" / "demo_data.py", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("demo"))


def samples(demo: Path) -> list[dict]:
    return json.loads((demo / "train.json").read_text(encoding="utf-8"))["data"]


def test_samples(demo: Path) -> None:
    found = samples(demo)
    assert len(found) >= 24
    assert len({sample["id"] for sample in found}) == len(found)
    shared = Counter(sample["video_path"] for sample in found)
    assert max(shared.values()) >= 3
    assert set(shared) == {path.name for path in (demo / "videos").iterdir()}
    assert {sample["answer"] for sample in found} == {"A", "B", "C"}
    for sample in found:
        assert sample["support_frames"]
        assert sample["answer"] in {choice[0] for choice in sample["choices"]}


def test_two_videos_are_damaged_and_the_others_decode(demo: Path) -> None:
    failed = set()
    for path in (demo / "videos").iterdir():
        try:
            with av.open(str(path)) as container:
                assert next(container.decode(video=0)).width
        except av.error.InvalidDataError:
            failed.add(path.name)
    assert failed == DAMAGED


def test_some_support_lies_outside_the_video(demo: Path) -> None:
    outside = 0
    for sample in samples(demo):
        if sample["video_path"] not in DAMAGED:
            with av.open(str(demo / "videos" / sample["video_path"])) as container:
                end = container.duration / av.time_base
            outside += any(not 0 <= seconds <= end for seconds in sample["support_frames"])
    assert 1 <= outside <= len(samples(demo)) // 2


def test_same_bytes_every_time_and_nothing_made_twice(demo: Path, tmp_path: Path) -> None:
    again = make(tmp_path)
    names = sorted(path.relative_to(demo) for path in demo.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert all((demo / name).read_bytes() == (again / name).read_bytes() for name in names)
    before = {name: (again / name).stat().st_mtime_ns for name in names}
    make(again)
    assert {name: (again / name).stat().st_mtime_ns for name in names} == before
