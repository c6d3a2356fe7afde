"""Tests that the fit recovers trapezoids, and that its uncertainties match the scatter over noise realisations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tasks.transits.light_curve import Floats
from tasks.transits.searching.points import Points
from tasks.transits.searching.trapezoid import Signal, TrapezoidFit, fit_trapezoid
from tests.transits.synthetic import make_times

CADENCE_DAYS = 300.0 / 86_400.0
TRUTH = Signal(period_days=3.2, transit_time_days=1.1, duration_days=0.16, ingress_fraction=0.2)
NOISE = 5e-4


def make_dimming(time: Floats, signal: Signal, depth: float = 0.002, noise: float = NOISE, seed: int = 0) -> Points:
    errors = np.random.default_rng(seed).normal(0.0, noise, len(time))
    return Points(time, 1.0 - depth * signal.compute_shape(time) + errors, np.full(len(time), noise))


def compute_distance(fit: TrapezoidFit, time_days: float) -> float:
    """Return the days from ``time_days`` to the fit's nearest mid-transit."""
    return float(abs(fit.signal.compute_offset_days(np.array([time_days]))[0]))


# The signal


def test_shape_is_a_trapezoid_with_correct_contacts() -> None:
    signal = Signal(10.0, 0.0, 1.0, 0.2)
    assert signal.compute_shape(np.array([0.0, 0.29, 0.3, 0.4, 0.5, 0.6, -0.4, 10.0, 5.0])) == pytest.approx(
        [1.0, 1.0, 1.0, 0.5, 0.0, 0.0, 0.5, 1.0, 0.0]
    )


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, [1.0, 1.0, 0.0]), (0.5, [1.0, 0.5, 0.0])])
def test_extreme_ingress_fractions_give_a_box_and_a_v(fraction: float, expected: list[float]) -> None:
    assert Signal(10.0, 0.0, 1.0, fraction).compute_shape(np.array([0.0, 0.25, 0.5001])) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("start", "first"), [(0.0, 1.0), (1.0, 1.0), (1.001, 4.0), (-2.0, -2.0), (-1.9, 1.0), (2_457_000.0, 2_457_001.0)]
)
def test_first_transit_at_or_after_a_time(start: float, first: float) -> None:
    assert Signal(3.0, 1.0, 0.1).find_first_transit(start) == pytest.approx(first)


def test_offsets_lie_within_half_a_period() -> None:
    offsets = Signal(3.0, 1.0, 0.1).compute_offset_days(np.linspace(-50.0, 50.0, 997))
    assert np.abs(offsets).max() <= 1.5
    assert Signal(3.0, 1.0, 0.1).compute_offset_days(np.array([0.9, 4.2, -2.1])) == pytest.approx([-0.1, 0.2, -0.1])


# The fit


@pytest.mark.parametrize("ingress_fraction", [0.1, 0.25, 0.5])
def test_fit_recovers_the_trapezoid(ingress_fraction: float) -> None:
    truth = Signal(3.2, 1.1, 0.16, ingress_fraction)
    fit = fit_trapezoid(
        make_dimming(make_times(cadence_days=CADENCE_DAYS), truth, noise=2e-4), Signal(3.205, 1.12, 0.2)
    )
    assert fit.signal.period_days == pytest.approx(3.2, abs=5e-4)
    assert compute_distance(fit, 1.1) < 0.003
    assert fit.signal.duration_days == pytest.approx(0.16, rel=0.06)
    assert fit.signal.ingress_fraction == pytest.approx(ingress_fraction, abs=0.07)
    assert fit.depth == pytest.approx(0.002, rel=0.03)


def test_box_has_no_ingress_and_v_has_no_floor() -> None:
    time = make_times(cadence_days=CADENCE_DAYS)
    box, triangle = (
        fit_trapezoid(make_dimming(time, Signal(3.2, 1.1, 0.16, fraction), noise=1e-4), Signal(3.2, 1.1, 0.15))
        for fraction in (0.0, 0.5)
    )
    assert box.signal.ingress_fraction < 0.06
    assert triangle.signal.ingress_fraction > 0.45


def test_gain_is_the_reduction_of_chi_square() -> None:
    points = make_dimming(make_times(cadence_days=CADENCE_DAYS), TRUTH)
    fit = fit_trapezoid(points, TRUTH)
    model = 1.0 - fit.depth * fit.signal.compute_shape(points.time)
    saved = points.compute_flat_chi_square() - np.sum(((points.flux - model) / points.noise) ** 2)
    assert fit.gain == pytest.approx(saved, rel=1e-6)


@pytest.mark.parametrize("sign", [-1, 1])
def test_fit_converges_from_half_a_duration_off_at_the_far_end(sign: int) -> None:
    cycles = 27.0 / 3.2 / 2
    off = 3.2 + sign * 0.45 * 0.16 / cycles
    start = Signal(off, 1.1 + 4 * 3.2 - 4 * off, 0.16)  # correct in the middle of the curve, off at both ends
    fit = fit_trapezoid(make_dimming(make_times(cadence_days=CADENCE_DAYS), TRUTH), start)
    assert fit.signal.period_days == pytest.approx(3.2, abs=0.002)
    assert compute_distance(fit, 1.1) < 0.01
    assert fit.signal.duration_days == pytest.approx(0.16, rel=0.15)


