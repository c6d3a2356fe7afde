"""How well and how fast landmarks are found: ``python benchmarks/landmarks.py``.

clips       CPU a frame and hand coverage of each clip: this flow by default, with everything on but the rescue of
            lost hands, and with that too, beside a plain loop of HolisticLandmarker (IMAGE and VIDEO mode) and
            pose-format's own extractor
throughput  all slots together beside what the cores and the plain loop's CPU a frame allow
memory      peak memory of a slot over 500 short items

The clips and a holistic model lie in shared/ beside the checkout, or where HEADRACE_SHARED says. pose-format's own
extractor wants an old mediapipe: it gets an environment of its own in the output folder, which needs a package index.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cyclopts

from benchmarks.landmark_extraction import own
from benchmarks.landmark_extraction.clips import Clip, make_clips, shared_folder
from benchmarks.landmark_extraction.measured import Measured, cores, run_loop
from benchmarks.landmark_extraction.pose_format_environment import python_of
from benchmarks.machine import describe_machine

PARTS = Literal["clips", "throughput", "memory"]
HERE = Path(__file__).resolve().parent / "landmark_extraction"
WAYS = ("image loop", "video loop", "pose-format", "headrace", "headrace, all but the rescue", "headrace + rescue")


def main(
    part: tuple[PARTS, ...] = ("clips", "throughput", "memory"),
    output_dir: Path = Path("build/benchmarks/landmarks"),
    repeats: int = 3,
    copies: int = 12,
    items: int = 500,
    quick: bool = False,
) -> None:
    """Measure and print tables; figures as JSON go into the output folder.

    Args:
        part: What to measure; all of it by default
        output_dir: Folder for the figures, the made clips and pose-format's environment
        repeats: How often each way is run, in turn; medians are printed
        copies: How often the clip of the throughput is repeated
        items: Items of the memory part
        quick: A second of each clip, to see that it works
    """
    shared = shared_folder()
    model = shared / "models" / "holistic_assembled.task"
    print(describe_machine(), flush=True)
    clips = make_clips(shared, output_dir / ("quick" if quick else "clips"), quick)
    if quick:
        repeats, copies, items = 1, 2, 8
    if "clips" in part:
        rounds = [_round(clips, model, output_dir) for _ in range(repeats)]
        _save(output_dir / "clips.json", rounds)
        _report_clips(clips, rounds)
    if "throughput" in part:
        _report_throughput(clips[0], model, copies, repeats)
    if "memory" in part:
        _report_memory(make_clips(shared, output_dir / "quick", quick=True)[:1], model, items)


def _round(clips: list[Clip], model: Path, output_dir: Path) -> dict[str, dict[str, Measured]]:
    """Every way once, one after another, each on all cores."""
    loop = [sys.executable, HERE / "plain_loop.py", model]
    return {
        "image loop": run_loop([*loop, "image"], clips),
        "headrace": own.extract(clips, model, cores()).by_clip(),
        "headrace, all but the rescue": own.extract(clips, model, cores(), *own.EVERYTHING).by_clip(),
        "pose-format": run_loop([python_of(output_dir / "pose-format"), HERE / "pose_format_loop.py"], clips),
        "headrace + rescue": own.extract(clips, model, cores(), *own.EVERYTHING, "--rescue-hands").by_clip(),
        "video loop": run_loop([*loop, "video"], clips),
    }


def _report_clips(clips: list[Clip], rounds: list[dict[str, dict[str, Measured]]]) -> None:
    print("\nCPU a frame in ms (median), and hand coverage in %\n")
    print(f"| clip | frames | {' | '.join(WAYS)} |")
    print(f"| --- | --- |{' --- |' * len(WAYS)}")
    for clip in clips:
        cells = [_cell([made[way][clip.name] for made in rounds]) for way in WAYS]
        print(f"| {clip.name} | {clip.frames} | {' | '.join(cells)} |")
    costs = {way: statistics.median(_cost(made[way]) for made in rounds) for way in WAYS}
    shown = [clip.name for clip in clips if any(rounds[-1][way][clip.name].coverage for way in WAYS)]
    shares = {way: statistics.mean(rounds[-1][way][name].coverage for name in shown) for way in WAYS}
    print(f"| all | | {' | '.join(f'{costs[way]:.1f}, {100 * shares[way]:.1f} %' for way in WAYS)} |")
    print(f"\nCPU a frame beside the image loop: {costs['headrace'] / costs['image loop']:.3f} by default,")
    print(f"{costs[WAYS[4]] / costs['image loop']:.3f} with everything on but the rescue")
    print(f"the rescue: {costs['headrace + rescue'] / costs[WAYS[4]] - 1:+.1%} CPU a frame")
    gain = 100 * (shares[WAYS[-1]] - shares["image loop"])
    print(f"coverage above the image loop: {gain:+.1f} points on average over the {len(shown)} clips that show hands,")
    print(f"{gain * len(shown) / len(clips):+.1f} over all")
    for other in WAYS[:3]:
        behind = [clip.name for clip in clips if _behind(rounds[-1], clip.name, other)]
        print(f"clips with less coverage than {other}: {', '.join(behind) or 'none'}")


def _cell(found: list[Measured]) -> str:
    cost = statistics.median(one.cpu_milliseconds for one in found)
    return f"{cost:.1f}, {100 * found[-1].coverage:.1f} %"


def _cost(made: Mapping[str, Measured]) -> float:
    """CPU milliseconds a frame over all clips."""
    return 1000 * sum(one.cpu_seconds for one in made.values()) / sum(one.frames for one in made.values())


def _behind(made: dict[str, dict[str, Measured]], clip: str, other: str) -> bool:
    return made["headrace + rescue"][clip].coverage < made[other][clip].coverage


def _report_throughput(clip: Clip, model: Path, copies: int, repeats: int) -> None:
    slots = cores()
    print(f"\n{copies} copies of {clip.name}, {clip.frames} frames each, {slots} slots on {slots} cores\n")
    reached = []
    for _ in range(repeats):
        twins = [replace(clip, name=f"{clip.name} {number}") for number in range(slots)]
        plain = _cost(run_loop([sys.executable, HERE / "plain_loop.py", model, "image"], twins))
        run = own.extract([clip], model, slots, copies=copies)
        allowed = 1000 * slots / plain
        reached.append(run.frames_per_second / allowed)
        speed = f"{run.frames_per_second:.1f} frames/s; the plain loop's CPU allows {allowed:.1f}"
        print(f"{speed}: {reached[-1]:.3f}", flush=True)
    print(f"median: {statistics.median(reached):.3f}")


def _report_memory(clips: list[Clip], model: Path, items: int) -> None:
    run = own.extract(clips, model, cores(), *own.EVERYTHING, "--rescue-hands", copies=items)
    rows = sorted(run.rows, key=lambda row: row["started_at"])
    peaks = [row["peak_memory_bytes"] / 2**20 for row in rows]
    tenth = max(1, len(peaks) // 10)
    parts = [statistics.median(peaks[start : start + tenth]) for start in range(0, len(peaks), tenth)]
    print(f"\npeak memory of a slot, MiB, over {len(rows)} items: at most {max(peaks):.0f}; medians of each tenth:")
    print(", ".join(f"{part:.0f}" for part in parts))


def _save(path: Path, rounds: list[dict[str, dict[str, Measured]]]) -> None:
    plain = [
        {way: {name: asdict(one) for name, one in made.items()} for way, made in found.items()} for found in rounds
    ]
    path.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cyclopts.run(main)
