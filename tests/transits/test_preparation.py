"""Tests preparation: transits are preserved, slow variations and flares are removed."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.transits.light_curve import Floats, LightCurve, PreparedLightCurve, Segment, Star
from tasks.transits.params import TransitParams
from tasks.transits.preparation import (
    EDGE_DAYS,
    MIN_POINTS,
    compute_max_transit_days,
    compute_min_window_days,
    compute_window_days,
    prepare,
)
from tasks.transits.reading import read_light_curve
from tasks.transits.rotation import measure_rotation_period
from tasks.transits.unsearchable import Unsearchable
from tests.transits.synthetic import Planet, make_times

TWO_MINUTES, HALF_HOUR = 1 / 720, 1 / 48.94
SUN = Star(radius=1.0, mass=1.0)
PARAMS = TransitParams()


def make_observed_curve(
    time: Floats, flux: Floats, noise_ppm: float = 500.0, seed: int = 1, segment: Sequence[int] | None = None
) -> LightCurve:
    """Return a light curve with this flux and normal noise, like those of :func:`read_light_curve`."""
    index = np.zeros(len(time), np.int64) if segment is None else np.asarray(segment)
    noisy = flux + np.random.default_rng(seed).normal(0.0, noise_ppm / 1e6, len(time))
    cadence = float(np.median(np.diff(time))) * 86400 if len(time) > 1 else 0.0
    names = [Segment(f"S{number}", "TESS", "SPOC", cadence, "BTJD") for number in range(1, index.max(initial=0) + 2)]
    return LightCurve(time, noisy, np.full(len(time), np.nan), index, tuple(names), SUN)


def make_planet_of_duration(duration_days: float, period_days: float, depth: float) -> Planet:
    """Return a planet on a circular orbit with transits of about ``duration_days``."""
    axis = 1 / np.sin(np.pi * duration_days / period_days)
    return Planet(period_days, period_days * 0.37, np.sqrt(depth / 1.15), float(axis))


def fit_depth_share(curve: LightCurve, model: Floats, flat: PreparedLightCurve) -> float:
    """Return the share of the transits' depth that remains: the best-fitting factor of ``model``."""
    shape = model[np.searchsorted(curve.time, flat.time)] - 1.0
    design = np.column_stack([shape, np.ones(len(shape))])
    return float(np.linalg.lstsq(design, flat.flux - 1.0, rcond=None)[0][0])


# Transits


@pytest.mark.parametrize("detrend", ["biweight", "median"])
@pytest.mark.parametrize(
    ("cadence", "days", "noise_ppm"), [(TWO_MINUTES, 27.0, 1000.0), (HALF_HOUR, 80.0, 100.0), (HALF_HOUR, 27.0, 300.0)]
)
@pytest.mark.parametrize(("duration", "period"), [(0.06, 1.5), (0.125, 3.0), (0.2, 10.0), (1 / 3, 12.5)])
def test_transits_keep_their_depth_up_to_a_third_of_the_window(
    cadence: float, days: float, noise_ppm: float, duration: float, period: float, detrend: str
) -> None:
    time = make_times(days, cadence, gaps=[(days / 2 - 0.6, days / 2 + 0.6)])
    planet = make_planet_of_duration(duration, period, depth=0.01)
    model = planet.compute_flux(time)
    curve = make_observed_curve(time, model, noise_ppm)
    flat = prepare(curve, TransitParams(detrend=detrend, max_period=15.0))
    assert compute_window_days(curve, PARAMS) == 1.0
    assert fit_depth_share(curve, model, flat) == pytest.approx(1.0, abs=0.04)


def test_transits_of_a_spotted_star_keep_their_depth() -> None:
    time = make_times(27.0)
    planet = make_planet_of_duration(0.125, 3.7, depth=0.005)
    model = planet.compute_flux(time)
    spots = 1.0 + 0.01 * np.sin(2 * np.pi * time / 5.3)
    curve = make_observed_curve(time, model * spots, 500.0)
    flat = prepare(curve, PARAMS)
    assert fit_depth_share(curve, model, flat) == pytest.approx(1.0, abs=0.06)
    # The trend ignores given transits.
    again = prepare(curve, PARAMS, in_transit=model < 1.0)
    assert fit_depth_share(curve, model, again) == pytest.approx(1.0, abs=0.02)
    assert flat.rotation_days == pytest.approx(5.3, rel=0.02)


