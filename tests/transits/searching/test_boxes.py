"""Tests the box search against brute-force least squares and against astropy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy.timeseries import BoxLeastSquares

from tasks.transits.light_curve import Flags, Floats
from tasks.transits.searching import boxes
from tasks.transits.searching.boxes import BINS_PER_DURATION, WIDTH_STEP, BoxSpectrum, search_boxes
from tasks.transits.searching.grid import Grid, build_grid
from tasks.transits.searching.points import Points
from tests.transits.synthetic import TWO_MINUTES_DAYS, make_times

TESS_EPOCH_DAYS = 2_457_000.0
TEN_MINUTES_DAYS = 600.0 / 86_400.0


def make_box_points(
    time: Floats,
    period_days: float,
    transit_time_days: float,
    duration_days: float,
    depth: float = 0.001,
    noise: float | Floats = 2e-4,
    seed: int = 0,
) -> Points:
    """Return a box of ``depth`` in normal noise; the points state the exact noise."""
    errors = np.broadcast_to(np.asarray(noise, dtype=np.float64), time.shape).copy()
    flux = 1.0 + errors * np.random.default_rng(seed).standard_normal(len(time))
    return Points(time, flux - depth * is_inside_box(time, period_days, transit_time_days, duration_days), errors)


def is_inside_box(time: Floats, period_days: float, transit_time_days: float, duration_days: float) -> Flags:
    turns = (time - transit_time_days) / period_days
    return np.abs(turns - np.round(turns)) * period_days < 0.5 * duration_days


def make_one_duration_grid(periods: Floats, duration_days: float) -> Grid:
    return Grid(periods, duration_days / periods, duration_days / periods)


# Against least squares


def fit_two_levels(points: Points, inside: Flags) -> tuple[float, float]:
    """Return the chi-square of the best two levels, and how much lower the level inside is."""
    weight = points.noise**-2
    levels = [float(np.average(points.flux[part], weights=weight[part])) for part in (inside, ~inside)]
    model = np.where(inside, *levels)
    return float(np.sum(weight * (points.flux - model) ** 2)), levels[1] - levels[0]


def search_by_brute_force(
    points: Points, period_days: float, shortest: float, longest: float
) -> tuple[float, float, float]:
    """Return gain, depth and time of the best of all boxes that the scan tries."""
    flat = float(np.sum((points.flux - np.average(points.flux, weights=points.noise**-2)) ** 2 / points.noise**2))
    bins = math.ceil(BINS_PER_DURATION / shortest)
    number = np.floor(((points.time - points.time[0]) / period_days % 1.0) * bins).astype(int)
    best = (0.0, 0.0, 0.0)
    width = BINS_PER_DURATION
    while width <= max(int(longest * bins), BINS_PER_DURATION):
        for first in range(0, bins, max(1, width // BINS_PER_DURATION)):
            inside = (number - first) % bins < width
            if inside.any() and not inside.all():
                chi_square, depth = fit_two_levels(points, inside)
                if depth > 0 and flat - chi_square > best[0]:
                    time = points.time[0] + (first + width / 2) / bins % 1.0 * period_days
                    best = (flat - chi_square, depth, time)
        width = max(width + 1, int(width * WIDTH_STEP + 0.5))
    return best


@pytest.mark.parametrize("transit_time_days", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("noise", ["equal", "unequal"])
@pytest.mark.parametrize("depth", [0.0, 0.001])
def test_gain_depth_and_time_match_brute_force_least_squares(
    transit_time_days: float, noise: str, depth: float
) -> None:
    time = np.sort(np.random.default_rng(7).uniform(10.0, 16.0, 150))  # too sparse to be binned
    errors = np.full(150, 3e-4) if noise == "equal" else np.random.default_rng(8).uniform(1e-4, 1e-3, 150)
    points = make_box_points(time, 1.3, time[0] + transit_time_days * 1.3, 0.13, depth, errors)
    periods = np.array([0.61, 0.9, 1.3, 2.7])
    spectrum = search_boxes(points, Grid(periods, np.full(4, 0.05), np.full(4, 0.12)))
    for index, period in enumerate(periods):
        gain, deep, middle = search_by_brute_force(points, float(period), 0.05, 0.12)
        assert spectrum.gain[index] == pytest.approx(gain, rel=1e-9)
        assert spectrum.depth[index] == pytest.approx(deep, rel=1e-9)
        assert spectrum.transit_time_days[index] == pytest.approx(middle, abs=1e-9)


def test_flat_chi_square_is_relative_to_the_weighted_mean() -> None:
    noise = np.random.default_rng(1).uniform(1e-4, 1e-3, 200)
    points = make_box_points(np.linspace(0, 10, 200), 3.0, 1.0, 0.2, noise=noise)
    mean = np.average(points.flux, weights=noise**-2)
    expected = np.sum(((points.flux - mean) / noise) ** 2)
    assert search_boxes(points, build_grid(10.0, 1.0, 5.0)).flat == pytest.approx(expected, rel=1e-9)


# Against astropy


FINE = 24  # bins per duration, enough to make the position of bins irrelevant


def search_by_astropy(points: Points, periods: Floats, duration_days: float) -> tuple[Floats, Floats, Floats]:
    """Return gain, depth and time as computed by astropy."""
    model = BoxLeastSquares(points.time, points.flux, points.noise)
    results = model.power(periods, duration_days, oversample=FINE, objective="likelihood")
    # Its likelihood ignores the uncertainty of the level outside: the gain is 2 (1 - x) times the likelihood, with x
    # the share of the weight in the box and x (1 - x) W = depth_err**-2.
    q = np.asarray(results.depth_err) ** -2 / np.sum(points.noise**-2)
    outside = 0.5 + np.sqrt(np.maximum(0.25 - q, 0.0))
    return 2 * np.asarray(results.power) * outside, np.asarray(results.depth), np.asarray(results.transit_time)


@pytest.mark.parametrize("period_days", [1.9, 3.1, 6.4])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_result_agrees_with_astropy(monkeypatch: pytest.MonkeyPatch, period_days: float, share: float) -> None:
    monkeypatch.setattr(boxes, "_POINTS_PER_DURATION", math.inf)  # astropy does not bin points
    time = make_times(cadence_days=TEN_MINUTES_DAYS)
    points = make_box_points(time, period_days, share * period_days, 0.25)
    periods = build_grid(27.0, 0.8, 13.0).period_days
    spectrum = search_boxes(points, make_one_duration_grid(periods, 0.25), FINE)
    gain, depth, middle = search_by_astropy(points, periods, 0.25)
    best = int(np.argmax(spectrum.gain))
    assert best == int(np.argmax(gain))
    assert spectrum.gain[best] == pytest.approx(gain[best], rel=0.05)  # our periods have a whole number of bins
    assert spectrum.depth[best] == pytest.approx(depth[best], rel=0.03)
    assert spectrum.transit_time_days[best] == pytest.approx(middle[best], abs=0.02)
    assert np.median(spectrum.gain / gain) == pytest.approx(1.0, abs=0.002)  # mostly the same box


def compute_gains_at_each_phase(time: Floats, periods: Floats, durations: Floats) -> tuple[Floats, Floats]:
    """Return the highest gains of ours and astropy's for noiseless transits that begin at each tenth of the fold."""
    ours, theirs = [], []
    for share in np.arange(10) / 10:
        flux = 1.0 - 0.001 * is_inside_box(time, 3.0, share * 3.0, 0.3)
        points = Points(time, np.asarray(flux), np.full(len(time), 2e-4))
        ours.append(search_boxes(points, Grid(periods, durations[0] / periods, durations[-1] / periods)).gain.max())
        model = BoxLeastSquares(time, flux, points.noise)
        theirs.append(2 * model.power(periods, durations, oversample=6, objective="likelihood").power.max())
    return np.array(ours), np.array(theirs)


