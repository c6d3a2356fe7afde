"""How near a restored clip is to the clean one: PSNR, SSIM and VMAF, by FFmpeg's own filters.

Both run at field rate: the restored frame ``n`` is compared with the clean frame ``n``. That this is the right one is
checked by comparing it with the clean frames before and after, too.
VMAF rewards sharpening and looks at luma only, so it never stands alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmarks.restoration_truth.clips import FIELD_RATE, Sample, run_ffmpeg

_SHIFTS = {"before": -1, "at": 0, "after": 1}
_ALIKE_DECIBELS = 0.1  # frames of a still picture are all alike but for their noise


@dataclass(frozen=True)
class Scores:
    """Of a whole clip. ``psnr`` in dB over all planes, ``psnr_luma`` of luma; ``vmaf`` from 0 to 100 (v0.6.1).

    ``shift`` is the clean frame, counted from its own, that the restored frames are most like: 0 where all is well.
    """

    psnr: float
    psnr_luma: float
    ssim: float
    vmaf: float
    shift: int


def score(sample: Sample, graph: str, with_vmaf: bool = True) -> Scores:
    """Restore ``sample`` with the filters of ``graph``, and compare. Raises RuntimeError where ffmpeg fails."""
    said = run_ffmpeg([*_inputs(sample), "-filter_complex_threads", "1", *_graph(sample, graph, with_vmaf)])[1]
    found = {name: (float(luma), float(whole)) for name, luma, whole in _PSNR.findall(said)}
    nearest = max(_SHIFTS, key=lambda name: found[name][0] + _ALIKE_DECIBELS * (name == "at"))
    return Scores(
        psnr=found["at"][1],
        psnr_luma=found["at"][0],
        ssim=float(_SSIM.findall(said)[0]),
        vmaf=float(_VMAF.findall(said)[0]) if with_vmaf else float("nan"),
        shift=_SHIFTS[nearest],
    )


_PSNR = re.compile(r"\[psnr@(\w+) @ \w+\] PSNR y:(\S+) .*average:(\S+)")
_SSIM = re.compile(r"\[ssim@\w+ @ \w+\] SSIM .*All:(\S+)")
_VMAF = re.compile(r"VMAF score: (\S+)")


def _inputs(sample: Sample) -> list[str]:
    return ["-i", str(sample.tape_file), "-i", str(sample.clean_file)]


def _graph(sample: Sample, graph: str, with_vmaf: bool) -> list[str]:
    """The filters, each metric with a copy of both clips."""
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