def test_given_shallow_transits_keep_their_depth() -> None:
    time = make_times(80.0, HALF_HOUR)
    planet = make_planet_of_duration(0.3, 7.0, depth=2e-4)  # of one point's noise
    model = planet.compute_flux(time)
    curve = make_observed_curve(time, model, 200.0)
    lost = fit_depth_share(curve, model, prepare(curve, PARAMS))
    kept = fit_depth_share(curve, model, prepare(curve, PARAMS, in_transit=model < 1.0))
    uncertainty = 2e-4 / np.sqrt(np.count_nonzero(model < 1.0)) / 2e-4
    assert lost < 0.85
    assert kept == pytest.approx(1.0, abs=3 * uncertainty)


def test_real_planets_keep_their_depth(stars: Path) -> None:
    """Compare with the depth after masking the transits for the trend."""
    with (stars / "truth.csv").open() as file:
        planets = [row for row in csv.DictReader(file) if row["kind"] == "planet" and "kplr0068" not in row["file"]]
    assert len(planets) == 11
    for row in planets:
        curve = read_light_curve([stars / row["file"]], Star(), "pdcsap")
        period, middle, duration = float(row["period_days"]), float(row["t0"]), float(row["duration_h"]) / 24
        flat = prepare(curve, PARAMS)
        masked = prepare(curve, PARAMS, in_transit=np.abs(_compute_phase(curve.time, middle, period)) < 0.6 * duration)
        depth, whole = (_measure_depth(part, middle, period, duration) for part in (flat, masked))
        assert depth == pytest.approx(whole, rel=0.06), row["name"]
        # Published depths are for other bands, and approximate.
        assert depth == pytest.approx(float(row["depth_ppm"]) / 1e6, rel=0.35), row["name"]


def _compute_phase(time: Floats, middle: float, period: float) -> Floats:
    return (time - middle + period / 2) % period - period / 2


def _measure_depth(flat: PreparedLightCurve, middle: float, period: float, duration: float) -> float:
    away = np.abs(_compute_phase(flat.time, middle, period)) / duration
    return float(np.median(flat.flux[(away > 0.7) & (away < 2)]) - np.median(flat.flux[away < 0.3]))


# Slow variations and flares


@pytest.mark.parametrize("detrend", ["biweight", "median"])
def test_slow_variations_are_removed(detrend: str) -> None:
    time = make_times(27.0)
    slow = 1.0 + 0.01 * np.sin(2 * np.pi * time / 9.0) + 0.002 * (time - 13)
    flat = prepare(make_observed_curve(time, slow, 300.0), TransitParams(detrend=detrend))
    assert np.std(flat.flux) == pytest.approx(300e-6, rel=0.05)
    assert flat.noise == pytest.approx(300e-6, rel=0.05)
    np.testing.assert_allclose(flat.flux * flat.trend, flat.observed, rtol=1e-12)


def test_detrend_none_keeps_the_flux() -> None:
    time = make_times(27.0)
    curve = make_observed_curve(time, 1.0 + 0.01 * np.sin(time))
    flat = prepare(curve, TransitParams(detrend="none"))
    assert (flat.trend == 1.0).all()
    np.testing.assert_array_equal(flat.flux, flat.observed)


def test_flares_are_removed_and_dips_are_kept() -> None:
    time = make_times(27.0)
    spikes, dips = np.arange(500, 19000, 700), np.arange(800, 19000, 700)
    flux = np.ones(len(time))
    flux[spikes], flux[dips] = 1.004, 0.996
    flat = prepare(make_observed_curve(time, flux), PARAMS)
    assert not np.isin(time[spikes], flat.time).any()
    assert np.isin(time[dips], flat.time).all()


def test_low_points_are_never_excluded() -> None:
    time = make_times(27.0)
    for seed in range(5):
        curve = make_observed_curve(time, np.ones(len(time)), seed=seed)
        flat = prepare(curve, PARAMS)
        inside = (time - time[0] >= EDGE_DAYS) & (time[-1] - time >= EDGE_DAYS)
        lost = inside & ~np.isin(time, flat.time)
        assert (curve.flux[lost] > 1.0).all()
        assert np.count_nonzero(lost) < 10


# Gaps and segments


