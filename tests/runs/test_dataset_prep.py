"""dataset_prep on real videos: killed, taken up, and run again with other parameters. Same bytes whatever happens."""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.engine.processes import wait_until, wait_until_gone
from tests.runs.bench import Bench, Started, digests, records

FLOW = "flows.dataset_prep"
VIDEOS = 12  # four of each clip


@pytest.fixture
def videos(bench: Bench, clips: list[Path], truncated_clip: Path) -> Path:
    """Twelve videos and a damaged one, with two samples each; one clip is there four times under four names."""
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


def options(bench: Bench, videos: Path, *more: object) -> tuple[object, ...]:
    given = ("--manifest", bench.manifest, "--videos-dir", videos, "--output-dir", bench.output)
    return (*given, "--max-frames", 4, "--splits", "train=0.7,val=0.3", *more)


def results(bench: Bench) -> Mapping[str, str]:
    """sha256 of everything under dataset/ and frames/."""
    made = digests(bench.output)
    return {path: digest for path, digest in made.items() if path.startswith(("dataset", "frames/"))}


def frames_done(bench: Bench) -> int:
    return len(list((bench.output / ".headrace/records/frames").glob("*.json")))


def kill_when(bench: Bench, flow: Started, done: int) -> None:
    wait_until(lambda: frames_done(bench) >= done, f"{done} videos done: {flow.said.read_text()}")
    flow.signal(signal.SIGKILL)
    assert flow.wait() == -signal.SIGKILL
    assert done <= frames_done(bench) < VIDEOS, "the kill did not land in the middle of the work"


def test_killed_twice_and_taken_up_it_makes_the_same_bytes(bench: Bench, videos: Path) -> None:
    with bench.started(*options(bench, videos, "--workers", 2, "--shard-size", 1), flow=FLOW) as flow:
        kill_when(bench, flow, done=2)
    wait_until_gone(bench.mark)
    with bench.started(*options(bench, videos, "--workers", 1, "--order", "lightest"), flow=FLOW) as flow:
        before = frames_done(bench)
        kill_when(bench, flow, done=before + 2)
    wait_until_gone(bench.mark)
    before = frames_done(bench)
    assert bench.run(*options(bench, videos, "--workers", 2, "--order", "manifest"), flow=FLOW) == 3
    stages = bench.summary["stages"]
    assert (stages["frames"]["cached"], stages["frames"]["done"], stages["frames"]["failed"]) == (
        before,
        VIDEOS - before,
        1,
    )
    assert bench.failures["damaged.mp4"]["failure_kind"] == "bad_input"
    disturbed, kept = results(bench), records(bench.output)

    bench.output = bench.folder / "undisturbed"
    assert bench.run(*options(bench, videos, "--workers", 1), flow=FLOW) == 3
    assert results(bench) == disturbed
    assert records(bench.output) == kept
    assert len([path for path in disturbed if path.startswith("frames/")]) == 4 * 2 * VIDEOS


def test_a_changed_parameter_runs_the_stages_that_it_touches(bench: Bench, videos: Path) -> None:
    def stages(*more: object) -> tuple[int, int]:
        """Items that the stages frames and dataset did."""
        assert bench.run(*options(bench, videos, "--resize", 64, "--keep-failed", *more), flow=FLOW) == 3
        found = bench.summary["stages"]
        return found["frames"]["done"], found["dataset"]["done"]

    first, parts = stages()
    assert first == VIDEOS
    assert parts > 0
    assert stages("--workers", 1, "--order", "lightest", "--timeout", 99) == (0, 0)
    jsonl = set(results(bench))
    frames, parts = stages("--format", "parquet")
    assert frames == 0
    assert parts > 0
    assert {path for path in results(bench) if path.endswith(".jsonl")} == set(), "the other format's files went"
    again, parts = stages("--quality", 50)
    assert again == VIDEOS
    assert parts > 0
    assert set(results(bench)) == jsonl


def test_a_sample_that_moves_to_another_video_keeps_its_frames(bench: Bench, videos: Path) -> None:
    """The video that gives the sample up comes last, and must not take the frames along."""
    samples = [{"id": name, "video_path": f"clip-{video:02d}.mp4"} for name, video in [("a", 0), ("b", 0), ("c", 1)]]
    for video in ("clip-00.mp4", "clip-01.mp4"):
        samples[1]["video_path"] = video
        bench.manifest.write_text(json.dumps(samples[::-1]))
        given = ("--resize", 64, "--workers", 1, "--order", "manifest")
        assert bench.run(*options(bench, videos, *given), flow=FLOW) == 0
        frames = [path.parts[1] for path in map(Path, results(bench)) if path.parts[0] == "frames"]
        assert {name: frames.count(name) for name in "abc"} == {"a": 4, "b": 4, "c": 4}
