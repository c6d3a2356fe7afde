"""Measures detection and removal of overlays: ``python benchmarks/overlays.py``.

detection  on clips with and without overlays: intersection over union, false positives
removal    against ffmpeg's delogo and removelogo and frame-by-frame Telea, all with the true masks
scaling    one video on more slots

benchmarks/overlay_truth/marks.py puts the overlays on real clips. The clips are in shared/ next to the checkout, or in
HEADRACE_SHARED. Static scenes are marked: detection should abstain there.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cyclopts

from benchmarks.machine import describe_machine
from benchmarks.overlay_truth.cases import Case, Encoding, Result, list_cases, measure_case
from benchmarks.overlay_truth.clips import CLIPS, Clip, get_shared_folder
from benchmarks.overlay_truth.drawing import KINDS, Kind
from benchmarks.overlay_truth.marks import OPACITIES, cut_clip
from benchmarks.overlay_truth.ours import detect
from benchmarks.overlay_truth.scaling import report_scaling
from benchmarks.overlay_truth.scores import Scores

Part = Literal["detection", "removal", "scaling"]
GOAL_IOU, GOAL_TRANSLUCENT, GOAL_OPAQUE = 0.8, 6.0, 2.0


def main(
    part: tuple[Part, ...] = ("detection", "removal", "scaling"),
    clips: tuple[str, ...] = (),
    kinds: tuple[Kind, ...] = KINDS,
    opacities: tuple[float, ...] = OPACITIES,
    encodings: tuple[Encoding, ...] = ("lossless", "lossy"),
    frames: int | None = None,
    removal_frames: int | None = None,
    video_seconds: int = 60,
    repeats: int = 3,
    output_dir: Path = Path("build/benchmarks/overlays"),
    quick: bool = False,
) -> None:
    """Measure and print tables; figures as JSON go into the output folder.

    Args:
        part: Measurements (default: all)
        clips: Names of the clips (default: all)
        kinds: Kinds of overlays
        opacities: Opacities, above 0 to 1
        encodings: Encodings of the marked clips
        frames: Maximum frames per clip
        removal_frames: Maximum frames in the middle for removal; detection uses all frames
        video_seconds: Duration of the video for scaling, in seconds
        repeats: Repetitions of the scaling measurement
        output_dir: Folder for figures and clips
        quick: Use few frames of one clip, as a smoke test
    """
    print(describe_machine(), flush=True)
    output_dir.mkdir(parents=True, exist_ok=True)
    chosen = [clip for clip in CLIPS if clip.name in (clips or [clip.name for clip in CLIPS])]
    if quick:
        chosen, kinds, opacities, encodings = chosen[:1], kinds[:1], opacities[1:2], encodings[:1]
        frames, removal_frames = 100, 12
    if "detection" in part:
        _report_clean(chosen, frames, output_dir)
    if "detection" in part or "removal" in part:
        wanted = list_cases(chosen, kinds, opacities, encodings)
        results = _measure_cases(wanted, frames, removal_frames, output_dir, "removal" in part)
        _report_detection(results)
        if "removal" in part:
            _report_removal(results)
    if "scaling" in part:
        report_scaling(output_dir, video_seconds, repeats, quick=quick)


def _measure_cases(
    wanted: Iterator[Case], frames: int | None, removal_frames: int | None, output_dir: Path, with_removal: bool
) -> list[Result]:
    """Measure every case and print a line each; keep the figures so far in the folder."""
    results: list[Result] = []
    for case in wanted:
        results.append(measure_case(case, frames, output_dir / "clips", with_removal, removal_frames))
        print(f"{case.name}: IoU {results[-1].iou:.2f}, {results[-1].reason}", file=sys.stderr, flush=True)
        plain = json.dumps([asdict(result) for result in results], indent=1)
        (output_dir / "scores.json").write_text(plain + "\n", encoding="utf-8")
    return results


def _report_clean(clips: Sequence[Clip], frames: int | None, output_dir: Path) -> None:
    """Print the detections in clips without overlays."""
    print("\nclean clips\n\n| clip | overlays | confidence | reason |\n| --- | --- | --- | --- |")
    for clip in clips:
        path = cut_clip(clip, frames, output_dir, get_shared_folder())
        findings = detect(path)
        path.unlink()
        print(f"| {clip.name} | {len(findings.overlays)} | {findings.confidence:.2f} | {findings.reason} |", flush=True)


def _report_detection(results: Sequence[Result]) -> None:
    """Print the IoU per clip and kind, at each opacity, for lossless and lossy clips; then opacities and frames."""
    opacities = sorted({result.case.opacity for result in results})
    print(f"\nIoU of detected overlays, goal {GOAL_IOU}; opacities {', '.join(map(str, opacities))}\n")
    encodings = list(dict.fromkeys(result.case.encoding for result in results))
    print(f"| clip | overlay | {' | '.join(encodings)} |\n| --- | --- |{' --- |' * len(encodings)}")
    for clip, kind in dict.fromkeys((result.case.clip, result.case.mark.kind) for result in results):
        mine = [result for result in results if (result.case.clip, result.case.mark.kind) == (clip, kind)]
        cells = (" ".join(f"{result.iou:.2f}" for result in mine if result.case.encoding == name) for name in encodings)
        print(f"| {clip.name}{'' if clip.diverse else ' (static)'} | {kind} | {' | '.join(cells)} |")
    _report_opacities(results, opacities)


def _report_opacities(results: Sequence[Result], opacities: Sequence[float]) -> None:
    """Print the errors of opacities, where both overlays lie, and the wrong frames."""
    print("\n| opacity | detected | mean error of the opacity | maximum | wrong frames |")
    print("| --- | --- | --- | --- | --- |")
    for opacity in opacities:
        mine = [result for result in results if result.case.opacity == opacity]
        errors = [result.opacity_error for result in mine if result.opacity_error is not None]
        wrong_frames = sum(result.wrong_frames for result in mine if result.iou)
        cells = f"{statistics.mean(errors):.3f} | {max(errors):.3f}" if errors else "- | -"
        print(f"| {opacity:g} | {sum(result.iou > 0 for result in mine)} of {len(mine)} | {cells} | {wrong_frames} |")
    print(flush=True)


def _report_removal(results: Sequence[Result]) -> None:
    """Print a row per case, then mean and minimum gains."""
    print("| case | unchanged | best baseline | true overlay | true mask | detected overlay |")
    print("| --- | --- | --- | --- | --- | --- |")
    for result in results:
        usual = result.baselines[result.best]
        ours = (_format_cell(scores) for scores in _list_ours(result))
        baselines = f"{_format_cell(result.untouched)} | {_format_cell(usual)} {result.best}"
        print(f"| {result.case.name} | {baselines} | {' | '.join(ours)} |")
    print("\n(PSNR in dB / SSIM / flicker in codes)\n")
    changed = sum(scores.changed for result in results for scores in _list_ours(result) if scores)
    print(f"samples outside the masks that our removal changed: {changed}\n")
    print("| overlay | encoding | given | cases | mean PSNR gain | minimum | at the goal |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind, encoding in dict.fromkeys((result.case.mark.kind, result.case.encoding) for result in results):
        mine = [result for result in results if (result.case.mark.kind, result.case.encoding) == (kind, encoding)]
        for name, goal in (("translucent", GOAL_TRANSLUCENT), ("opaque", GOAL_OPAQUE)):
            those = [result for result in mine if (result.case.opacity < 1) == (name == "translucent")]
            for place, given in enumerate(("true overlay", "true mask", "no truth")):
                _report_gains(
                    f"{name} {kind} | {encoding} | {given}",
                    [(result, _list_ours(result)[place]) for result in those],
                    goal,
                )


def _list_ours(result: Result) -> tuple[Scores | None, Scores | None, Scores | None]:
    return result.with_truth, result.with_mask, result.with_detected


def _report_gains(words: str, pairs: Sequence[tuple[Result, Scores | None]], goal: float) -> None:
    gains = [ours.psnr - result.baselines[result.best].psnr for result, ours in pairs if ours is not None]
    if gains:
        reached = f"{sum(gain >= goal for gain in gains)} of {len(pairs)}"
        print(f"| {words} | {len(gains)} | {statistics.mean(gains):+.2f} | {min(gains):+.2f} | {reached} |", flush=True)


def _format_cell(scores: Scores | None) -> str:
    if scores is None:
        return "not detected"
    return f"{scores.psnr:.2f} / {scores.ssim:.3f} / {scores.flicker:.2f}"


if __name__ == "__main__":
    cyclopts.run(main)
