"""Speedup with more slots: real segments on two slots, sleeping stand-ins on more slots than cores."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio_ffmpeg

from benchmarks.restoration_truth.clips import find_shared_folder

ROOT = Path(__file__).resolve().parents[2]
_BOX = "20,16,180x64"
GOAL_TWO_SLOTS, GOAL_STAND_INS = 0.93, 0.95


def report_scaling(output_dir: Path, video_seconds: int, repeats: int, quick: bool = False) -> None:
    """Measure and print both; write the figures as JSON to the output folder."""
    video = _make_video(output_dir, 8 if quick else video_seconds)
    pairs = [(_clean(video, output_dir, 1), _clean(video, output_dir, 2)) for _ in range(1 if quick else repeats)]
    figures: dict[str, Any] = {"two slots": pairs}
    ratios = [single / (2 * double) for single, double in pairs]
    words = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    print(f"one video, 1 slot and 2: efficiency {statistics.median(ratios):.3f} ({words}), goal {GOAL_TWO_SLOTS}")
    for slots, rounds, seconds in ((8, 2, 2.0), (32, 2, 4.0)) if quick else ((8, 6, 20.0), (32, 4, 30.0)):
        wall = _sleep(output_dir, slots, slots * rounds, seconds)
        figures[f"{slots} slots"] = wall
        share = rounds * seconds / wall
        print(
            f"{slots * rounds} stand-ins of {seconds:g} s on {slots} slots: {share:.3f} of ideal, goal {GOAL_STAND_INS}"
        )
    (output_dir / "scaling.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _make_video(folder: Path, seconds: int) -> Path:
    """Make a looped clip with audio."""
    target = folder / f"scaling-{seconds}.mp4"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        clip = ["-stream_loop", "-1", "-i", str(find_shared_folder() / "v2d_test_video.mp4")]
        audio = ["-f", "lavfi", "-i", "anoisesrc=r=48000:a=0.1:seed=1", "-map", "0:v", "-map", "1:a"]
        coded = [
            "-vf",
            "scale=640:360",
            "-c:v",
            "libx264",
            "-crf",
            "18",
            "-c:a",
            "aac",
            "-t",
            str(seconds),
            "-f",
            "mp4",
        ]
        building = target.with_suffix(".part")
        program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y"]
        subprocess.run([*program, *clip, *audio, *coded, str(building)], check=True)
        building.replace(target)
    return target


def _clean(video: Path, folder: Path, slots: int) -> float:
    """Return the run's seconds, from its first stage to its report, on ``slots`` slots."""
    output = folder / f"cleaned-{slots}"
    options = ["--input", str(video), "--detector", "mask", "--mask", _BOX, "--segments", "8"]
    return _run([str(ROOT / "flows" / "overlay_removal.py"), *options], output, slots)


def _sleep(folder: Path, slots: int, segments: int, seconds: float) -> float:
    options = ["--segments", str(segments), "--seconds", str(seconds)]
    return _run([str(ROOT / "benchmarks" / "sleep.py"), *options], folder / f"sleeping-{slots}", slots)


def _run(command: Sequence[str], output: Path, slots: int) -> float:
    shutil.rmtree(output, ignore_errors=True)
    home = {"PREFECT_HOME": str(output.parent.absolute() / "prefect-home"), "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, *command, "--output-dir", str(output), "--workers", str(slots)],
        check=True,
        capture_output=True,
        env=os.environ | home,
    )
    return float(json.loads((output / "summary.json").read_bytes())["wall_seconds"])
