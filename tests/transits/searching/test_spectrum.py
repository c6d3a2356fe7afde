"""Tests the signal detection efficiency against that of TLS."""

from __future__ import annotations

import numpy as np
import pytest
from transitleastsquares.stats import spectra

from tasks.transits.light_curve import Floats
from tasks.transits.searching.boxes import BoxSpectrum, search_boxes
from tasks.transits.searching.grid import OVERSAMPLING, build_grid
from tasks.transits.searching.points import Points
from tasks.transits.searching.spectrum import Background, estimate_background
from tests.transits.synthetic import make_times

LONG = 1e6  # a baseline in which many transits fit at any period
TEN_MINUTES_DAYS = 600.0 / 86_400.0


def make_noise_points(seed: int, level: float = 1.0) -> Points:
    time = make_times(cadence_days=TEN_MINUTES_DAYS)
    flux = level + 5e-4 * np.random.default_rng(seed).standard_normal(len(time))
    return Points(time, flux, np.full(len(time), 5e-4))


def make_spectrum(gain: Floats, flat: float = 1000.0) -> BoxSpectrum:
    zeros = np.zeros(len(gain))
    return BoxSpectrum(np.linspace(1.0, 10.0, len(gain)), gain, zeros, zeros, zeros, flat)


def get_background(spectrum: BoxSpectrum) -> Background:
    background = estimate_background(spectrum, LONG)
    assert background is not None
    return background


@pytest.mark.parametrize("seed", range(5))
def test_spectrum_of_noise_equals_that_of_tls(seed: int) -> None:
    spectrum = search_boxes(make_noise_points(seed), build_grid(27.0, 0.6, 13.0))
    chi_square = spectrum.flat - spectrum.gain
    power = get_background(spectrum).compute_sde(chi_square)
    # At the ends TLS repeats the last median, while this module mirrors the spectrum. Given the mirrored spectrum, TLS
    # computes the same power, except for zero and unit, which it derives from the whole input.
    half = OVERSAMPLING * 30 // 2
    mirrored = np.pad(chi_square, 2 * half, mode="symmetric")
    inner = spectra(mirrored, OVERSAMPLING)[2][2 * half : -2 * half]
    unit, zero = np.polyfit(power, inner, 1)
    assert unit * power + zero == pytest.approx(inner, abs=1e-9)
    assert unit == pytest.approx(1.0, abs=0.03)
    assert zero == pytest.approx(0.0, abs=0.35)  # TLS subtracts the mean, we subtract the median


@pytest.mark.parametrize("seed", range(5))
def test_sde_of_noise_equals_that_of_tls(seed: int) -> None:
    spectrum = search_boxes(make_noise_points(seed), build_grid(27.0, 0.6, 13.0))
    chi_square = spectrum.flat - spectrum.gain
    power = get_background(spectrum).compute_sde(chi_square)
    sde = spectra(chi_square, OVERSAMPLING)[4]
    assert power.max() - power.mean() == pytest.approx(sde, rel=0.03)


def test_sde_at_the_minimum_chi_square_is_the_power_of_the_peak() -> None:
    points = make_noise_points(0)
    inside = np.abs((points.time - 1.0 + 1.5) % 3.0 - 1.5) < 0.07
    points = Points(points.time, points.flux - 0.001 * inside, points.noise)
    spectrum = search_boxes(points, build_grid(27.0, 0.6, 13.0))
    background = get_background(spectrum)
    power = background.compute_sde(spectrum.flat - spectrum.gain)
    peak = int(np.argmax(spectrum.gain))
    assert int(np.argmax(power)) == peak
    assert float(background.compute_sde(background.min_chi_square, peak)) == pytest.approx(power[peak])
    assert float(background.compute_sde(spectrum.flat - float(spectrum.gain[peak]), peak)) == pytest.approx(power.max())
    assert power.max() > 10.0


def test_better_fit_than_the_best_box_has_a_higher_sde() -> None:
    spectrum = search_boxes(make_noise_points(1), build_grid(27.0, 0.6, 13.0))
    background = get_background(spectrum)
    peak = int(np.argmax(spectrum.gain))
    steps = [float(background.compute_sde(background.min_chi_square - more, peak)) for more in (0.0, 5.0, 10.0)]
    assert steps == sorted(steps)
    assert steps[2] - steps[0] == pytest.approx(2 * (steps[1] - steps[0]), rel=0.02)


@pytest.mark.parametrize("gain", [0.0, 3.0])
def test_constant_gain_has_no_background(gain: float) -> None:
    assert estimate_background(make_spectrum(np.full(500, gain)), LONG) is None


def test_flat_curve_has_no_background() -> None:
    time = make_times(cadence_days=TEN_MINUTES_DAYS)
    flat = Points(time, np.ones(len(time)), np.full(len(time), 1e-4))
    assert estimate_background(search_boxes(flat, build_grid(27.0, 0.6, 13.0)), LONG) is None


def test_zero_chi_square_has_no_background() -> None:
    """Fit a curve of two values, which leaves a chi-square of zero."""
    gain = np.zeros(500)
    gain[250] = 1000.0
    assert estimate_background(make_spectrum(gain), LONG) is None


@pytest.mark.parametrize("length", [1, 2, 3, 5, 50])
def test_background_of_a_spectrum_shorter_than_the_window_is_finite_or_none(length: int) -> None:
    gain = np.random.default_rng(length).uniform(0.0, 100.0, length)
    background = estimate_background(make_spectrum(gain), LONG)
    if background is None:
        assert length <= 3
    else:
        assert background.level.shape == (length,)
        assert np.all(np.isfinite(background.compute_sde(1000.0 - gain)))


def test_slope_of_the_spectrum_is_background() -> None:
    """Fit noise better at longer periods, which is not a signal; a peak stands on this slope."""
    gain = np.linspace(0.0, 200.0, 2000) + np.random.default_rng(0).normal(0.0, 2.0, 2000)
    gain[400] += 60.0
    background = get_background(make_spectrum(gain, 5000.0))
    power = background.compute_sde(5000.0 - gain)
    assert int(np.argmax(power)) == 400
    assert int(np.argmax(gain)) > 1900
    assert power.max() > 15.0


def test_peak_at_few_transits_has_a_lower_sde() -> None:
    """Compare a long curve to a short one, which fits at most two transits at its longer periods."""
    gain = np.random.default_rng(1).normal(50.0, 2.0, 901)  # periods of 1 to 10 days
    many, few = estimate_background(make_spectrum(gain), LONG), estimate_background(make_spectrum(gain), 12.0)
    assert many is not None
    assert few is not None
    weight = np.where(make_spectrum(gain).period_days > 6.0, 1.5, 1.0)
    assert few.compute_sde(1000.0 - gain) * weight == pytest.approx(many.compute_sde(1000.0 - gain))
