"""Signal detection efficiency: what TLS makes of the same chi-square, and nothing of a flat line."""

from __future__ import annotations

import numpy as np
import pytest
from transitleastsquares.stats import spectra

from tasks.transits.light_curve import Floats
from tasks.transits.searching.boxes import BoxSpectrum, search_boxes
from tasks.transits.searching.grid import OVERSAMPLING, search_grid
from tasks.transits.searching.points import Points
from tasks.transits.searching.spectrum import Background, background
from tests.transits.synthetic import times

LONG = 1e6  # a baseline in which many transits fit at any period
TEN_MINUTES_DAYS = 600.0 / 86_400.0


def noise_points(seed: int, level: float = 1.0) -> Points:
    time = times(cadence_days=TEN_MINUTES_DAYS)
    flux = level + 5e-4 * np.random.default_rng(seed).standard_normal(len(time))
    return Points(time, flux, np.full(len(time), 5e-4))


def of(gain: Floats, flat: float = 1000.0) -> BoxSpectrum:
    zeros = np.zeros(len(gain))
    return BoxSpectrum(np.linspace(1.0, 10.0, len(gain)), gain, zeros, zeros, zeros, flat)


def ground(spectrum: BoxSpectrum) -> Background:
    found = background(spectrum, LONG)
    assert found is not None
    return found


@pytest.mark.parametrize("seed", range(5))
def test_efficiency_of_noise_is_that_of_tls(seed: int) -> None:
    spectrum = search_boxes(noise_points(seed), search_grid(27.0, 0.6, 13.0))
    chi_square = spectrum.flat - spectrum.gain
    power = ground(spectrum).efficiency(chi_square)
    # TLS goes on with the last median where its window meets the end; here the spectrum is mirrored there. Given the
    # mirrored spectrum, it has the same power, but for its zero and unit, which it takes of all that it was given.
    half = OVERSAMPLING * 30 // 2
    mirrored = np.pad(chi_square, 2 * half, mode="symmetric")
    inner = spectra(mirrored, OVERSAMPLING)[2][2 * half : -2 * half]
    unit, zero = np.polyfit(power, inner, 1)
    assert unit * power + zero == pytest.approx(inner, abs=1e-9)
    assert unit == pytest.approx(1.0, abs=0.03)
    assert zero == pytest.approx(0.0, abs=0.35)  # TLS sets the mean to nought, where ours has the median there


@pytest.mark.parametrize("seed", range(5))
def test_sde_of_noise_is_that_of_tls(seed: int) -> None:
    spectrum = search_boxes(noise_points(seed), search_grid(27.0, 0.6, 13.0))
    chi_square = spectrum.flat - spectrum.gain
    power = ground(spectrum).efficiency(chi_square)
    sde = spectra(chi_square, OVERSAMPLING)[4]
    assert power.max() - power.mean() == pytest.approx(sde, rel=0.03)


def test_efficiency_at_the_least_chi_square_is_the_power_of_the_peak() -> None:
    points = noise_points(0)
    inside = np.abs((points.time - 1.0 + 1.5) % 3.0 - 1.5) < 0.07
    points = Points(points.time, points.flux - 0.001 * inside, points.noise)
    spectrum = search_boxes(points, search_grid(27.0, 0.6, 13.0))
    found = ground(spectrum)
    power = found.efficiency(spectrum.flat - spectrum.gain)
    peak = int(np.argmax(spectrum.gain))
    assert int(np.argmax(power)) == peak
    assert float(found.efficiency(found.least, peak)) == pytest.approx(power[peak])
    assert float(found.efficiency(spectrum.flat - float(spectrum.gain[peak]), peak)) == pytest.approx(power.max())
    assert power.max() > 10.0


def test_a_better_fit_than_the_best_box_stands_higher() -> None:
    spectrum = search_boxes(noise_points(1), search_grid(27.0, 0.6, 13.0))
    found = ground(spectrum)
    peak = int(np.argmax(spectrum.gain))
    steps = [float(found.efficiency(found.least - more, peak)) for more in (0.0, 5.0, 10.0)]
    assert steps == sorted(steps)
    assert steps[2] - steps[0] == pytest.approx(2 * (steps[1] - steps[0]), rel=0.02)


@pytest.mark.parametrize("gain", [0.0, 3.0])
def test_the_same_gain_everywhere_is_no_spectrum(gain: float) -> None:
    assert background(of(np.full(500, gain)), LONG) is None


def test_a_flat_curve_is_no_spectrum() -> None:
    time = times(cadence_days=TEN_MINUTES_DAYS)
    flat = Points(time, np.ones(len(time)), np.full(len(time), 1e-4))
    assert background(search_boxes(flat, search_grid(27.0, 0.6, 13.0)), LONG) is None


def test_a_box_that_leaves_no_residue_is_no_spectrum() -> None:
    """Chi-square over nought: a curve of two values."""
    gain = np.zeros(500)
    gain[250] = 1000.0
    assert background(of(gain), LONG) is None


@pytest.mark.parametrize("length", [1, 2, 3, 5, 50])
def test_a_spectrum_shorter_than_the_window_is_measured_against_all_of_it_or_not_at_all(length: int) -> None:
    gain = np.random.default_rng(length).uniform(0.0, 100.0, length)
    found = background(of(gain), LONG)
    if found is None:
        assert length <= 3
    else:
        assert found.level.shape == (length,)
        assert np.all(np.isfinite(found.efficiency(1000.0 - gain)))


def test_a_slope_of_the_spectrum_is_background() -> None:
    """Longer periods fit noise better: that is no signal, and a peak stands on it."""
    gain = np.linspace(0.0, 200.0, 2000) + np.random.default_rng(0).normal(0.0, 2.0, 2000)
    gain[400] += 60.0
    found = ground(of(gain, 5000.0))
    power = found.efficiency(5000.0 - gain)
    assert int(np.argmax(power)) == 400
    assert int(np.argmax(gain)) > 1900
    assert power.max() > 15.0


def test_where_few_transits_fit_a_peak_counts_for_less() -> None:
    """The same spectrum, of a long curve and of one in which its longer half of periods has two transits at most."""
    gain = np.random.default_rng(1).normal(50.0, 2.0, 901)  # periods of 1 to 10 days
    many, few = background(of(gain), LONG), background(of(gain), 12.0)
    assert many is not None
    assert few is not None
    weight = np.where(of(gain).period_days > 6.0, 1.5, 1.0)
    assert few.efficiency(1000.0 - gain) * weight == pytest.approx(many.efficiency(1000.0 - gain))
