"""Quality of restored synthetic tapes, compared with their sources: ``python benchmarks/restoration.py``.

presets  each preset on tapes in several conditions, compared with the usual method: yadif and bicubic scaling
stages   vhs_standard without each of its stages, and with a single stage
filters  vhs_standard with other filters for its stages
throughput  the flow on one long tape and on ten short ones, compared with multithreaded ffmpeg; and a killed run

The model in benchmarks/restoration_truth/degrade.py creates the tapes from real clips. The clips are in shared/ next to
the checkout, or in HEADRACE_SHARED. Presets were tuned on those marked with a star.
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
from benchmarks.restoration_truth.baselines import make_true_diagnosis
from benchmarks.restoration_truth.clips import CLIPS, Clip, Sample, find_shared_folder, make_sample
from benchmarks.restoration_truth.degrade import TAPES
from benchmarks.restoration_truth.scores import Scores
from benchmarks.restoration_truth.throughput import report_throughput
from benchmarks.restoration_truth.variants import (
    Variant,
    calculate_gains,
    list_filter_variants,
    list_stage_variants,
    measure,
)
from tasks.media.segments.source import survey_video
from tasks.restoration.diagnosis import Diagnosis
from tasks.restoration.measuring.measure import diagnose
from tasks.restoration.presets import load_presets

Part = Literal["presets", "stages", "filters", "throughput"]
PRESETS = ("vhs_standard", "vhs_clean", "vhs_heavy", "vhs")
GOAL_DECIBELS, GOAL_VMAF = 1.5, 8.0
BASELINE = Variant("yadif, bicubic")


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
    """Measure and print tables; write the measurements as JSON to the output folder.

    Args:
        part: Parts to measure (default: all)
        diagnosis: Build the chain from the measured or from the true diagnosis
        output_dir: Folder for the measurements and the tapes
        fields: Frames of each clip that become fields
        clips: Names of the clips (default: all)
        seconds: Length of the long tape
        short_seconds: Length of each short tape
        repeats: Repetitions of each throughput measurement; medians are printed
        slots: Slots of the flow
        quick: Few fields of one clip, for a test
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
    """Print tables of the gains of presets, stages and filters."""
    tapes = {name: _make_samples(chosen, name, fields, output_dir, diagnosis) for name in TAPES}
    tables: dict[str, dict[str, list[Scores]]] = {}
    if "presets" in part:
        for name, samples in tapes.items():
            variants = [BASELINE, *(Variant(preset, preset) for preset in PRESETS)]
            tables[name] = measure(variants, samples, load_presets())
            _report(f"a {name} tape", samples, tables[name])
        _report_goal(tables)
    for label, variants in (
        ("stages", list_stage_variants("vhs_standard")),
        ("filters", list_filter_variants("vhs_standard")),
    ):
        if label in part:
            tables[label] = measure([BASELINE, *variants], tapes["fair"], load_presets())
            _report(f"{label}, on a fair tape", tapes["fair"], tables[label])
    plain = {
        name: {variant: [asdict(one) for one in all_of] for variant, all_of in table.items()}
        for name, table in tables.items()
    }
    (output_dir / "scores.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def _make_samples(
    clips: list[Clip], name: str, fields: int, output_dir: Path, diagnosis: Literal["measured", "true"]
) -> dict[Sample, Diagnosis]:
    """Return each clip on the tape ``name`` with its diagnosis."""
    samples = [
        make_sample(clip, TAPES[name], name, fields, find_shared_folder(), output_dir / "tapes") for clip in clips
    ]
    return {sample: make_true_diagnosis(sample) if diagnosis == "true" else _measure_tape(sample) for sample in samples}


def _measure_tape(sample: Sample) -> Diagnosis:
    return diagnose(sample.tape_file, survey_video(sample.tape_file))


def _report(title: str, samples: Mapping[Sample, Diagnosis], scores_by_variant: Mapping[str, list[Scores]]) -> None:
    """Print a row per variant: the gain over the baseline per clip (PSNR in dB and VMAF), and the means."""
    first = scores_by_variant[BASELINE.name]
    names = [sample.clip.name + "*" * sample.clip.tuned_on for sample in samples]
    print(f"\n{title}: gain in PSNR (dB) / VMAF over {BASELINE.name}\n")
    print(f"| way | {' | '.join(names)} | PSNR | VMAF | SSIM |")
    print(f"| --- |{' --- |' * (len(names) + 3)}")
    itself = " | ".join(f"{one.psnr:.2f} / {one.vmaf:.1f}" for one in first)
    print(f"| {BASELINE.name} (absolute) | {itself} | {_format_means(first)} |")
    for variant, scores in scores_by_variant.items():
        if variant != BASELINE.name:
            more = calculate_gains(scores, first)
            cells = " | ".join(f"{gain.psnr:+.2f} / {gain.vmaf:+.1f}" for gain in more)
            print(f"| {variant} | {cells} | {_format_means(more, '+')} |")
    shifted = [
        f"{variant} of {name}"
        for variant, all_of in scores_by_variant.items()
        for name, one in zip(names, all_of, strict=True)
        if one.shift
    ]
    print(f"frames out of place: {', '.join(shifted) or 'none'}", flush=True)


def _format_means(scores: list[Scores], sign: str = "") -> str:
    psnr, vmaf, ssim = (statistics.mean(getattr(one, name) for one in scores) for name in ("psnr", "vmaf", "ssim"))
    return f"{psnr:{sign}.2f} | {vmaf:{sign}.1f} | {ssim:{sign}.4f}"


def _report_goal(tables: Mapping[str, Mapping[str, list[Scores]]]) -> None:
    """Print the gain of the default preset over all tapes, and the goal."""
    more = [one for table in tables.values() for one in calculate_gains(table["vhs_standard"], table[BASELINE.name])]
    psnr, vmaf = statistics.mean(one.psnr for one in more), statistics.mean(one.vmaf for one in more)
    worse = sum(one.psnr < 0 or one.vmaf < 0 for one in more)
    print(f"\nvhs_standard over {len(more)} tapes, on average: {psnr:+.2f} dB (goal {GOAL_DECIBELS:+}),")
    print(f"{vmaf:+.1f} VMAF (goal {GOAL_VMAF:+})")
    print(f"tapes on which it is worse than the baseline in either: {worse}")


if __name__ == "__main__":
    cyclopts.run(main)
