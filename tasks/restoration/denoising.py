"""FFmpeg's denoisers and their options, computed from the strength of the noise.

Strengths here are standard deviations in 8-bit codes, for luma and for chroma. Each denoiser has different units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Denoise:
    """A filter and its options."""

    filter: str
    options: dict[str, str]


_CONTEXT = {"none": 0, "hqdn3d": 24, "atadenoise": 4, "vaguedenoiser": 0, "fftdnoiz": 1, "nlmeans": 0, "temporal": 26}


def count_context_frames(name: str) -> int:
    """Return the number of frames before and after a frame that influence it; hqdn3d decays within that many."""
    return _CONTEXT[name]


def choose_denoisers(name: str, luma: float, chroma: float) -> list[Denoise]:
    """Return the filters of the denoiser ``name``, in order."""
    return _DENOISERS[name](luma, chroma)


def _use_temporal(luma: float, chroma: float) -> list[Denoise]:
    """Return atadenoise, which also removes dropouts, and a light hqdn3d after it.

    Together they gain more PSNR, SSIM and VMAF than either of them at any strength.
    """
    return [
        _average_frames(5, (3 * luma, 3.6 * chroma), (5 * luma, 6 * chroma)),
        *_use_hqdn3d(0.8 * luma, 2.4 * chroma),
    ]


def _use_hqdn3d(luma: float, chroma: float) -> list[Denoise]:
    names = ("luma_spatial", "chroma_spatial", "luma_tmp", "chroma_tmp")
    values = (luma, chroma, 1.5 * luma, 1.5 * chroma)
    return [Denoise("hqdn3d", {name: f"{value:.2f}" for name, value in zip(names, values, strict=True)})]


def _use_atadenoise(luma: float, chroma: float) -> list[Denoise]:
    return [_average_frames(9, (2 * luma, 2 * chroma), (8 * luma, 8 * chroma))]


def _average_frames(frames: int, single: tuple[float, float], summed: tuple[float, float]) -> Denoise:
    """Return atadenoise with its thresholds for a single frame and for their sum, each for luma and chroma."""
    options = {"s": str(frames)}
    for plane in range(3):
        options[f"{plane}a"] = f"{min(single[plane > 0] / 255, 0.3):.4f}"
        options[f"{plane}b"] = f"{min(summed[plane > 0] / 255, 5.0):.4f}"
    return Denoise("atadenoise", options)


def _use_vaguedenoiser(luma: float, chroma: float) -> list[Denoise]:
    both = (("1", luma), ("6", chroma))
    return [Denoise("vaguedenoiser", {"threshold": f"{value:.2f}", "planes": planes}) for planes, value in both]


def _use_fftdnoiz(luma: float, chroma: float) -> list[Denoise]:
    near = {"block": "16", "prev": "1", "next": "1"}
    both = (("1", luma), ("6", chroma))
    return [
        Denoise("fftdnoiz", {"sigma": f"{min(value, 100):.2f}", "planes": planes, **near}) for planes, value in both
    ]


def _use_nlmeans(luma: float, chroma: float) -> list[Denoise]:
    """Return nlmeans, which has one strength for all planes: that of luma."""
    del chroma
    return [Denoise("nlmeans", {"s": f"{min(max(luma, 1.0), 30):.2f}", "p": "5", "r": "9"})]


_DENOISERS: dict[str, Callable[[float, float], list[Denoise]]] = {
    "temporal": _use_temporal,
    "hqdn3d": _use_hqdn3d,
    "atadenoise": _use_atadenoise,
    "vaguedenoiser": _use_vaguedenoiser,
    "fftdnoiz": _use_fftdnoiz,
    "nlmeans": _use_nlmeans,
}
