"""How FFmpeg's denoisers are told how strong noise is: each has units of its own.

Strengths here are standard deviations in 8-bit codes, of luma and of chroma.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Denoise:
    """One filter, and its options."""

    filter: str
    options: dict[str, str]


_CONTEXT = {"none": 0, "hqdn3d": 24, "atadenoise": 4, "vaguedenoiser": 0, "fftdnoiz": 1, "nlmeans": 0, "temporal": 26}


def denoise_context(name: str) -> int:
    """Frames before and after that have an effect on one; hqdn3d remembers, and forgets within these."""
    return _CONTEXT[name]


def denoise_filters(name: str, luma: float, chroma: float) -> list[Denoise]:
    """The filters of the way ``name``, in their order."""
    return _WAYS[name](luma, chroma)


def _temporal(luma: float, chroma: float) -> list[Denoise]:
    """Frames that agree are averaged first, which takes dropouts too; then little is left for hqdn3d.

    The two together gain more PSNR, SSIM and VMAF than either of them at any strength.
    """
    return [_averaged(5, (3 * luma, 3.6 * chroma), (5 * luma, 6 * chroma)), *_hqdn3d(0.8 * luma, 2.4 * chroma)]


def _hqdn3d(luma: float, chroma: float) -> list[Denoise]:
    names = ("luma_spatial", "chroma_spatial", "luma_tmp", "chroma_tmp")
    values = (luma, chroma, 1.5 * luma, 1.5 * chroma)
    return [Denoise("hqdn3d", {name: f"{value:.2f}" for name, value in zip(names, values, strict=True)})]


def _atadenoise(luma: float, chroma: float) -> list[Denoise]:
    return [_averaged(9, (2 * luma, 2 * chroma), (8 * luma, 8 * chroma))]


def _averaged(frames: int, each: tuple[float, float], together: tuple[float, float]) -> Denoise:
    """atadenoise: how much one frame may differ from this one, and all of them together; luma and chroma."""
    options = {"s": str(frames)}
    for plane in range(3):
        options[f"{plane}a"] = f"{min(each[plane > 0] / 255, 0.3):.4f}"
        options[f"{plane}b"] = f"{min(together[plane > 0] / 255, 5.0):.4f}"
    return Denoise("atadenoise", options)


def _vaguedenoiser(luma: float, chroma: float) -> list[Denoise]:
    both = (("1", luma), ("6", chroma))
    return [Denoise("vaguedenoiser", {"threshold": f"{value:.2f}", "planes": planes}) for planes, value in both]


def _fftdnoiz(luma: float, chroma: float) -> list[Denoise]:
    near = {"block": "16", "prev": "1", "next": "1"}
    both = (("1", luma), ("6", chroma))
    return [
        Denoise("fftdnoiz", {"sigma": f"{min(value, 100):.2f}", "planes": planes, **near}) for planes, value in both
    ]


def _nlmeans(luma: float, chroma: float) -> list[Denoise]:
    """nlmeans has one strength: that of luma."""
    del chroma
    return [Denoise("nlmeans", {"s": f"{min(max(luma, 1.0), 30):.2f}", "p": "5", "r": "9"})]


_WAYS: dict[str, Callable[[float, float], list[Denoise]]] = {
    "temporal": _temporal,
    "hqdn3d": _hqdn3d,
    "atadenoise": _atadenoise,
    "vaguedenoiser": _vaguedenoiser,
    "fftdnoiz": _fftdnoiz,
    "nlmeans": _nlmeans,
}