def test_trend_restarts_after_a_gap() -> None:
    time = make_times(27.0, gaps=[(13.0, 14.0)])
    step = np.where(time < 13.5, 1.0, 1.05)
    flat = prepare(make_observed_curve(time, step, 300.0), PARAMS)
    near = np.abs(flat.time - 13.5) < 1.0
    assert np.count_nonzero(near) > 500
    assert np.abs(np.median(flat.flux[near & (flat.time < 13.5)]) - 1.0) < 1e-4
    assert np.abs(np.median(flat.flux[near & (flat.time > 13.5)]) - 1.0) < 1e-4
    np.testing.assert_allclose(flat.trend, np.where(flat.time < 13.5, 1.0, 1.05), atol=5e-4)


def test_trend_restarts_in_another_segment() -> None:
    time = make_times(27.0)
    second = (time > 13.0).astype(np.int64)
    flat = prepare(make_observed_curve(time, 1.0 + 0.05 * second, 300.0, segment=second), PARAMS)
    np.testing.assert_allclose(flat.trend, 1.0 + 0.05 * flat.segment, atol=5e-4)


def test_points_next_to_gaps_are_not_searched() -> None:
    time = make_times(27.0, gaps=[(13.0, 14.0)])
    flat = prepare(make_observed_curve(time, np.ones(len(time))), PARAMS)
    for edge in (0.0, 13.0, 14.0, 27.0):
        assert np.abs(flat.time - edge).min() == pytest.approx(EDGE_DAYS, abs=3 * TWO_MINUTES)


def test_nights_as_short_as_a_transit_are_not_searched() -> None:
    nights = [(day + 0.4, day + 1.0) for day in range(1, 30)]
    time = make_times(30.0, TWO_MINUTES, gaps=[(0.1, 1.0), *nights])
    flat = prepare(make_observed_curve(time, np.ones(len(time))), TransitParams(max_period=10.0))
    np.testing.assert_array_equal(np.unique(np.floor(flat.time)), np.arange(1, 30))
    assert len(flat.time) > 0.995 * np.count_nonzero(time >= 1.0)


def test_noise_is_estimated_per_segment() -> None:
    time = make_times(54.0, HALF_HOUR)
    second = (time > 27.0).astype(np.int64)
    loud = np.random.default_rng(3).normal(0, 2e-3, len(time)) * second
    flat = prepare(make_observed_curve(time, 1.0 + loud, 200.0, segment=second), PARAMS)
    assert flat.noise[flat.segment == 0] == pytest.approx(200e-6, rel=0.1)
    assert flat.noise[flat.segment == 1] == pytest.approx(2e-3, rel=0.1)


# The window


def test_longest_transit_of_the_earth_takes_thirteen_hours() -> None:
    assert compute_max_transit_days(365.25, Star()) * 24 == pytest.approx(13.0, abs=0.1)
    assert compute_max_transit_days(365.25, Star(radius=2.0, mass=1.0)) * 24 == pytest.approx(26.0, abs=0.2)
    assert compute_min_window_days(365.25, SUN) == pytest.approx(3 * compute_max_transit_days(365.25, SUN))


def test_window_is_widened_for_the_longest_transit() -> None:
    sector, years = (
        make_observed_curve(make_times(27.0), np.ones(19440)),
        make_observed_curve(make_times(1400.0, 0.1), np.ones(14000)),
    )
    assert compute_window_days(sector, TransitParams(window_days=0.8)) == 0.8
    assert compute_window_days(sector, TransitParams(window_days=0.1)) == pytest.approx(
        compute_min_window_days(13.5, SUN), rel=1e-3
    )
    assert compute_window_days(years, PARAMS) == pytest.approx(compute_min_window_days(700, SUN), rel=1e-3)
    assert compute_window_days(years, TransitParams(max_period=10.0)) == 1.0
    giant = replace(sector, star=Star(radius=5.0, mass=1.2))
    assert compute_window_days(giant, PARAMS) > 2.0


# Unsearchable curves


def get_reason(curve: LightCurve, **params: object) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Unsearchable) as caught:
            prepare(curve, TransitParams(**params))
    assert str(caught.value).startswith(f"{caught.value.reason}: ")
    return caught.value.reason


@pytest.mark.parametrize("points", [1, 3, MIN_POINTS - 1])
def test_curve_of_few_points_is_unsearchable(points: int) -> None:
    assert get_reason(make_observed_curve(np.arange(points) * 0.5, np.ones(points))) == "too_few_points"


@pytest.mark.parametrize("level", [1.0, 0.9999])
def test_constant_flux_is_unsearchable(level: float) -> None:
    time = make_times(27.0, HALF_HOUR)
    assert get_reason(make_observed_curve(time, np.full(len(time), level), noise_ppm=0.0)) == "constant_flux"


