"""How FFmpeg's denoisers are told how strong noise is: each has units of its own.

Strengths here are standard deviations in 8-bit codes, of luma and of chroma.
"""

from __future__ import annotations

from collections.abc import Callable

Options = dict[str, str]

_CONTEXT = {"none": 0, "hqdn3d": 24, "atadenoise": 4, "vaguedenoiser": 0, "fftdnoiz": 1, "nlmeans": 0}


def denoise_context(name: str) -> int:
    """Frames before and after that have an effect on one; hqdn3d remembers, and forgets within these."""
    return _CONTEXT[name]


def denoise_options(name: str, luma: float, chroma: float) -> list[Options]:
    """The options of the denoiser ``name``, one set for each time that it is used."""
    return _WAYS[name](luma, chroma)


def _hqdn3d(luma: float, chroma: float) -> list[Options]:
    names = ("luma_spatial", "chroma_spatial", "luma_tmp", "chroma_tmp")
    values = (luma, chroma, 1.5 * luma, 1.5 * chroma)
    return [{name: f"{value:.2f}" for name, value in zip(names, values, strict=True)}]


def _atadenoise(luma: float, chroma: float) -> list[Options]:
    options = {"s": "9"}
    for plane, strength in enumerate((luma, chroma, chroma)):
        options |= {
            f"{plane}a": f"{min(2 * strength / 255, 0.3):.4f}",
            f"{plane}b": f"{min(8 * strength / 255, 5):.4f}",
        }
    return [options]


def _vaguedenoiser(luma: float, chroma: float) -> list[Options]:
    return [{"threshold": f"{luma:.2f}", "planes": "1"}, {"threshold": f"{chroma:.2f}", "planes": "6"}]


def _fftdnoiz(luma: float, chroma: float) -> list[Options]:
    both = {"block": "16", "prev": "1", "next": "1"}
    return [
        {"sigma": f"{min(luma, 100):.2f}", "planes": "1", **both},
        {"sigma": f"{min(chroma, 100):.2f}", "planes": "6", **both},
    ]


def _nlmeans(luma: float, chroma: float) -> list[Options]:
    del chroma
    return [{"s": f"{min(max(luma, 1.0), 30):.2f}", "p": "5", "r": "9"}]


_WAYS: dict[str, Callable[[float, float], list[Options]]] = {
    "hqdn3d": _hqdn3d,
    "atadenoise": _atadenoise,
    "vaguedenoiser": _vaguedenoiser,
    "fftdnoiz": _fftdnoiz,
    "nlmeans": _nlmeans,
}