def test_uncertainties_match_the_scatter_over_noise_realisations() -> None:
    time = make_times(cadence_days=600.0 / 86_400.0)
    fits = [fit_trapezoid(make_dimming(time, TRUTH, seed=seed), Signal(3.203, 1.11, 0.17)) for seed in range(40)]
    periods = [(fit.signal.period_days - 3.2) / (fit.period_uncertainty_days or math.nan) for fit in fits]
    depths = [(fit.depth - 0.002) / fit.depth_uncertainty for fit in fits]
    assert 0.7 < np.std(periods) < 1.4
    assert 0.7 < np.std(depths) < 1.4
    assert abs(np.mean(periods)) < 0.5


def test_points_are_weighted_by_their_noise() -> None:
    """Add wild noise to half of the points, with their large uncertainty given."""
    time = make_times(cadence_days=CADENCE_DAYS)
    points = make_dimming(time, TRUTH, noise=2e-4)
    bad = np.random.default_rng(1).random(len(time)) < 0.5
    flux = np.where(bad, 1.0 + np.random.default_rng(2).normal(0.0, 0.05, len(time)), points.flux)
    fit = fit_trapezoid(Points(time, flux, np.where(bad, 0.05, points.noise)), Signal(3.2, 1.1, 0.15))
    assert fit.depth == pytest.approx(0.002, rel=0.05)
    assert fit.signal.period_days == pytest.approx(3.2, abs=0.001)


def test_result_does_not_depend_on_the_time_origin() -> None:
    time = make_times(cadence_days=CADENCE_DAYS)
    near, far = (
        fit_trapezoid(
            Points(time + zero, make_dimming(time, TRUTH).flux, make_dimming(time, TRUTH).noise),
            Signal(3.2, 1.1 + zero, 0.15),
        )
        for zero in (0.0, 2_457_000.0)
    )
    assert far.signal.period_days == pytest.approx(near.signal.period_days, abs=1e-5)
    assert far.depth == pytest.approx(near.depth, rel=1e-3)


# Few points


@pytest.mark.parametrize("cadence_days", [1 / 48, 1 / 24])
def test_few_points_per_transit_suffice(cadence_days: float) -> None:
    fit = fit_trapezoid(make_dimming(make_times(80.0, cadence_days), TRUTH, noise=2e-4), Signal(3.2, 1.1, 0.16))
    assert fit.signal.period_days == pytest.approx(3.2, abs=0.001)
    assert fit.depth == pytest.approx(0.002, rel=0.1)


def make_hostile_curves() -> dict[str, tuple[Points, Signal]]:
    day = np.arange(10.0)
    ones, noise = np.ones(10), np.full(10, 1e-3)
    dip = ones - 0.01 * (day == 4.0)
    fine = make_times(cadence_days=CADENCE_DAYS)
    return {
        "one point in transit": (Points(day, dip, noise), Signal(10.0, 4.0, 0.1)),
        "all points in transit": (Points(day, ones - 0.01, noise), Signal(1.0, 0.0, 0.1)),
        "no point in transit": (Points(day, ones, noise), Signal(10.0, 4.5, 0.1)),
        "one point": (Points(day[:1], dip[:1], noise[:1]), Signal(1.0, 0.0, 0.1)),
        "two points": (Points(day[:2], dip[3:5], noise[:2]), Signal(1.0, 0.0, 0.3)),
        "constant": (Points(fine, np.ones(len(fine)), np.full(len(fine), 1e-3)), TRUTH),
        "brightening": (make_dimming(fine, TRUTH, depth=-0.002), TRUTH),
        "longer than half its period": (make_dimming(fine, TRUTH), Signal(3.2, 1.1, 1.7)),
        "as long as its period": (make_dimming(fine, TRUTH), Signal(3.2, 1.1, 3.2)),
        "shorter than the cadence": (make_dimming(fine, TRUTH), Signal(3.2, 1.1, 1e-4)),
        "huge flux": (Points(fine, 1.0 - 1e5 * TRUTH.compute_shape(fine), np.full(len(fine), 1e-6)), TRUTH),
        "period beyond the curve": (make_dimming(fine, TRUTH), Signal(2_000.0, 1.1, 0.3)),
    }


@pytest.mark.parametrize("name", make_hostile_curves())
def test_fit_of_hostile_curves_raises_no_error(name: str) -> None:
    points, start = make_hostile_curves()[name]
    fit = fit_trapezoid(points, start)
    assert math.isfinite(fit.depth)
    assert fit.depth_uncertainty > 0
    assert fit.gain >= 0 or math.isclose(fit.gain, 0, abs_tol=1e-9)
    assert fit.signal.period_days > 0
    assert fit.signal.duration_days > 0
    assert fit.period_uncertainty_days is None or fit.period_uncertainty_days > 0
