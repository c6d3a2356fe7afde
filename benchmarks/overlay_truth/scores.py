"""How near a cleaned clip is to the clean one under the overlays, and how well overlays were found.

PSNR   over the samples that the true overlays touch, in all frames together; of YUV, the mean squared error is 6/8 that
       of luma and 1/8 that of each chroma component (of RGB, a third each). 100 dB stands for no error. Luma and chroma
       are there by themselves, too (of RGB, green, and red with blue)
SSIM   of luma, over the bounding box of each frame's mask (Wang et al. 2004: Gaussian window, sigma 1.5)
flicker  of luma inside the mask: the mean change of the error from one frame to the next, in codes of 8 bits
IoU    of masks at luma's resolution, over all frames together
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.overlay_truth.crops import Crops, View
from tasks.media.segments.planes import Plane
from tasks.overlays.overlay import Mask

_MOST_DECIBELS = 100.0
_WINDOW, _SIGMA = (11, 11), 1.5


@dataclass(frozen=True)
class Scores:
    """Of one cleaned clip. ``changed`` counts samples in view, outside the mask that was cleaned, that changed."""

    psnr: float
    psnr_luma: float
    psnr_chroma: float | None  # None of gray pictures
    ssim: float
    flicker: float
    changed: int


def score(cleaned: Crops, source: Crops, clean: Crops, view: View, touched: tuple[Mask, ...] | None = None) -> Scores:
    """Compare ``cleaned`` with ``clean``. Only ``touched``, the true masks by default, may differ from ``source``."""
    shape, masks = view.marked.shape, view.masks
    errors = [_squared(one, two, mask) for one, two, mask in zip(cleaned, clean, masks, strict=True)]
    weights = [6.0, 1.0, 1.0][: len(errors)] if not shape.is_rgb else [1.0] * len(errors)
    mean = float(np.average(errors, weights=weights))
    unit, peak = 2.0 ** (shape.bits - 8), 2**shape.bits - 1
    return Scores(
        psnr=decibels(mean, peak),
        psnr_luma=decibels(errors[0], peak),
        psnr_chroma=decibels(float(np.mean(errors[1:])), peak) if errors[1:] else None,
        ssim=_ssim(cleaned[0], clean[0], masks[0], peak),
        flicker=_flicker(cleaned[0], clean[0], masks[0]) / unit,
        changed=_changed(cleaned, source, touched or masks),
    )


def decibels(mean_squared_error: float, peak: float) -> float:
    """The PSNR of that error, 100 dB at most."""
    if mean_squared_error <= 0:
        return _MOST_DECIBELS
    return min(_MOST_DECIBELS, 10 * math.log10(peak**2 / mean_squared_error))


def overlap(found: Mask, true: Mask) -> float:
    """Intersection over union, 0 to 1; 1 where there is neither."""
    union = int(np.count_nonzero(found | true))
    return int(np.count_nonzero(found & true)) / union if union else 1.0


def _squared(one: Plane, two: Plane, mask: Mask) -> float:
    apart = one[mask].astype(np.float64) - two[mask]
    return float(np.mean(apart**2)) if len(apart) else 0.0


def _changed(cleaned: Crops, source: Crops, masks: tuple[Mask, ...]) -> int:
    triples = zip(cleaned, source, masks, strict=True)
    return sum(int(np.count_nonzero((one != two) & ~mask)) for one, two, mask in triples)


def _flicker(cleaned: Plane, clean: Plane, mask: Mask) -> float:
    error = cleaned.astype(np.float32) - clean
    both = mask[1:] & mask[:-1]
    return float(np.abs(np.diff(error, axis=0))[both].mean()) if both.any() else 0.0


def _ssim(cleaned: Plane, clean: Plane, masks: Mask, peak: float) -> float:
    shown = np.flatnonzero(masks.any(axis=(1, 2)))
    return float(np.mean([_ssim_of(cleaned[index], clean[index], masks[index], peak) for index in shown]))


def _ssim_of(cleaned: Plane, clean: Plane, mask: Mask, peak: float) -> float:
    one, two = cleaned.astype(np.float32), clean.astype(np.float32)
    mean_one, mean_two = _local(one), _local(two)
    low, high = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    spread = _local(one * one) + _local(two * two) - mean_one**2 - mean_two**2
    joint = _local(one * two) - mean_one * mean_two
    top = (2 * mean_one * mean_two + low) * (2 * joint + high)
    alike = top / ((mean_one**2 + mean_two**2 + low) * (spread + high))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(alike[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean())


def _local(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Means around each sample. In 64 bits, for they are subtracted."""
    return np.asarray(cv2.GaussianBlur(values.astype(np.float64), _WINDOW, _SIGMA))
