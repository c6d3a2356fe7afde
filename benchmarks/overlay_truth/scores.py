"""Scores of cleaned clips under the overlays, and of detected overlays.

PSNR     over the samples under the true overlays, in all frames together; of YUV, the mean squared error is 6/8 that
         of luma and 1/8 that of each chroma component (of RGB, a third each). 100 dB means no error. Luma and chroma
         are also separate (of RGB, green, and red with blue)
SSIM     of luma, over the bounding box of each frame's mask (Wang et al. 2004: Gaussian window, sigma 1.5)
flicker  of luma inside the mask: the mean change of the error between frames, in codes of 8 bits
IoU      of masks at luma's resolution, over all frames together
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

_MAX_DECIBELS = 100.0
_WINDOW, _SIGMA = (11, 11), 1.5


@dataclass(frozen=True)
class Scores:
    """Scores of one cleaned clip. ``changed`` counts samples in view, outside the cleaned mask, that changed."""

    psnr: float
    psnr_luma: float
    psnr_chroma: float | None  # None for gray clips
    ssim: float
    flicker: float
    changed: int


def score(cleaned: Crops, source: Crops, clean: Crops, view: View, touched: tuple[Mask, ...] | None = None) -> Scores:
    """Compare ``cleaned`` with ``clean``. Only ``touched``, the true masks by default, may differ from ``source``."""
    shape, masks = view.marked.shape, view.masks
    errors = [
        _measure_error(samples, true_samples, mask)
        for samples, true_samples, mask in zip(cleaned, clean, masks, strict=True)
    ]
    weights = [6.0, 1.0, 1.0][: len(errors)] if not shape.is_rgb else [1.0] * len(errors)
    mean = float(np.average(errors, weights=weights))
    unit, peak = 2.0 ** (shape.bits - 8), 2**shape.bits - 1
    return Scores(
        psnr=convert_to_decibels(mean, peak),
        psnr_luma=convert_to_decibels(errors[0], peak),
        psnr_chroma=convert_to_decibels(float(np.mean(errors[1:])), peak) if errors[1:] else None,
        ssim=_compute_ssim(cleaned[0], clean[0], masks[0], peak),
        flicker=_measure_flicker(cleaned[0], clean[0], masks[0]) / unit,
        changed=_count_changed(cleaned, source, touched or masks),
    )


def convert_to_decibels(mean_squared_error: float, peak: float) -> float:
    """Return the PSNR of that error, at most 100 dB."""
    if mean_squared_error <= 0:
        return _MAX_DECIBELS
    return min(_MAX_DECIBELS, 10 * math.log10(peak**2 / mean_squared_error))


def compute_iou(detected: Mask, true: Mask) -> float:
    """Return the intersection over union, 0 to 1; 1 if both masks are empty."""
    union = int(np.count_nonzero(detected | true))
    return int(np.count_nonzero(detected & true)) / union if union else 1.0


def _measure_error(samples: Plane, true_samples: Plane, mask: Mask) -> float:
    difference = samples[mask].astype(np.float64) - true_samples[mask]
    return float(np.mean(difference**2)) if len(difference) else 0.0


def _count_changed(cleaned: Crops, source: Crops, masks: tuple[Mask, ...]) -> int:
    triples = zip(cleaned, source, masks, strict=True)
    return sum(int(np.count_nonzero((after != before) & ~mask)) for after, before, mask in triples)


def _measure_flicker(cleaned: Plane, clean: Plane, mask: Mask) -> float:
    error = cleaned.astype(np.float32) - clean
    both = mask[1:] & mask[:-1]
    return float(np.abs(np.diff(error, axis=0))[both].mean()) if both.any() else 0.0


def _compute_ssim(cleaned: Plane, clean: Plane, masks: Mask, peak: float) -> float:
    shown = np.flatnonzero(masks.any(axis=(1, 2)))
    return float(np.mean([_compute_frame_ssim(cleaned[index], clean[index], masks[index], peak) for index in shown]))


def _compute_frame_ssim(cleaned: Plane, clean: Plane, mask: Mask, peak: float) -> float:
    first, second = cleaned.astype(np.float32), clean.astype(np.float32)
    mean_one, mean_two = _average(first), _average(second)
    low, high = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    spread = _average(first * first) + _average(second * second) - mean_one**2 - mean_two**2
    joint = _average(first * second) - mean_one * mean_two
    top = (2 * mean_one * mean_two + low) * (2 * joint + high)
    alike = top / ((mean_one**2 + mean_two**2 + low) * (spread + high))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(alike[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean())


def _average(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the local means, in 64 bits because they are subtracted."""
    return np.asarray(cv2.GaussianBlur(values.astype(np.float64), _WINDOW, _SIGMA))
