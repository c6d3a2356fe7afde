"""Similarity of a restored clip to the clean one: PSNR, SSIM and VMAF, measured by FFmpeg's filters.

Both run at field rate: restored frame ``n`` is compared with clean frame ``n``. Comparisons with the previous and the
next clean frame check that this is the right one.
VMAF rewards sharpening and uses luma only, so it is not sufficient alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmarks.restoration_truth.clips import FIELD_RATE, Sample, run_ffmpeg

_SHIFTS = {"before": -1, "at": 0, "after": 1}
_ALIKE_DECIBELS = 0.1  # frames of a still image differ only in noise


@dataclass(frozen=True)
class Scores:
    """The scores of a clip: ``psnr`` in dB over all planes, ``psnr_luma`` of luma, ``vmaf`` from 0 to 100 (v0.6.1).

    ``shift`` is the offset of the clean frame that the restored frames resemble most; 0 is correct.
    """

    psnr: float
    psnr_luma: float
    ssim: float
    vmaf: float
    shift: int


def measure_scores(sample: Sample, graph: str, with_vmaf: bool = True) -> Scores:
    """Restore ``sample`` with the filters of ``graph``, and compare. Raises RuntimeError if ffmpeg fails."""
    messages = run_ffmpeg(
        [*_list_inputs(sample), "-filter_complex_threads", "1", *_build_graph(sample, graph, with_vmaf)]
    )[1]
    psnrs = {name: (float(luma), float(whole)) for name, luma, whole in _PSNR.findall(messages)}
    nearest = max(_SHIFTS, key=lambda name: psnrs[name][0] + _ALIKE_DECIBELS * (name == "at"))
    return Scores(
        psnr=psnrs["at"][1],
        psnr_luma=psnrs["at"][0],
        ssim=float(_SSIM.findall(messages)[0]),
        vmaf=float(_VMAF.findall(messages)[0]) if with_vmaf else float("nan"),
        shift=_SHIFTS[nearest],
    )


_PSNR = re.compile(r"\[psnr@(\w+) @ \w+\] PSNR y:(\S+) .*average:(\S+)")
_SSIM = re.compile(r"\[ssim@\w+ @ \w+\] SSIM .*All:(\S+)")
_VMAF = re.compile(r"VMAF score: (\S+)")


def _list_inputs(sample: Sample) -> list[str]:
    return ["-i", str(sample.tape_file), "-i", str(sample.clean_file)]


def _build_graph(sample: Sample, graph: str, with_vmaf: bool) -> list[str]:
    """Return the filters; each metric gets a copy of both clips."""
    rate = f"settb=1/90000,setpts=N/({FIELD_RATE[sample.clip.standard]})/TB"
    count = 5 if with_vmaf else 4
    first = "".join(f"[r{number}]" for number in range(count))
    second = "".join(f"[c{number}]" for number in range(count))
    parts = [
        f"[0:v]{graph},format=yuv420p,{rate},split={count}{first}",
        f"[1:v]{rate},split={count}{second}",
        "[r0][c0]psnr@at=shortest=1[o0]",
        "[r1][c1]ssim@at=shortest=1[o1]",
        f"[r2]trim=start_frame=1,{rate}[later];[later][c2]psnr@before=shortest=1[o2]",
        f"[c3]trim=start_frame=1,{rate}[next];[r3][next]psnr@after=shortest=1[o3]",
        "[r4][c4]libvmaf=shortest=1:n_threads=1[o4]",
    ]
    outputs = [word for number in range(count) for word in ("-map", f"[o{number}]")]
    return ["-filter_complex", ";".join(parts[: 2 + count]), *outputs, "-f", "null", "-"]