def test_box_may_wrap_around_the_end_of_the_folded_curve() -> None:
    """Check the reason for our own kernel: astropy loses a quarter of such a transit if it also tries shorter ones."""
    durations = np.array([0.05, 0.1, 0.2, 0.3])
    ours, theirs = compute_gains_at_each_phase(
        make_times(cadence_days=TEN_MINUTES_DAYS), np.array([2.99, 3.0, 3.01]), durations
    )
    assert ours[0] == pytest.approx(ours[5], rel=0.03)
    assert ours.min() > 0.85 * ours.max()  # wide boxes begin at every sixth of their width
    assert theirs[0] < 0.75 * theirs[5]
    assert theirs[1:].min() > 0.95 * theirs.max()


# Dense curves


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("gaps", [(), ((11.0, 13.5), (20.0, 20.4))])
def test_binning_keeps_the_gain(
    monkeypatch: pytest.MonkeyPatch, seed: int, gaps: tuple[tuple[float, float], ...]
) -> None:
    points = make_box_points(make_times(gaps=gaps), 5.3, 1.0, 0.2, depth=5e-4, noise=1e-3, seed=seed)
    grid = build_grid(27.0, 4.0, 7.0)
    binned = search_boxes(points, grid)
    monkeypatch.setattr(boxes, "_POINTS_PER_DURATION", math.inf)
    exact = search_boxes(points, grid)
    best = int(np.argmax(exact.gain))
    assert binned.gain[best] == pytest.approx(exact.gain[best], rel=0.03)
    assert binned.depth[best] == pytest.approx(exact.depth[best], rel=0.05)
    assert binned.transit_time_days[best] == pytest.approx(exact.transit_time_days[best], abs=0.02)
    assert abs(int(np.argmax(binned.gain)) - best) <= 1


