"""How well overlays are found and removed: ``python benchmarks/overlays.py``.

detection  on clips with and without overlays: intersection over union, false positives
removal    beside ffmpeg's delogo and removelogo and per-frame Telea, all with the true masks
scaling    one video on more slots

The overlays are put on real clips by benchmarks/overlay_truth/marks.py. The clips lie in shared/ beside the checkout,
or where HEADRACE_SHARED says. Those of one scene with a camera that stands are marked: detection should abstain there.
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
from benchmarks.overlay_truth.cases import Case, Encoding, Result, cases, measure
from benchmarks.overlay_truth.clips import CLIPS, Clip, shared_folder
from benchmarks.overlay_truth.drawing import KINDS, Kind
from benchmarks.overlay_truth.marks import OPACITIES, cut_clip
from benchmarks.overlay_truth.ours import detected
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
        part: What to measure; all of it by default
        clips: Names of the clips; all of them by default
        kinds: What is put on them
        opacities: How strongly, above 0 to 1
        encodings: How the clips are encoded when that was done
        frames: So many frames of each clip at most
        removal_frames: Overlays are removed from so many in the middle of these at most, and found in all
        video_seconds: How long the video is that is cleaned on one slot and on two
        repeats: How often that is done
        output_dir: Folder for the figures and the clips
        quick: Few frames of one clip, to see that it works
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
        wanted = cases(chosen, kinds, opacities, encodings)
        found = _measured(wanted, frames, removal_frames, output_dir, "removal" in part)
        _report_detection(found)
        if "removal" in part:
            _report_removal(found)
    if "scaling" in part:
        report_scaling(output_dir, video_seconds, repeats, quick=quick)


def _measured(
    wanted: Iterator[Case], frames: int | None, removal_frames: int | None, output_dir: Path, with_removal: bool
) -> list[Result]:
    """Every case, a line each as it is done; the figures so far are always in the folder."""
    found: list[Result] = []
    for case in wanted:
        found.append(measure(case, frames, output_dir / "clips", with_removal, removal_frames))
        print(f"{case.name}: IoU {found[-1].iou:.2f}, {found[-1].reason}", file=sys.stderr, flush=True)
        plain = json.dumps([asdict(one) for one in found], indent=1)
        (output_dir / "scores.json").write_text(plain + "\n", encoding="utf-8")
    return found


def _report_clean(clips: Sequence[Clip], frames: int | None, output_dir: Path) -> None:
    """What is found on clips over which nothing lies."""
    print("\nclean clips\n\n| clip | found | confidence | reason |\n| --- | --- | --- | --- |")
    for clip in clips:
        path = cut_clip(clip, frames, output_dir, shared_folder())
        found = detected(path)
        path.unlink()
        print(f"| {clip.name} | {len(found.overlays)} | {found.confidence:.2f} | {found.reason} |", flush=True)


def _report_detection(found: Sequence[Result]) -> None:
    """A row a clip and kind: the IoU at each opacity, of lossless and lossy clips; then opacities and times."""
    opacities = sorted({one.case.opacity for one in found})
    print(f"\nIoU of what is found, goal {GOAL_IOU}; opacities {', '.join(map(str, opacities))}\n")
    encodings = list(dict.fromkeys(one.case.encoding for one in found))
    print(f"| clip | overlay | {' | '.join(encodings)} |\n| --- | --- |{' --- |' * len(encodings)}")
    for clip, kind in dict.fromkeys((one.case.clip, one.case.mark.kind) for one in found):
        mine = [one for one in found if (one.case.clip, one.case.mark.kind) == (clip, kind)]
        cells = (" ".join(f"{one.iou:.2f}" for one in mine if one.case.encoding == name) for name in encodings)
        print(f"| {clip.name}{'' if clip.diverse else ' (stands)'} | {kind} | {' | '.join(cells)} |")
    _report_opacities(found, opacities)


def _report_opacities(found: Sequence[Result], opacities: Sequence[float]) -> None:
    """How far opacities are from the true ones, where both overlays lie, and frames that are taken for others."""
    print("\n| opacity | found | mean error of the opacity | largest | wrong frames in what is found |")
    print("| --- | --- | --- | --- | --- |")
    for opacity in opacities:
        mine = [one for one in found if one.case.opacity == opacity]
        errors = [one.opacity_error for one in mine if one.opacity_error is not None]
        wrong = sum(one.wrong_frames for one in mine if one.iou)
        cells = f"{statistics.mean(errors):.3f} | {max(errors):.3f}" if errors else "- | -"
        print(f"| {opacity:g} | {sum(one.iou > 0 for one in mine)} of {len(mine)} | {cells} | {wrong} |")
    print(flush=True)


def _report_removal(found: Sequence[Result]) -> None:
    """A row a case, then what was gained on average and at least."""
    print("| case | as it is | best of the usual | told everything | told the mask | what is found |")
    print("| --- | --- | --- | --- | --- | --- |")
    for one in found:
        usual = one.baselines[one.best]
        ours = (_cell(scores) for scores in _ours(one))
        print(f"| {one.case.name} | {_cell(one.untouched)} | {_cell(usual)} {one.best} | {' | '.join(ours)} |")
    print("\n(PSNR in dB / SSIM / flicker in codes)\n")
    changed = sum(scores.changed for one in found for scores in _ours(one) if scores)
    print(f"samples outside the masks that our removal changed: {changed}\n")
    print("| overlay | encoding | told | cases | gain in PSNR, mean | least | at the goal |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind, encoding in dict.fromkeys((one.case.mark.kind, one.case.encoding) for one in found):
        mine = [one for one in found if (one.case.mark.kind, one.case.encoding) == (kind, encoding)]
        for name, goal in (("translucent", GOAL_TRANSLUCENT), ("opaque", GOAL_OPAQUE)):
            those = [one for one in mine if (one.case.opacity < 1) == (name == "translucent")]
            for place, told in enumerate(("everything", "the mask", "nothing")):
                _report_gains(f"{name} {kind} | {encoding} | {told}", [(one, _ours(one)[place]) for one in those], goal)


def _ours(one: Result) -> tuple[Scores | None, Scores | None, Scores | None]:
    return one.with_truth, one.with_mask, one.with_found


def _report_gains(words: str, pairs: Sequence[tuple[Result, Scores | None]], goal: float) -> None:
    gains = [ours.psnr - one.baselines[one.best].psnr for one, ours in pairs if ours is not None]
    if gains:
        reached = f"{sum(gain >= goal for gain in gains)} of {len(pairs)}"
        print(f"| {words} | {len(gains)} | {statistics.mean(gains):+.2f} | {min(gains):+.2f} | {reached} |", flush=True)


def _cell(scores: Scores | None) -> str:
    if scores is None:
        return "nothing found"
    return f"{scores.psnr:.2f} / {scores.ssim:.3f} / {scores.flicker:.2f}"


if __name__ == "__main__":
    cyclopts.run(main)
