"""The variants of restoration to compare: presets, without one stage, with a single stage, with other filters."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import psutil

from benchmarks.restoration_truth.baselines import build_baseline, format_chain
from benchmarks.restoration_truth.clips import Sample
from benchmarks.restoration_truth.scores import Scores, measure_scores
from tasks.restoration.building import build_chain
from tasks.restoration.diagnosis import Diagnosis
from tasks.restoration.presets import Presets, override_preset

# Per stage, the changes to a preset that omit it.
STAGES: Mapping[str, Mapping[str, Any]] = {
    "levels": {"levels": False},
    "head switching": {"head_switching": "keep"},
    "colour shift": {"chroma_shift": False},
    "denoise": {"denoise": "none"},
    "sharpen": {"sharpen": 0.0},
}
OTHERS: Mapping[str, Mapping[str, Any]] = {
    "estdif": {"deinterlace": "estdif"},
    "bicubic": {"scaler": "bicubic"},
    "spline": {"scaler": "spline"},
    "dedot": {"dedot": True},
    "black lines": {"head_switching": "black"},
    "hqdn3d": {"denoise": "hqdn3d", "denoise_luma": 1.3, "denoise_chroma": 2.4},
    "atadenoise": {"denoise": "atadenoise"},
    "vaguedenoiser": {"denoise": "vaguedenoiser"},
    "fftdnoiz": {"denoise": "fftdnoiz"},
    "nlmeans": {"denoise": "nlmeans"},
}


# The measurements of this run, which the parts of the benchmark share.
_measured: dict[tuple[Sample, str], Scores] = {}


@dataclass(frozen=True)
class Variant:
    """A variant of restoration: a preset with changes. Without a preset it is the baseline."""

    name: str
    preset: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


def list_stage_variants(preset: str) -> list[Variant]:
    """Return variants of ``preset``: complete, without each stage, with no stage, and with a single stage."""
    bare: dict[str, Any] = {key: value for changes in STAGES.values() for key, value in changes.items()}
    without = [Variant(f"without {name}", preset, changes) for name, changes in STAGES.items()]
    alone = [Variant(f"{name} alone", preset, _omit(bare, changes)) for name, changes in STAGES.items()]
    return [Variant("whole", preset), *without, Variant("bwdif and scale", preset, bare), *alone]


def list_filter_variants(preset: str) -> list[Variant]:
    """Return variants of ``preset`` with another filter for one stage."""
    return [Variant("whole", preset), *(Variant(name, preset, changes) for name, changes in OTHERS.items())]


def measure(variants: list[Variant], samples: Mapping[Sample, Diagnosis], presets: Presets) -> dict[str, list[Scores]]:
    """Return the scores of each variant in the order of ``samples``, measured on all cores.

    Variants with the same filters for a sample are measured once.
    """
    jobs = [
        (sample, build_graph(variant, sample, diagnosis, presets))
        for variant in variants
        for sample, diagnosis in samples.items()
    ]
    new = [job for job in dict.fromkeys(jobs) if job not in _measured]
    with ThreadPoolExecutor(psutil.cpu_count() or 1) as pool:
        _measured.update(zip(new, pool.map(lambda job: measure_scores(*job), new), strict=True))
    return {
        variant.name: [_measured[job] for job in jobs[number * len(samples) :][: len(samples)]]
        for number, variant in enumerate(variants)
    }


def build_graph(variant: Variant, sample: Sample, diagnosis: Diagnosis, presets: Presets) -> str:
    """Return the filters of ``variant`` for ``sample``."""
    if variant.preset is None:
        return build_baseline(sample)
    preset = override_preset(presets.choose(variant.preset, diagnosis).preset, variant.changes)
    return format_chain(build_chain(diagnosis, preset, sample.clip.height))


def _omit(bare: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in bare.items() if key not in changes}


def calculate_gains(scores: list[Scores], baseline: list[Scores]) -> list[Scores]:
    """Return the differences between ``scores`` and ``baseline``, pairwise."""
    return [
        replace(
            score,
            psnr=score.psnr - other.psnr,
            psnr_luma=score.psnr_luma - other.psnr_luma,
            ssim=score.ssim - other.ssim,
            vmaf=score.vmaf - other.vmaf,
        )
        for score, other in zip(scores, baseline, strict=True)
    ]