def test_binning_leaves_at_least_six_points_in_the_shortest_box() -> None:
    grid = build_grid(27.0, 0.6, 13.0)
    factors = boxes._choose_bin_factors(make_times(), grid)
    points = grid.min_share * grid.period_days / (factors * TWO_MINUTES_DAYS)
    assert points.min() >= 6
    assert points.max() < 12
    assert set(factors) == {2, 4}
    assert np.all(boxes._choose_bin_factors(make_times(cadence_days=1 / 48), grid) == 1)


def test_binning_keeps_weight_and_sums() -> None:
    time = make_times(days=3.0, gaps=[(1.0, 1.6)])
    weight = np.random.default_rng(0).uniform(1.0, 2.0, len(time))
    middle, binned, deficit = boxes._bin_curve(time, weight, 0.5 * weight, 8)
    assert len(middle) == pytest.approx(len(time) / 8, abs=3)
    assert binned.sum() == pytest.approx(weight.sum())
    assert deficit == pytest.approx(0.5 * binned)
    assert np.average(middle, weights=binned) == pytest.approx(np.average(time, weights=weight))
    assert not np.any((middle > 1.001) & (middle < 1.599))


# Other curves


def test_brightening_is_not_a_dimming() -> None:
    """Reject the rest of the curve, which is dimmer than the mean of the brightening and the rest."""
    time = make_times(cadence_days=TEN_MINUTES_DAYS)
    grid = build_grid(27.0, 2.0, 4.0)
    bump = 0.001 * is_inside_box(time, 3.0, 1.0, 0.15)
    noise = np.full(len(time), 2e-4)
    up, down = (search_boxes(Points(time, np.asarray(1.0 + sign * bump), noise), grid) for sign in (1, -1))
    assert up.gain.max() < 0.02 * down.gain.max()
    assert up.depth.max() < 0.1 * down.depth.max()


def test_result_does_not_depend_on_the_time_origin() -> None:
    time = make_times(cadence_days=TEN_MINUTES_DAYS)
    grid = build_grid(27.0, 0.6, 13.0)
    near = search_boxes(make_box_points(time, 3.0, 1.0, 0.15), grid)
    points = make_box_points(time, 3.0, 1.0, 0.15)
    far = search_boxes(Points(points.time + TESS_EPOCH_DAYS, points.flux, points.noise), grid)
    best = int(np.argmax(near.gain))
    assert int(np.argmax(far.gain)) == best
    assert far.gain[best] == pytest.approx(near.gain[best], rel=1e-3)
    assert far.transit_time_days[best] - TESS_EPOCH_DAYS == pytest.approx(near.transit_time_days[best], abs=1e-3)
    assert np.median(np.abs(far.gain - near.gain)) < 1e-3 * np.median(near.gain)


@pytest.mark.parametrize("level", [1.0, 0.9993, 0.0])
def test_constant_flux_gives_no_dimming_and_no_nan(level: float) -> None:
    time = make_times(cadence_days=TEN_MINUTES_DAYS)
    spectrum = search_boxes(Points(time, np.full(len(time), level), np.full(len(time), 1e-4)), build_grid(27, 1, 13))
    for values in (spectrum.gain, spectrum.depth, spectrum.duration_days, spectrum.transit_time_days):
        assert np.all(np.isfinite(values))
    assert spectrum.gain.max() < 1e-9
    assert spectrum.flat < 1e-9


def test_points_in_a_single_bin_give_no_box() -> None:
    """Fold at the time between two nights, so that all points are in the box and none outside."""
    time = np.concatenate([np.linspace(day, day + 0.02, 20) for day in range(8)])
    spectrum = search_boxes(make_box_points(time, 2.0, 0.0, 0.2), make_one_duration_grid(np.array([1.0]), 0.12))
    assert np.isfinite(spectrum.gain).all()
    number = np.floor(time % 1.0 / 0.02).astype(int)
    assert number.max() <= 1


def test_get_signal_returns_the_box_at_an_index() -> None:
    time = make_times(cadence_days=TEN_MINUTES_DAYS)
    spectrum = search_boxes(make_box_points(time, 3.0, 1.0, 0.15), build_grid(27.0, 2.0, 4.0))
    best = int(np.argmax(spectrum.gain))
    signal = spectrum.get_signal(best)
    assert (signal.period_days, signal.duration_days) == (spectrum.period_days[best], spectrum.duration_days[best])
    assert signal.transit_time_days == pytest.approx(1.0, abs=0.05)
    assert signal.period_days == pytest.approx(3.0, abs=0.01)


def test_two_runs_give_the_same_bytes() -> None:
    def run() -> bytes:
        spectrum: BoxSpectrum = search_boxes(
            make_box_points(make_times(cadence_days=TEN_MINUTES_DAYS), 3.0, 1.0, 0.15), build_grid(27.0, 0.6, 13.0)
        )
        parts = (spectrum.gain, spectrum.depth, spectrum.duration_days, spectrum.transit_time_days)
        return b"".join(part.tobytes() for part in parts)

    assert run() == run()
