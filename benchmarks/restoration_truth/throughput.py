"""Throughput of the flow, compared with multithreaded ffmpeg, and the work lost in a kill.

Both use the same chain, encoder and settings.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import imageio_ffmpeg
import pyarrow.parquet as pq

from benchmarks.restoration_truth.baselines import format_chain
from benchmarks.restoration_truth.clips import find_shared_folder
from tasks.media.segments.clock import build_clock
from tasks.media.segments.settings import EncoderSettings, get_encoder_options
from tasks.media.segments.source import survey_video
from tasks.restoration.building import build_chain
from tasks.restoration.engines.base import get_written_format
from tasks.restoration.measuring.measure import diagnose
from tasks.restoration.presets import load_presets

ROOT = Path(__file__).resolve().parents[2]
# A clip of 10 s in a loop, at 25 interlaced frames per second, with noise, shifted chroma and audio.
_TAPE = (
    "scale=720:576,setpts=N/(50*TB),fps=50,noise=c0s=8:c0f=t:c1s=12:c1f=t:c2s=12:c2f=t:all_seed=3,"
    "chromashift=cbh=3:crh=3,tinterlace=interleave_top,setsar=16/15"
)
_WRITTEN = "-c:v mpeg2video -q:v 3 -flags +ildct+ilme -g 15 -bf 2 -c:a pcm_s16le -ar 48000"
_KILL_AT_SEGMENTS = 2


def report_throughput(output_dir: Path, seconds: int, short_seconds: int, repeats: int, slots: int) -> None:
    """Measure and print one long tape, ten short ones, and a killed run."""
    long_folder = make_tapes(output_dir / "long", 1, seconds)
    short_folder = make_tapes(output_dir / "short", 10, short_seconds)
    seconds_by_tapes: dict[str, dict[str, list[float]]] = {}
    for name, folder in (("one long tape", long_folder), ("ten short tapes", short_folder)):
        runs: dict[str, Callable[[], float]] = {
            "ffmpeg": lambda folder=folder: run_ffmpeg(folder, output_dir / "ffmpeg"),
            "headrace": lambda folder=folder: run_flow(folder, output_dir / "flow", slots),
        }
        seconds_by_tapes[name] = {way: [] for way in runs}
        for _ in range(repeats):
            for way, run in runs.items():
                seconds_by_tapes[name][way].append(run())
        _print_row(name, seconds_by_tapes[name])
    print(kill_and_resume(long_folder, output_dir / "killed", slots), flush=True)
    (output_dir / "throughput.json").write_text(json.dumps(seconds_by_tapes, indent=1) + "\n", encoding="utf-8")


def _print_row(name: str, times: dict[str, list[float]]) -> None:
    ratios = [plain / ours for plain, ours in zip(times["ffmpeg"], times["headrace"], strict=True)]
    plain, ours = statistics.median(times["ffmpeg"]), statistics.median(times["headrace"])
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(
        f"{name}: ffmpeg {plain:.1f} s, headrace {ours:.1f} s: {statistics.median(ratios):.2f} times ({each})",
        flush=True,
    )


def make_tapes(folder: Path, count: int, seconds: int) -> Path:
    """Create ``count`` tapes of that length in ``folder``, each from another position of the clip."""
    folder.mkdir(parents=True, exist_ok=True)
    video = find_shared_folder() / "v2d_test_video.mp4"
    for number in range(count):
        target = folder / f"tape{number}.mkv"
        if target.exists():
            continue
        sound = ["-f", "lavfi", "-i", f"anoisesrc=r=48000:a=0.1:seed={number}"]
        options = ["-stream_loop", "-1", "-ss", str(number), "-i", str(video), *sound, "-map", "0:v", "-map", "1:a"]
        building = target.with_name(f".{target.name}")
        _call_ffmpeg([*options, "-vf", _TAPE, *_WRITTEN.split(), "-t", str(seconds), "-f", "matroska", str(building)])
        building.replace(target)
    return folder


def run_ffmpeg(folder: Path, target: Path) -> float:
    """Return the seconds of ffmpeg for the tapes in ``folder``, in sequence, each on all cores."""
    commands = [_build_arguments(tape, target / f"{tape.stem}.mp4") for tape in sorted(folder.glob("*.mkv"))]
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    begin = time.monotonic()
    for command in commands:
        _call_ffmpeg(command)
    return time.monotonic() - begin


def _build_arguments(tape: Path, target: Path) -> list[str]:
    """Return the arguments of an ffmpeg that does the same as the flow."""
    seconds_by_tapes = survey_video(tape)
    preset = load_presets().presets["vhs_standard"]
    chain = build_chain(diagnose(tape, seconds_by_tapes), preset)
    settings = EncoderSettings(preset.codec, crf=preset.crf)
    options = get_encoder_options(
        settings,
        get_written_format(chain, seconds_by_tapes.picture),
        build_clock(seconds_by_tapes.timeline, chain.ratio),
    )
    encoder = [word for name, value in options.items() if name != "threads" for word in (f"-{name}", value)]
    return [
        "-i",
        str(tape),
        "-vf",
        format_chain(chain),
        "-c:v",
        settings.encoder,
        *encoder,
        "-c:a",
        "copy",
        str(target.with_suffix(".mkv")),
    ]


def _call_ffmpeg(arguments: Sequence[str]) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments], check=True)


def run_flow(folder: Path, output: Path, slots: int) -> float:
    """Return the seconds of the whole command, including the start of its Prefect API."""
    shutil.rmtree(output, ignore_errors=True)
    begin = time.monotonic()
    _run_whole(folder, output, slots)
    return time.monotonic() - begin


def _run_whole(folder: Path, output: Path, slots: int) -> None:
    with _start_flow(folder, output, slots) as process:
        if process.wait():
            raise RuntimeError(f"the flow ended with {process.returncode}; see {output}.log")


@contextmanager
def _start_flow(folder: Path, output: Path, slots: int) -> Iterator[subprocess.Popen[bytes]]:
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        str(ROOT / "flows" / "vhs_batch.py"),
        "--input",
        str(folder),
        "--output-dir",
        str(output),
    ]
    home = {"PREFECT_HOME": str(output.parent.absolute() / "prefect-home")}
    with Path(f"{output}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--workers", str(slots)], stdout=log, stderr=log, env=os.environ | home, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def kill_and_resume(folder: Path, output: Path, slots: int) -> str:
    """Kill a run (SIGKILL) with finished and running segments, run it again, and describe the repeated work."""
    shutil.rmtree(output, ignore_errors=True)
    records = output / ".headrace" / "records" / "segments"
    with _start_flow(folder, output, slots) as process:
        while process.poll() is None and len(list(records.glob("*.json"))) < _KILL_AT_SEGMENTS:
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = {path.stem for path in records.glob("*.json")}
    _run_whole(folder, output, slots)
    rows = [row for row in pq.read_table(output / "items.parquet").to_pylist() if row["stage"] == "segments"]
    again = {row["id"] for row in rows if row["outcome"] == "done"}
    kept = {row["id"] for row in rows if row["outcome"] == "cached"}
    return (
        f"killed with {len(done)} of {len(rows)} segments done on {slots} slots: "
        f"{len(kept & done)} of these were kept, {len(again & done)} done again"
    )
