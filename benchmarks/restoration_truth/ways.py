"""The ways of restoring a tape that are compared: presets, one stage left out, one stage alone, other filters."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import psutil

from benchmarks.restoration_truth.baselines import baseline, filter_graph
from benchmarks.restoration_truth.clips import Sample
from benchmarks.restoration_truth.scores import Scores, score
from tasks.restoration.building import build_chain
from tasks.restoration.diagnosis import Diagnosis
from tasks.restoration.presets import Presets, override_preset

# What each stage is, as the change of a preset that leaves it out.
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


# What was measured in this run: stages and filters begin with what presets have measured.
_measured: dict[tuple[Sample, str], Scores] = {}


@dataclass(frozen=True)
class Way:
    """A way of restoring: a preset, changed. Without a preset it is the baseline."""

    name: str
    preset: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


def stage_ways(preset: str) -> list[Way]:
    """``preset`` whole, without each stage, with nothing but deinterlacing and scaling, and with one stage alone."""
    bare: dict[str, Any] = {key: value for changes in STAGES.values() for key, value in changes.items()}
    without = [Way(f"without {name}", preset, changes) for name, changes in STAGES.items()]
    alone = [Way(f"{name} alone", preset, _less(bare, changes)) for name, changes in STAGES.items()]
    return [Way("whole", preset), *without, Way("bwdif and scale", preset, bare), *alone]


def other_ways(preset: str) -> list[Way]:
    """``preset`` with another filter for one of its stages."""
    return [Way("whole", preset), *(Way(name, preset, changes) for name, changes in OTHERS.items())]


def measure(ways: list[Way], samples: Mapping[Sample, Diagnosis], presets: Presets) -> dict[str, list[Scores]]:
    """The scores of each way, a sample each, in the order of ``samples``; on all cores, a clip each.

    Ways that come to the same filters for a sample are measured once.
    """
    jobs = [
        (sample, graph_of(way, sample, diagnosis, presets)) for way in ways for sample, diagnosis in samples.items()
    ]
    new = [job for job in dict.fromkeys(jobs) if job not in _measured]
    with ThreadPoolExecutor(psutil.cpu_count() or 1) as pool:
        _measured.update(zip(new, pool.map(lambda job: score(*job), new), strict=True))
    return {
        way.name: [_measured[job] for job in jobs[number * len(samples) :][: len(samples)]]
        for number, way in enumerate(ways)
    }


def graph_of(way: Way, sample: Sample, diagnosis: Diagnosis, presets: Presets) -> str:
    """The filters of ``way`` for ``sample``."""
    if way.preset is None:
        return baseline(sample)
    preset = override_preset(presets.choose(way.preset, diagnosis).preset, way.changes)
    return filter_graph(build_chain(diagnosis, preset, sample.clip.height))


def _less(bare: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in bare.items() if key not in changes}


def gains(scores: list[Scores], beside: list[Scores]) -> list[Scores]:
    """What each of ``scores`` has more than the one beside it."""
    return [
        replace(
            one,
            psnr=one.psnr - other.psnr,
            psnr_luma=one.psnr_luma - other.psnr_luma,
            ssim=one.ssim - other.ssim,
            vmaf=one.vmaf - other.vmaf,
        )
        for one, other in zip(scores, beside, strict=True)
    ]
