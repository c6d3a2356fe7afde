"""Test the demo's input: complete, correct, and the same on every machine."""

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


def create_demo(folder: Path) -> Path:
    subprocess.run([sys.executable, ROOT / "examples" / "demo_data.py", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create_demo(tmp_path_factory.mktemp("demo"))


def read_samples(demo: Path) -> list[dict]:
    return json.loads((demo / "train.json").read_text(encoding="utf-8"))["data"]


def test_demo_manifest_lists_samples_of_every_kind(demo: Path) -> None:
    found = read_samples(demo)
    assert len(found) >= 24
    assert len({sample["id"] for sample in found}) == len(found)
    shared = Counter(sample["video_path"] for sample in found)
    assert max(shared.values()) >= 3
    assert set(shared) == {path.name for path in (demo / "videos").iterdir()}
    assert {sample["answer"] for sample in found} == {"A", "B", "C"}
    for sample in found:
        assert sample["support_frames"]
        assert sample["answer"] in {choice[0] for choice in sample["choices"]}


def test_two_demo_videos_are_damaged_and_the_others_decode(demo: Path) -> None:
    failed = set()
    for path in (demo / "videos").iterdir():
        try:
            with av.open(str(path)) as container:
                assert next(container.decode(video=0)).width
        except av.error.InvalidDataError:
            failed.add(path.name)
    assert failed == DAMAGED


def test_some_demo_support_is_outside_the_video(demo: Path) -> None:
    outside = 0
    for sample in read_samples(demo):
        if sample["video_path"] not in DAMAGED:
            with av.open(str(demo / "videos" / sample["video_path"])) as container:
                end = container.duration / av.time_base
            outside += any(not 0 <= seconds <= end for seconds in sample["support_frames"])
    assert 1 <= outside <= len(read_samples(demo)) // 2


def test_demo_files_are_reproducible_and_created_once(demo: Path, tmp_path: Path) -> None:
    again = create_demo(tmp_path)
    names = sorted(path.relative_to(demo) for path in demo.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert all((demo / name).read_bytes() == (again / name).read_bytes() for name in names)
    before = {name: (again / name).stat().st_mtime_ns for name in names}
    create_demo(again)
    assert {name: (again / name).stat().st_mtime_ns for name in names} == before
