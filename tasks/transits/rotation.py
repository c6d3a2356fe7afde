"""How fast a star turns, as its spots show."""

from __future__ import annotations

import numpy as np

from tasks.transits.light_curve import Floats, Indices

MIN_PERIOD_DAYS = 0.1
# A period explains at least this share of the variance of the binned flux. Spots of active stars explain 0.4 to 0.9;
# what pipelines leave of a spacecraft's drifts seldom explains a fifth, and then at no single period.
MIN_POWER = 0.25
_MIN_BINS = 100
_BIN_DAYS = 1 / 48
_MAX_BINS = 16_384
_OVERSAMPLING = 8
_CLIP_SIGMA = 3.0


def rotation_period(time: Floats, flux: Floats, segment: Indices) -> float | None:
    """Days of the strongest sine in the undetrended flux; None where none explains a quarter of its variance.

    ``time`` (n,) in days, ascending; ``flux`` (n,) about 1; ``segment`` (n,). From 0.1 days to half the baseline, and
    no more than the longest segment: each is normalised by itself, so that nothing slower is left.
    """
    values, weights, step = _bins(time, flux)
    if np.count_nonzero(weights) < _MIN_BINS:
        return None
    longest = min(float(time[-1] - time[0]) / 2, _longest_segment(time, segment))
    power, resolution = _lomb_scargle(values, weights, step)
    first = max(int(np.ceil(1 / (longest * resolution))), 1)
    last = min(int(1 / (max(MIN_PERIOD_DAYS, 3 * step) * resolution)), len(power) - 2)
    if last <= first:
        return None
    best = first + int(np.argmax(power[first : last + 1]))
    # A slow drift rises towards the longest period, and beyond: that is no period of its own.
    is_peak = power[best] >= max(power[best - 1], power[best + 1])
    return 1 / (_vertex(power, best) * resolution) if is_peak and power[best] >= MIN_POWER else None


def _bins(time: Floats, flux: Floats) -> tuple[Floats, Floats, float]:
    """Mean flux and number of points of evenly spaced bins, and the bins' width in days.

    A straight drift is taken out. Dips and flares are pulled in to three sigma, or they would stand for a rotation.
    """
    step = max(_BIN_DAYS, float(time[-1] - time[0]) / _MAX_BINS)
    flux = flux - np.polyval(np.polyfit(time - time[0], flux, 1), time - time[0])
    middle = np.median(flux)
    reach = _CLIP_SIGMA * 1.4826 * np.median(np.abs(flux - middle))
    number = ((time - time[0]) / step).astype(np.int64)
    weights = np.bincount(number).astype(np.float64)
    sums = np.bincount(number, np.clip(flux, middle - reach, middle + reach) - middle)
    return sums / np.maximum(weights, 1.0), weights, step


def _longest_segment(time: Floats, segment: Indices) -> float:
    return max(float(np.ptp(time[segment == index])) for index in np.unique(segment))


def _lomb_scargle(values: Floats, weights: Floats, step: float) -> tuple[Floats, float]:
    """The share of the variance that a sine explains, at multiples of a frequency (1/day), which comes second.

    The generalised periodogram of Zechmeister & Kürster 2009 (A&A 496, 577, equations 4 to 15), its sums by FFT: the
    bins are evenly spaced, and those without points weigh nothing.
    """
    size = 1 << int(np.ceil(np.log2(_OVERSAMPLING * len(values))))
    share = weights / weights.sum()
    centred = values - np.dot(share, values)
    flux_sum = np.fft.rfft(share * centred, size)[: size // 4]
    window = np.fft.rfft(share, size)
    single, double = window[: size // 4], window[: size // 2 : 2]
    cos_flux, sin_flux = flux_sum.real, -flux_sum.imag
    cos_cos = 0.5 * (1 + double.real) - single.real**2
    sin_sin = 0.5 * (1 - double.real) - single.imag**2
    cos_sin = -0.5 * double.imag + single.real * single.imag
    determinant = cos_cos * sin_sin - cos_sin**2
    gain = sin_sin * cos_flux**2 + cos_cos * sin_flux**2 - 2 * cos_sin * cos_flux * sin_flux
    variance = float(np.dot(share, centred**2))
    scale = np.where(determinant > 1e-12, determinant, np.inf) * (variance or np.inf)
    power: Floats = gain / scale
    return power, 1 / (size * step)


def _vertex(power: Floats, best: int) -> float:
    """Where the parabola through the peak and its two neighbours is highest, as an index."""
    left, middle, right = power[best - 1 : best + 2]
    curvature = left - 2 * middle + right
    return best + float(0.5 * (left - right) / curvature) if curvature < 0 else float(best)