def test_straight_line_is_constant_flux() -> None:
    time = make_times(27.0, HALF_HOUR)
    assert get_reason(make_observed_curve(time, 1.0 + 1e-9 * time, noise_ppm=0.0)) == "constant_flux"


def test_baseline_of_hours_is_unsearchable() -> None:
    time = make_times(1.0)
    assert get_reason(make_observed_curve(time, np.ones(len(time)))) == "short_baseline"
    assert len(prepare(make_observed_curve(time, np.ones(len(time))), TransitParams(min_period=0.3)).time) > 500


def test_negative_trend_is_unsearchable() -> None:
    time = make_times(27.0, HALF_HOUR)
    assert get_reason(make_observed_curve(time, np.full(len(time), -1.0))) == "nonpositive_flux"


def test_noise_is_never_zero() -> None:
    time = make_times(27.0, HALF_HOUR)
    rounded = np.ones(len(time))
    rounded[::10] = 0.999  # more than half of the points are equal
    silent = np.where(time < 13, rounded, 1.0)
    second = (time >= 13).astype(np.int64)
    for curve in (make_observed_curve(time, rounded, 0.0), make_observed_curve(time, silent, 0.0, segment=second)):
        assert prepare(curve, PARAMS).noise.min() > 1e-5


def test_total_eclipse_leaves_no_infinite_point() -> None:
    time = make_times(27.0)
    flux = np.where((time % 3) < 1.0, 1e-9, 1.0)
    flat = prepare(make_observed_curve(time, flux, 100.0), PARAMS)
    assert np.isfinite(flat.flux).all()
    assert (flat.trend > 0).all()


def test_prepare_does_not_change_its_input() -> None:
    time = make_times(27.0, HALF_HOUR)
    curve = make_observed_curve(time, 1.0 + 0.01 * np.sin(time))
    before = curve.flux.copy()
    prepare(curve, PARAMS)
    np.testing.assert_array_equal(curve.flux, before)


def test_prepare_is_deterministic(stars: Path) -> None:
    paths = sorted(stars.glob("tess*25155310*"))
    first, second = (prepare(read_light_curve(paths, Star(), "pdcsap"), PARAMS) for _ in range(2))
    for name in ("time", "flux", "noise", "trend"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


# Rotation


@pytest.mark.parametrize("period", [0.3, 1.7, 6.0, 11.0])
@pytest.mark.parametrize("noise_ppm", [100.0, 2000.0])
def test_rotation_of_a_spotted_star_is_measured(period: float, noise_ppm: float) -> None:
    time = make_times(27.0, gaps=[(12.0, 13.5)])
    curve = make_observed_curve(time, 1.0 + 3e-3 * np.sin(2 * np.pi * time / period), noise_ppm)
    assert measure_rotation_period(curve.time, curve.flux, curve.segment) == pytest.approx(period, rel=0.03)


@pytest.mark.parametrize(
    "flux",
    {
        "noise": lambda time: np.ones(len(time)),
        "a drift": lambda time: 1.0 + 1e-3 * time,
        "a bend": lambda time: 1.0 + 1e-4 * (time - 13.5) ** 2,
        "a hot Jupiter": lambda time: Planet(3.0).compute_flux(time),
        "slower than there is room for": lambda time: 1.0 + 0.01 * np.sin(2 * np.pi * time / 40.0),
    }.values(),
)
def test_curves_without_rotation_have_none(flux) -> None:
    time = make_times(27.0)
    curve = make_observed_curve(time, flux(time))
    assert measure_rotation_period(curve.time, curve.flux, curve.segment) is None


def test_periodogram_equals_that_of_astropy() -> None:
    from astropy.timeseries import LombScargle

    from tasks.transits.rotation import _bin_flux, _compute_lomb_scargle

    time = make_times(27.0, gaps=[(5.0, 5.3), (12.0, 13.5)])
    curve = make_observed_curve(time, 1.0 + 1e-3 * np.sin(time), 800.0)
    values, weights, step = _bin_flux(curve.time, curve.flux)
    power, resolution = _compute_lomb_scargle(values, weights, step)
    full = weights > 0
    reference = LombScargle(np.flatnonzero(full) * step, values[full], weights[full] ** -0.5)
    frequency = resolution * np.arange(1, len(power))
    expected = reference.power(frequency, method="cython", assume_regular_frequency=True)
    np.testing.assert_allclose(power[1:], expected, atol=1e-10)
