"""Run dataset_prep on real videos: killed, resumed, and repeated with other parameters; outputs are reproducible."""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.engine.processes import wait_until, wait_until_gone
from tests.runs.bench import Bench, FlowProcess, hash_files, load_records

FLOW = "flows.dataset_prep"
VIDEOS = 12  # each clip four times


@pytest.fixture
def videos(bench: Bench, clips: list[Path], truncated_clip: Path) -> Path:
    """Create twelve videos and a damaged one, with two samples each; each clip appears four times."""
    folder = bench.folder / "videos"
    folder.mkdir()
    samples = []
    for number in range(VIDEOS):
        name = f"clip-{number:02d}.mp4"
        os.link(clips[number % len(clips)], folder / name)
        samples += [
            {"id": f"q{number:02d}-{question}", "video_path": name, "support_frames": [0.5 + question]}
            for question in range(2)
        ]
    os.link(truncated_clip, folder / "damaged.mp4")
    samples.append({"id": "lost", "video_path": "damaged.mp4", "support_frames": [0.1]})
    bench.manifest.write_text(json.dumps({"data": samples}))
    return folder


def build_options(bench: Bench, videos: Path, *more: object) -> tuple[object, ...]:
    common = ("--manifest", bench.manifest, "--videos-dir", videos, "--output-dir", bench.output)
    return (*common, "--max-frames", 4, "--splits", "train=0.7,val=0.3", *more)


def read_digests(bench: Bench) -> Mapping[str, str]:
    """Return the sha256 of every file under dataset/ and frames/."""
    files = hash_files(bench.output)
    return {path: digest for path, digest in files.items() if path.startswith(("dataset", "frames/"))}


def count_done(bench: Bench) -> int:
    return len(list((bench.output / ".headrace/records/frames").glob("*.json")))


def kill_after(bench: Bench, flow: FlowProcess, done: int) -> None:
    wait_until(lambda: count_done(bench) >= done, f"{done} videos done: {flow.log.read_text()}")
    flow.signal(signal.SIGKILL)
    assert flow.wait() == -signal.SIGKILL
    assert done <= count_done(bench) < VIDEOS, "the kill came before or after the work"


def test_run_that_was_killed_twice_writes_the_same_bytes(bench: Bench, videos: Path) -> None:
    with bench.start_flow(*build_options(bench, videos, "--workers", 2, "--shard-size", 1), flow=FLOW) as flow:
        kill_after(bench, flow, done=2)
    wait_until_gone(bench.mark)
    with bench.start_flow(*build_options(bench, videos, "--workers", 1, "--order", "lightest"), flow=FLOW) as flow:
        before = count_done(bench)
        kill_after(bench, flow, done=before + 2)
    wait_until_gone(bench.mark)
    before = count_done(bench)
    assert bench.run(*build_options(bench, videos, "--workers", 2, "--order", "manifest"), flow=FLOW) == 3
    stages = bench.summary["stages"]
    assert (stages["frames"]["cached"], stages["frames"]["done"], stages["frames"]["failed"]) == (
        before,
        VIDEOS - before,
        1,
    )
    assert bench.failures["damaged.mp4"]["failure_kind"] == "bad_input"
    disturbed, kept = read_digests(bench), load_records(bench.output)

    bench.output = bench.folder / "undisturbed"
    assert bench.run(*build_options(bench, videos, "--workers", 1), flow=FLOW) == 3
    assert read_digests(bench) == disturbed
    assert load_records(bench.output) == kept
    assert len([path for path in disturbed if path.startswith("frames/")]) == 4 * 2 * VIDEOS


def test_changed_parameter_runs_only_affected_stages(bench: Bench, videos: Path) -> None:
    def run_stages(*more: object) -> tuple[int, int]:
        """Return the number of items that ran in the stages frames and dataset."""
        assert bench.run(*build_options(bench, videos, "--resize", 64, "--keep-failed", *more), flow=FLOW) == 3
        stages = bench.summary["stages"]
        return stages["frames"]["done"], stages["dataset"]["done"]

    first, parts = run_stages()
    assert first == VIDEOS
    assert parts > 0
    assert run_stages("--workers", 1, "--order", "lightest", "--timeout", 99) == (0, 0)
    jsonl = set(read_digests(bench))
    frames, parts = run_stages("--format", "parquet")
    assert frames == 0
    assert parts > 0
    assert {path for path in read_digests(bench) if path.endswith(".jsonl")} == set(), (
        "the other format's files were removed"
    )
    rerun, parts = run_stages("--quality", 50)
    assert rerun == VIDEOS
    assert parts > 0
    assert set(read_digests(bench)) == jsonl


def test_sample_that_moves_to_another_video_keeps_its_frames(bench: Bench, videos: Path) -> None:
    """Process the sample's old video last; it must not remove the sample's frames."""
    samples = [{"id": name, "video_path": f"clip-{video:02d}.mp4"} for name, video in [("a", 0), ("b", 0), ("c", 1)]]
    for video in ("clip-00.mp4", "clip-01.mp4"):
        samples[1]["video_path"] = video
        bench.manifest.write_text(json.dumps(samples[::-1]))
        run_options = ("--resize", 64, "--workers", 1, "--order", "manifest")
        assert bench.run(*build_options(bench, videos, *run_options), flow=FLOW) == 0
        frames = [path.parts[1] for path in map(Path, read_digests(bench)) if path.parts[0] == "frames"]
        assert {name: frames.count(name) for name in "abc"} == {"a": 4, "b": 4, "c": 4}
