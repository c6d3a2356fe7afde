"""How near restored tapes come to what was recorded on them: ``python benchmarks/restoration.py``.

presets  each preset on tapes in several conditions, beside what is usually done: yadif and bicubic scaling
stages   vhs_standard without each of its stages, and each stage alone
filters  vhs_standard with other filters for its stages
throughput  the flow on one long tape and on ten short ones, beside ffmpeg with its own threads; and a killed run

The tapes are made of real clips, by the model in benchmarks/restoration_truth/degrade.py. The clips lie in shared/
beside the checkout, or where HEADRACE_SHARED says. Presets were tuned on those that are marked with a star.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cyclopts

from benchmarks.machine import describe_machine
from benchmarks.restoration_truth.baselines import true_diagnosis
from benchmarks.restoration_truth.clips import CLIPS, Clip, Sample, make_sample, shared_folder
from benchmarks.restoration_truth.degrade import TAPES
from benchmarks.restoration_truth.scores import Scores
from benchmarks.restoration_truth.throughput import report_throughput
from benchmarks.restoration_truth.ways import Way, gains, measure, other_ways, stage_ways
from tasks.media.segments.source import survey_video
from tasks.restoration.diagnosis import Diagnosis
from tasks.restoration.measuring.measure import diagnose
from tasks.restoration.presets import load_presets

Part = Literal["presets", "stages", "filters", "throughput"]
PRESETS = ("vhs_standard", "vhs_clean", "vhs_heavy", "vhs")
GOAL_DECIBELS, GOAL_VMAF = 1.5, 8.0
BASELINE = Way("yadif, bicubic")


def main(
    part: tuple[Part, ...] = ("presets", "stages", "filters", "throughput"),
    diagnosis: Literal["measured", "true"] = "measured",
    output_dir: Path = Path("build/benchmarks/restoration"),
    fields: int = 100,
    clips: tuple[str, ...] = (),
    seconds: int = 240,
    short_seconds: int = 20,
    repeats: int = 3,
    slots: int = 2,
    quick: bool = False,
) -> None:
    """Measure and print tables; figures as JSON go into the output folder.

    Args:
        part: What to measure; all of it by default
        diagnosis: Whether the chain is built on what is measured on the tape, or on how it was made
        output_dir: Folder for the figures and the tapes
        fields: Frames of each clip that become fields
        clips: Names of the clips; all of them by default
        seconds: Length of the long tape
        short_seconds: Length of each short tape
        repeats: How often each way of the throughput is run, in turn; medians are printed
        slots: Of the flow
        quick: Few fields of one clip, to see that it works
    """
    print(describe_machine(), flush=True)
    chosen = [clip for clip in CLIPS if clip.name in (clips or [clip.name for clip in CLIPS])]
    if quick:
        chosen, fields, seconds, short_seconds, repeats = chosen[:1], 12, 10, 2, 1
    if set(part) != {"throughput"}:
        _report_quality(part, chosen, fields, diagnosis, output_dir)
    if "throughput" in part:
        report_throughput(output_dir / "throughput", seconds, short_seconds, repeats, slots)


def _report_quality(
    part: tuple[Part, ...],
    chosen: list[Clip],
    fields: int,
    diagnosis: Literal["measured", "true"],
    output_dir: Path,
) -> None:
    """Tables of what presets, stages and filters gain."""
    tapes = {name: _samples(chosen, name, fields, output_dir, diagnosis) for name in TAPES}
    found: dict[str, dict[str, list[Scores]]] = {}
    if "presets" in part:
        for name, samples in tapes.items():
            ways = [BASELINE, *(Way(preset, preset) for preset in PRESETS)]
            found[name] = measure(ways, samples, load_presets())
            _report(f"a {name} tape", samples, found[name])
        _report_goal(found)
    for label, ways in (("stages", stage_ways("vhs_standard")), ("filters", other_ways("vhs_standard"))):
        if label in part:
            found[label] = measure([BASELINE, *ways], tapes["fair"], load_presets())
            _report(f"{label}, on a fair tape", tapes["fair"], found[label])
    plain = {
        name: {way: [asdict(one) for one in all_of] for way, all_of in table.items()} for name, table in found.items()
    }
    (output_dir / "scores.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def _samples(
    clips: list[Clip], name: str, fields: int, output_dir: Path, diagnosis: Literal["measured", "true"]
) -> dict[Sample, Diagnosis]:
    """Each clip on the tape ``name``, and what is known of it."""
    samples = [make_sample(clip, TAPES[name], name, fields, shared_folder(), output_dir / "tapes") for clip in clips]
    return {sample: true_diagnosis(sample) if diagnosis == "true" else _measured(sample) for sample in samples}


def _measured(sample: Sample) -> Diagnosis:
    return diagnose(sample.tape_file, survey_video(sample.tape_file))


def _report(title: str, samples: Mapping[Sample, Diagnosis], found: Mapping[str, list[Scores]]) -> None:
    """A row a way: what it has more than the baseline, clip by clip, PSNR in dB and VMAF; the means of all three."""
    first = found[BASELINE.name]
    names = [sample.clip.name + "*" * sample.clip.tuned_on for sample in samples]
    print(f"\n{title}: gain in PSNR (dB) / VMAF over {BASELINE.name}\n")
    print(f"| way | {' | '.join(names)} | PSNR | VMAF | SSIM |")
    print(f"| --- |{' --- |' * (len(names) + 3)}")
    itself = " | ".join(f"{one.psnr:.2f} / {one.vmaf:.1f}" for one in first)
    print(f"| {BASELINE.name} itself | {itself} | {_means(first)} |")
    for way, scores in found.items():
        if way != BASELINE.name:
            more = gains(scores, first)
            print(
                f"| {way} | {' | '.join(f'{one.psnr:+.2f} / {one.vmaf:+.1f}' for one in more)} | {_means(more, '+')} |"
            )
    shifted = [
        f"{way} of {name}"
        for way, all_of in found.items()
        for name, one in zip(names, all_of, strict=True)
        if one.shift
    ]
    print(f"frames out of place: {', '.join(shifted) or 'none'}", flush=True)


def _means(scores: list[Scores], sign: str = "") -> str:
    psnr, vmaf, ssim = (statistics.mean(getattr(one, name) for one in scores) for name in ("psnr", "vmaf", "ssim"))
    return f"{psnr:{sign}.2f} | {vmaf:{sign}.1f} | {ssim:{sign}.4f}"


def _report_goal(found: Mapping[str, Mapping[str, list[Scores]]]) -> None:
    """Whether the default preset gains what it should, over all tapes."""
    more = [one for table in found.values() for one in gains(table["vhs_standard"], table[BASELINE.name])]
    psnr, vmaf = statistics.mean(one.psnr for one in more), statistics.mean(one.vmaf for one in more)
    worse = sum(one.psnr < 0 or one.vmaf < 0 for one in more)
    print(f"\nvhs_standard over {len(more)} tapes, on average: {psnr:+.2f} dB (goal {GOAL_DECIBELS:+}),")
    print(f"{vmaf:+.1f} VMAF (goal {GOAL_VMAF:+})")
    print(f"tapes on which it is worse than the baseline in either: {worse}")


if __name__ == "__main__":
    cyclopts.run(main)
