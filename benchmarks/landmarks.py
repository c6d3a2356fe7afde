"""Quality and speed of landmark extraction: ``python benchmarks/landmarks.py``.

clips       CPU per frame and hand coverage of each clip: this flow with defaults, with all options except the hand
            rescue, and with the rescue, compared with a plain loop of HolisticLandmarker (IMAGE and VIDEO mode) and
            pose-format's own extractor
throughput  all slots together, compared with the limit from the cores and the plain loop's CPU per frame
memory      peak memory of a slot over 500 short items

The clips and a holistic model are in shared/ next to the checkout, or in HEADRACE_SHARED. pose-format's extractor needs
an old mediapipe: it gets a separate environment in the output folder, which needs a package index.
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
from benchmarks.landmark_extraction.clips import Clip, find_shared_folder, prepare_clips
from benchmarks.landmark_extraction.figures import ClipFigures, count_cores, run_loop
from benchmarks.landmark_extraction.pose_format_environment import prepare_python
from benchmarks.machine import describe_machine

PARTS = Literal["clips", "throughput", "memory"]
HERE = Path(__file__).resolve().parent / "landmark_extraction"
METHODS = ("image loop", "video loop", "pose-format", "headrace", "headrace, all but the rescue", "headrace + rescue")


def main(
    part: tuple[PARTS, ...] = ("clips", "throughput", "memory"),
    output_dir: Path = Path("build/benchmarks/landmarks"),
    repeats: int = 3,
    copies: int = 12,
    items: int = 500,
    quick: bool = False,
) -> None:
    """Measure and print tables; the figures are saved as JSON in the output folder.

    Args:
            part: What to measure (default: everything)
            output_dir: Folder for the figures, the generated clips and pose-format's environment
            repeats: Number of runs per method, interleaved; medians are printed
            copies: Copies of the clip in the throughput part
            items: Items in the memory part
            quick: One second of each clip, as a smoke test
    """
    shared = find_shared_folder()
    model = shared / "models" / "holistic_assembled.task"
    print(describe_machine(), flush=True)
    clips = prepare_clips(shared, output_dir / ("quick" if quick else "clips"), quick)
    if quick:
        repeats, copies, items = 1, 2, 8
    if "clips" in part:
        rounds = [_run_round(clips, model, output_dir) for _ in range(repeats)]
        save_figures(output_dir / "clips.json", rounds)
        print_clips(clips, rounds)
    if "throughput" in part:
        print_throughput(clips[0], model, copies, repeats)
    if "memory" in part:
        print_memory(prepare_clips(shared, output_dir / "quick", quick=True)[:1], model, items)


def _run_round(clips: list[Clip], model: Path, output_dir: Path) -> dict[str, dict[str, ClipFigures]]:
    """Run every method once, one after another, each on all cores."""
    loop = [sys.executable, HERE / "plain_loop.py", model]
    return {
        "image loop": run_loop([*loop, "image"], clips),
        "headrace": own.extract(clips, model, count_cores()).group_by_clip(),
        "headrace, all but the rescue": own.extract(clips, model, count_cores(), *own.ALL_OPTIONS).group_by_clip(),
        "pose-format": run_loop([prepare_python(output_dir / "pose-format"), HERE / "pose_format_loop.py"], clips),
        "headrace + rescue": own.extract(
            clips, model, count_cores(), *own.ALL_OPTIONS, "--rescue-hands"
        ).group_by_clip(),
        "video loop": run_loop([*loop, "video"], clips),
    }


def print_clips(clips: list[Clip], rounds: list[dict[str, dict[str, ClipFigures]]]) -> None:
    print("\nCPU per frame in ms (median), and hand coverage in %\n")
    print(f"| clip | frames | {' | '.join(METHODS)} |")
    print(f"| --- | --- |{' --- |' * len(METHODS)}")
    for clip in clips:
        cells = [_format_cell([figures[method][clip.name] for figures in rounds]) for method in METHODS]
        print(f"| {clip.name} | {clip.frames} | {' | '.join(cells)} |")
    costs = {method: statistics.median(_compute_cost(figures[method]) for figures in rounds) for method in METHODS}
    shown = [clip.name for clip in clips if any(rounds[-1][method][clip.name].coverage for method in METHODS)]
    shares = {method: statistics.mean(rounds[-1][method][name].coverage for name in shown) for method in METHODS}
    print(f"| all | | {' | '.join(f'{costs[method]:.1f}, {100 * shares[method]:.1f} %' for method in METHODS)} |")
    print(f"\nCPU per frame relative to the image loop: {costs['headrace'] / costs['image loop']:.3f} by default,")
    print(f"{costs[METHODS[4]] / costs['image loop']:.3f} with all options except the rescue")
    print(f"the rescue: {costs['headrace + rescue'] / costs[METHODS[4]] - 1:+.1%} CPU per frame")
    gain = 100 * (shares[METHODS[-1]] - shares["image loop"])
    print(f"coverage above the image loop: {gain:+.1f} points on average over the {len(shown)} clips that show hands,")
    print(f"{gain * len(shown) / len(clips):+.1f} over all")
    for other in METHODS[:3]:
        worse = [clip.name for clip in clips if _has_less_coverage(rounds[-1], clip.name, other)]
        print(f"clips with less coverage than {other}: {', '.join(worse) or 'none'}")


def _format_cell(rounds: list[ClipFigures]) -> str:
    cost = statistics.median(figures.cpu_milliseconds for figures in rounds)
    return f"{cost:.1f}, {100 * rounds[-1].coverage:.1f} %"


def _compute_cost(by_clip: Mapping[str, ClipFigures]) -> float:
    """Return the CPU milliseconds per frame over all clips."""
    seconds = sum(figures.cpu_seconds for figures in by_clip.values())
    return 1000 * seconds / sum(figures.frames for figures in by_clip.values())


def _has_less_coverage(results: dict[str, dict[str, ClipFigures]], clip: str, other: str) -> bool:
    return results["headrace + rescue"][clip].coverage < results[other][clip].coverage


def print_throughput(clip: Clip, model: Path, copies: int, repeats: int) -> None:
    slots = count_cores()
    print(f"\n{copies} copies of {clip.name}, {clip.frames} frames each, {slots} slots on {slots} cores\n")
    ratios = []
    for _ in range(repeats):
        copies_of_clip = [replace(clip, name=f"{clip.name} {number}") for number in range(slots)]
        plain = _compute_cost(run_loop([sys.executable, HERE / "plain_loop.py", model, "image"], copies_of_clip))
        run = own.extract([clip], model, slots, copies=copies)
        limit = 1000 * slots / plain
        ratios.append(run.frames_per_second / limit)
        speed = f"{run.frames_per_second:.1f} frames/s; the plain loop's CPU allows {limit:.1f}"
        print(f"{speed}: {ratios[-1]:.3f}", flush=True)
    print(f"median: {statistics.median(ratios):.3f}")


def print_memory(clips: list[Clip], model: Path, items: int) -> None:
    run = own.extract(clips, model, count_cores(), *own.ALL_OPTIONS, "--rescue-hands", copies=items)
    rows = sorted(run.rows, key=lambda row: row["started_at"])
    peaks = [row["peak_memory_bytes"] / 2**20 for row in rows]
    tenth = max(1, len(peaks) // 10)
    parts = [statistics.median(peaks[start : start + tenth]) for start in range(0, len(peaks), tenth)]
    print(f"\npeak memory of a slot, MiB, over {len(rows)} items: at most {max(peaks):.0f}; medians of each tenth:")
    print(", ".join(f"{part:.0f}" for part in parts))


def save_figures(path: Path, rounds: list[dict[str, dict[str, ClipFigures]]]) -> None:
    plain = [
        {method: {name: asdict(figures) for name, figures in by_clip.items()} for method, by_clip in results.items()}
        for results in rounds
    ]
    path.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cyclopts.run(main)
