"""Measures the rotation of a star from its spots."""

from __future__ import annotations

import numpy as np

from tasks.transits.light_curve import Floats, Indices

MIN_PERIOD_DAYS = 0.1
# Minimum share of the variance of the binned flux that a period explains. Spots of active stars explain 0.4 to 0.9;
# residual spacecraft drifts rarely explain a fifth, and then not at a single period.
MIN_POWER = 0.25
_MIN_BINS = 100
_BIN_DAYS = 1 / 48
_MAX_BINS = 16_384
_OVERSAMPLING = 8
_CLIP_SIGMA = 3.0


def measure_rotation_period(time: Floats, flux: Floats, segment: Indices) -> float | None:
    """Return the period in days of the strongest sine in the undetrended flux; None below ``MIN_POWER``.

    ``time`` (n,) in days, ascending; ``flux`` (n,) about 1; ``segment`` (n,). Periods range from 0.1 days to half the
    baseline, at most the longest segment: each segment is normalised separately, which removes slower variations.
    """
    values, weights, step = _bin_flux(time, flux)
    if np.count_nonzero(weights) < _MIN_BINS:
        return None
    max_period = min(float(time[-1] - time[0]) / 2, _get_max_segment_days(time, segment))
    power, resolution = _compute_lomb_scargle(values, weights, step)
    first = max(int(np.ceil(1 / (max_period * resolution))), 1)
    last = min(int(1 / (max(MIN_PERIOD_DAYS, 3 * step) * resolution)), len(power) - 2)
    if last <= first:
        return None
    best = first + int(np.argmax(power[first : last + 1]))
    # The power of a slow drift rises up to the maximum period and beyond; only a peak is a period.
    is_peak = power[best] >= max(power[best - 1], power[best + 1])
    return 1 / (_find_vertex(power, best) * resolution) if is_peak and power[best] >= MIN_POWER else None


def _bin_flux(time: Floats, flux: Floats) -> tuple[Floats, Floats, float]:
    """Return mean flux and number of points of evenly spaced bins, and the bin width in days.

    A linear drift is subtracted. Dips and flares are clipped to three sigma, so that they do not imitate a rotation.
    """
    step = max(_BIN_DAYS, float(time[-1] - time[0]) / _MAX_BINS)
    flux = flux - np.polyval(np.polyfit(time - time[0], flux, 1), time - time[0])
    middle = np.median(flux)
    limit = _CLIP_SIGMA * 1.4826 * np.median(np.abs(flux - middle))
    number = ((time - time[0]) / step).astype(np.int64)
    weights = np.bincount(number).astype(np.float64)
    sums = np.bincount(number, np.clip(flux, middle - limit, middle + limit) - middle)
    return sums / np.maximum(weights, 1.0), weights, step


def _get_max_segment_days(time: Floats, segment: Indices) -> float:
    return max(float(np.ptp(time[segment == index])) for index in np.unique(segment))


def _compute_lomb_scargle(values: Floats, weights: Floats, step: float) -> tuple[Floats, float]:
    """Return the share of the variance that a sine explains at multiples of a frequency (1/day), and this frequency.

    The generalised periodogram of Zechmeister & Kürster 2009 (A&A 496, 577, equations 4 to 15), with sums by FFT: bins
    are evenly spaced, and empty bins have zero weight.
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


def _find_vertex(power: Floats, best: int) -> float:
    """Return the vertex of the parabola through the peak and its two neighbours, as an index."""
    left, middle, right = power[best - 1 : best + 2]
    curvature = left - 2 * middle + right
    return best + float(0.5 * (left - right) / curvature) if curvature < 0 else float(best)
