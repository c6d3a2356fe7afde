"""Tests the plots of stars, and the choice of plots for the report.

``make_curve`` returns a light curve with injected transits; ``real`` is a TESS sector of WASP-126.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.transits.candidate import Candidate, Periodogram, TlsFit
from tasks.transits.columns import COLUMNS, Reason
from tasks.transits.light_curve import PreparedLightCurve, Segment, Star
from tasks.transits.plots import folding, scales, words
from tasks.transits.plots.canvas import Canvas, Words, fit_text, make_drawable, measure_width_px
from tasks.transits.plots.gallery import StarPlot, choose_best_plots, describe_plot
from tasks.transits.plots.panel import COLOURS, WIDTH_PX, Panel
from tasks.transits.plots.star import draw_star
from tests.transits.synthetic import Planet

ROOT = Path(__file__).resolve().parents[2]
TIMES = np.arange(0, 27, 1 / 48)
EMPTY = {column.name: None for column in COLUMNS}


def make_curve(time=TIMES, candidates=(), noise=2e-4, segments=1) -> PreparedLightCurve:
    """Return a star with the trapezoids of ``candidates``, white noise and a slow trend."""
    flux = 1 + noise * np.random.default_rng(1).normal(size=len(time))
    for candidate in candidates:
        flux[folding.find_in_transit(time, candidate)] -= candidate.depth
    trend = 1 + 0.002 * np.sin(time / 3)
    segment = np.minimum(np.arange(len(time)) * segments // len(time), segments - 1)
    of = tuple(Segment(f"S{number + 1}", "TESS", "SPOC", 1800.0, "BTJD") for number in range(segments))
    return PreparedLightCurve(
        time, flux, np.full(len(time), noise), trend, flux * trend, segment, of, Star(1.1, 0.9, 5600.0)
    )


def make_periodogram(peak: float, height: float = 12.0) -> Periodogram:
    period = np.geomspace(0.6, 13, 3000)
    power = np.abs(np.random.default_rng(2).normal(size=3000)) + height * np.exp(-(((period / peak - 1) / 0.003) ** 2))
    return Periodogram(period, power)


def make_candidate(number=1, period=3.1, time=TIMES, tls=True, **changes) -> Candidate:
    fit = TlsFit(period, 1.0, 0.16, 0.004, 14.0, 0.9) if tls else None
    used = np.ones(len(time), dtype=bool)
    found = Candidate(
        number, period, 2e-4, 1.0, 0.15, 0.004, 5e-5, 0.1, 80.0, 12.0, used, make_periodogram(period), fit
    )
    return dataclasses.replace(found, **changes)


def make_row(**values):
    known = {
        "depth_ppm": 4000.0,
        "depth_uncertainty_ppm": 50.0,
        "odd_depth_ppm": 3950.0,
        "even_depth_ppm": 4050.0,
        "odd_even_mismatch_sigma": 1.1,
        "secondary_depth_ppm": 60.0,
        "secondary_phase": 0.42,
        "secondary_significance": 1.7,
        "transits_observed": 9,
        "transits_expected": 9,
        "false_positive_flags": "",
    }
    return {**EMPTY, **known, **values}


def decode(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def has_colour(image: np.ndarray, colour: str) -> bool:
    """Return True if at least 50 pixels have about that colour; the image has a palette of 256."""
    target = np.array([int(colour[place : place + 2], 16) for place in (5, 3, 1)])
    return bool((np.abs(image.astype(int) - target).max(axis=2) < 16).sum() >= 50)


def test_each_candidate_has_a_row_and_a_colour() -> None:
    heights = []
    for count in range(4):
        found = [make_candidate(number, 3.1 * number) for number in range(1, count + 1)]
        image = decode(draw_star(make_curve(candidates=found), found, [make_row()] * count, "TIC 1"))
        heights.append(image.shape[0])
        assert image.shape[1] == WIDTH_PX
        assert [has_colour(image, colour) for colour in COLOURS[:3]] == [number < count for number in range(3)]
    assert heights[2] - heights[1] == heights[3] - heights[2] > 200


def test_note_states_the_number_of_candidates_without_rows() -> None:
    found = [make_candidate(number, 2.0 + number) for number in range(1, 6)]
    three = draw_star(make_curve(), found[:3], [make_row()] * 3, "TIC 1")
    five = draw_star(make_curve(), found, [make_row()] * 5, "TIC 1")
    assert 0 < decode(five).shape[0] - decode(three).shape[0] < 40


def test_transits_of_a_real_star_are_drawn(shared_data: Path) -> None:
    from scipy.ndimage import median_filter

    from tasks.transits.reading import read_light_curve

    file = shared_data / "lightcurves" / "tess2018206045859-s0001-0000000025155310-0120-s_lc.fits"
    found = read_light_curve([file], Star(), "pdcsap")
    trend = median_filter(found.flux, 721)
    flux = found.flux / trend
    noise = np.full(len(flux), 1.4826 * np.median(np.abs(flux - 1)))
    real = PreparedLightCurve(found.time, flux, noise, trend, found.flux, found.segment, found.segments, found.star)
    wasp = make_candidate(
        period=3.28879, time=real.time, transit_time_days=1327.52, duration_days=0.141, depth=0.0061, tls=False
    )
    folded = folding.fold(real, wasp, 0.0, 0.2)
    means = folding.average_bins(folded, 0.5)
    assert abs(means.flux[np.abs(means.hours) < 1].mean() - (1 - 0.0067)) < 0.0005
    assert len(folding.list_transit_times(real, wasp)) == 8
    image = decode(draw_star(real, [wasp], [make_row()], "WASP-126"))
    assert has_colour(image, COLOURS[0])


@pytest.mark.parametrize(
    ("defect", "time", "found"),
    [
        ("one transit", TIMES, {"period": 40.0}),
        ("shorter than its duration", TIMES, {"period": 0.1}),
        ("no depth", TIMES, {"depth": 0.0}),
        ("a brightening", TIMES, {"depth": -0.001}),
        ("a total eclipse", TIMES, {"depth": 0.99, "ingress_fraction": 0.5}),
        ("no points in transit", TIMES[(TIMES % 3.1 < 0.8) | (TIMES % 3.1 > 1.3)], {}),
        ("fifty points", np.linspace(0, 20, 50), {}),
        ("sectors years apart", np.concatenate([TIMES, TIMES + 720, TIMES + 1400]), {}),
        ("Julian dates", TIMES + 2_458_325.0, {}),
        ("every point a gap", np.arange(60) * 11.0, {"period": 30.0}),
        ("no error of the period", TIMES, {"period_uncertainty_days": None}),
        ("a peak that is not in its periodogram", TIMES, {"sde": 900.0}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unusual_stars_can_be_drawn(defect: str, time: np.ndarray, found: dict[str, float]) -> None:
    candidate = make_candidate(time=time, **found)
    image = decode(draw_star(make_curve(time, segments=3), [candidate], [EMPTY], defect))
    assert has_colour(image, COLOURS[0])


def test_constant_flux_can_be_drawn() -> None:
    flat = dataclasses.replace(make_curve(noise=1e-9), trend=np.ones_like(TIMES), observed=np.ones_like(TIMES))
    assert decode(draw_star(flat, [], [EMPTY], "flat")).shape[1] == WIDTH_PX


def test_row_with_nan_and_infinities_can_be_drawn() -> None:
    broken = make_row(odd_depth_ppm=float("nan"), secondary_phase=float("inf"), secondary_depth_ppm=None, snr=None)
    assert decode(draw_star(make_curve(), [make_candidate()], [broken], "TIC 1")).shape[1] == WIDTH_PX


def test_rows_must_match_the_candidates() -> None:
    with pytest.raises(ValueError, match="shorter"):
        draw_star(make_curve(), [make_candidate()], [], "TIC 1")


def test_same_star_gives_the_same_bytes_with_any_matplotlibrc(tmp_path: Path) -> None:
    """Draw in another process, with a user's own matplotlibrc, another hash seed and no writable home. # Text"""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import importlib.util, hashlib\n"
        "spec = importlib.util.spec_from_file_location('test_plots', sys.argv[2])\n"
        "m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)\n"
        "c = m.make_candidate(); curve = m.make_curve(candidates=[c])\n"
        "sys.stdout.buffer.write(m.draw_star(curve, [c], [m.make_row()], 'TIC 1'))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    (tmp_path / "matplotlibrc").write_text(
        "font.family: serif\ntext.usetex: True\npath.simplify_threshold: 1\nagg.path.chunksize: 30\n"
        "lines.linewidth: 9\nfigure.dpi: 200\npath.snap: False\nlines.antialiased: False\n"
    )
    env = {**os.environ, "MPLCONFIGDIR": str(tmp_path), "PYTHONHASHSEED": "7", "HOME": "/nonexistent"}
    command = [sys.executable, "-c", script, str(ROOT), str(Path(__file__).resolve())]
    other = subprocess.run(command, check=True, capture_output=True, env=env, cwd=tmp_path).stdout
    candidate = make_candidate()
    assert draw_star(make_curve(candidates=[candidate]), [candidate], [make_row()], "TIC 1") == other


def test_png_has_no_metadata() -> None:
    png = draw_star(make_curve(), [], [EMPTY], "TIC 1")
    kinds = []
    place = 8
    while place < len(png):
        kinds.append(png[place + 4 : place + 8])
        place += 12 + int.from_bytes(png[place : place + 4], "big")
    assert set(kinds) <= {b"IHDR", b"PLTE", b"IDAT", b"IEND"}


@pytest.mark.parametrize(
    "title", ["$\\frac{x$ \\alpha", "a\nb\t\x00\x1b[31m", "\u661f TIC \U0001f6f0 \u202e", "x" * 5000, "", "\ud800"]
)
def test_titles_are_drawn_as_plain_text(title: str) -> None:
    assert decode(draw_star(make_curve(), [], [EMPTY], title)).shape[1] == WIDTH_PX


def test_characters_that_the_font_lacks_are_replaced() -> None:
    assert make_drawable("α Cen\n\u661f R\u2609 \x1b[0m") == "α Cen ? R\u2609 ?[0m"


def test_long_text_ends_in_an_ellipsis() -> None:
    style = Words(14)
    short = fit_text("planet " * 80, style, 200)
    assert short.endswith("…")
    assert 150 < measure_width_px(short, style) <= 200
    assert fit_text("planet", style, 200) == "planet"


# Text


def test_plot_without_candidates_states_the_reason() -> None:
    weak = make_periodogram(3.1, height=5.0)
    assert words.explain_no_candidate([EMPTY], weak, 7.0).startswith("No candidate. The highest peak has SDE ")
    assert words.explain_no_candidate([EMPTY], weak, 7.0).endswith("days, below 7.")
    assert "no significant periodic transits" in words.explain_no_candidate([EMPTY], weak, 3.0)
    masked = {**EMPTY, "mask_reasons": f"period_days={Reason.TOO_FEW_POINTS};snr={Reason.TOO_FEW_POINTS}"}
    assert (
        words.explain_no_candidate([masked], None, 7.0)
        == "No candidate: too few cadences of good quality to search in."
    )
    assert words.explain_no_candidate([], None, 7.0) == "No candidate: no search was run."


def test_description_of_the_curve_merges_similar_segments() -> None:
    assert words.describe_curve(make_curve(segments=2)).startswith(
        "TESS S1, S2 (SPOC, 1800 s)  ·  1,296 points in 27.0 days"
    )
    assert "TESS S1 … S9, 9 segments (SPOC, 1800 s)" in words.describe_curve(make_curve(segments=9))


def test_values_have_the_digits_of_their_errors() -> None:
    said = dict(words.list_facts(make_candidate(period=3.288664, period_uncertainty_days=3.3e-5), make_row(), "BTJD"))
    assert said["Period"] == "3.288664(33) d"
    assert said["Depth"] == "4000 ± 50 ppm"
    assert said["Radius ratio"] == "–"
    assert (
        dict(words.list_facts(make_candidate(period_uncertainty_days=None, tls=False), make_row(), "BTJD"))["Period"]
        == "3.10000 d"
    )


# Folding and models


def test_odd_transits_are_the_first_third_and_fifth() -> None:
    candidate = make_candidate()
    folded = folding.fold(make_curve(), candidate, 0.0, 0.2)
    assert sorted(set(folded.epoch.tolist())) == list(range(9))
    assert np.abs(folded.hours).max() <= 24 * 0.2 + 1e-9


def test_bins_have_the_depth_and_the_standard_error() -> None:
    candidate = make_candidate()
    means = folding.average_bins(folding.fold(make_curve(candidates=[candidate]), candidate, 0.0, 0.06), 100.0)
    assert means.flux == pytest.approx([1 - candidate.depth], abs=5 * means.error[0])
    inside = np.count_nonzero(np.abs((TIMES - 1 + 1.55) % 3.1 - 1.55) <= 0.06)
    assert means.error == pytest.approx([2e-4 / np.sqrt(inside)])


@pytest.mark.parametrize("ingress", [0.0, 0.1, 0.3, 0.5])
def test_trapezoid_has_its_depth_at_the_floor(ingress: float) -> None:
    candidate = make_candidate(ingress_fraction=ingress)
    hours, flux = folding.make_trapezoid(candidate, 10.0)
    assert flux.min() == pytest.approx(1 - candidate.depth)
    assert np.trapezoid(1 - flux, hours) == pytest.approx(
        24 * candidate.duration_days * candidate.depth * (1 - ingress)
    )


def test_tls_transit_is_symmetric_with_the_depth_of_the_fit() -> None:
    candidate = make_candidate()
    assert candidate.tls is not None
    late = dataclasses.replace(candidate.tls, transit_time_days=1.0 + 5 * candidate.period_days + 0.01)
    hours, flux = folding.make_tls_transit(late, candidate, 13.0, 10.0)
    middle = hours[np.argmin(flux)]
    assert middle == pytest.approx(0.24, abs=0.05)
    assert flux.min() == pytest.approx(1 - late.depth)
    assert flux[1:-1] == pytest.approx(flux[1:-1][::-1], abs=1e-5)


def test_tls_transit_with_another_period_is_drawn_for_the_middle_of_the_curve() -> None:
    candidate = make_candidate()
    assert candidate.tls is not None
    drifting = dataclasses.replace(candidate.tls, period_days=candidate.period_days + 0.01)
    hours, flux = folding.make_tls_transit(drifting, candidate, 1.0 + 5 * candidate.period_days, 10.0)
    assert np.median(hours[flux < flux.min() + 1e-4]) == pytest.approx(24 * 5 * 0.01, abs=0.1)


def test_tls_transit_equals_that_of_batman() -> None:
    planet = Planet(radius_ratio=0.03, limb_darkening=(0.4804, 0.1867), scaled_axis=200.0, period_days=300.0)
    candidate = make_candidate(period=300.0, transit_time_days=0.0)
    fit = TlsFit(300.0, 0.0, planet.duration_days, 0.001, 14.0, 0.9)
    hours, flux = folding.make_tls_transit(fit, candidate, 0.0, 10.0)
    expected = 1 - planet.compute_flux(hours[1:-1] / 24 + planet.transit_time_days)
    assert (1 - flux[1:-1]) / 0.001 == pytest.approx(expected / expected.max(), abs=0.01)


# Scales


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 10, ["0", "2", "4", "6", "8", "10"]),
        (-0.5, 0.5, ["−0.4", "−0.2", "0.0", "0.2", "0.4"]),
        (-20_000, 0, ["−20,000", "−15,000", "−10,000", "−5000", "0"]),
    ],
)
def test_ticks_are_at_round_values(low: float, high: float, labels: list[str]) -> None:
    assert [tick.label for tick in scales.Linear(low, high).list_ticks(5)] == labels


def test_logarithmic_ticks_are_at_round_values() -> None:
    assert [tick.label for tick in scales.Log(0.5, 20).list_ticks(12)] == ["0.5", "1", "2", "5", "10", "20"]
    assert [tick.label for tick in scales.Log(2.1, 3.4).list_ticks(12)] == [
        "2.2",
        "2.4",
        "2.6",
        "2.8",
        "3",
        "3.2",
        "3.4",
    ]
    assert [tick.label for tick in scales.Log(0.001, 1000).list_ticks(8)] == [
        "0.001",
        "0.01",
        "0.1",
        "1",
        "10",
        "100",
        "1000",
    ]


def test_only_long_gaps_are_shortened() -> None:
    scale = scales.make_time_scale(np.concatenate([TIMES, TIMES + 720]))
    assert len(scale.get_breaks()) == 1
    places = scale.locate(np.array([0.0, TIMES[-1], 720.0, 720.0 + TIMES[-1]]))
    assert places[1] - places[0] == pytest.approx(places[3] - places[2])
    assert places[2] - places[1] < 0.03
    assert scales.make_time_scale(TIMES[(TIMES < 10) | (TIMES > 15)]).get_breaks() == []
    assert len(scales.make_time_scale(np.arange(0, 1100, 11.0)).get_breaks()) == 20


def test_dots_are_in_their_pixels_and_others_are_counted() -> None:
    from tasks.transits.plots.canvas import Box

    canvas = Canvas(100, 100)
    panel = Panel(canvas, Box(10, 20, 80, 60), scales.Linear(0, 8), scales.Linear(0, 6))
    beyond = panel.draw_dots(np.array([2.05, 4.0, 9.0]), np.array([3.95, -1.0, 3.0]))
    image = decode(canvas.encode_png())
    dark = np.argwhere(image.max(axis=2) < 160)
    assert beyond == 2
    assert dark.mean(axis=0) == pytest.approx([40, 30], abs=1)


# The gallery


def publish_plot(folder: Path, star_id: str, **values) -> StarPlot:
    """Publish a star with a plot, and a row for each of ``values['found']``."""
    png = cv2.imencode(".png", np.full((600, 1200, 3), 200, np.uint8))[1].tobytes()
    path = folder / "plots" / f"{star_id}.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(png)
    rows = [
        make_row(candidate_number=number, sde=sde, false_positive_flags=flags, period_days=3.1, snr=20.0)
        for number, (sde, flags) in enumerate(values.get("found", []), start=1)
    ]
    return describe_plot(star_id, f"plots/{star_id}.png", hashlib.sha256(png).hexdigest(), rows or [EMPTY])


def test_best_plots_are_unflagged_then_by_sde_then_by_id(tmp_path: Path) -> None:
    stars = [
        publish_plot(tmp_path, "flagged", found=[(99.0, "weak")]),
        publish_plot(tmp_path, "second", found=[(20.0, "")]),
        publish_plot(tmp_path, "b", found=[(15.0, "")]),
        publish_plot(tmp_path, "a", found=[(15.0, "")]),
        publish_plot(tmp_path, "mixed", found=[(80.0, "weak"), (16.0, "")]),
        publish_plot(tmp_path, "none"),
        publish_plot(tmp_path, "unmeasured", found=[(None, "")]),
    ]
    assert [image.title for image in choose_best_plots(stars, tmp_path)] == ["second", "mixed", "a", "b", "flagged"]
    assert [image.title for image in choose_best_plots(reversed(stars), tmp_path, max_plots=2)] == ["second", "mixed"]
    again = [StarPlot(**json.loads(json.dumps(dataclasses.asdict(star)))) for star in stars]
    assert choose_best_plots(again, tmp_path) == choose_best_plots(stars, tmp_path)


def test_plots_are_scaled_down_with_captions(tmp_path: Path) -> None:
    found = [(20.0, ""), (9.0, "v_shape;weak"), (8.0, ""), (7.5, "")]
    (image,) = choose_best_plots([publish_plot(tmp_path, "a", found=found)], tmp_path)
    assert image.media_type == "image/webp"
    assert cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR).shape == (450, 900, 3)
    assert image.caption == (
        "1: 3.1 d, 4000 ppm, SNR 20.0, SDE 20.0, no flags; 2: 3.1 d, 4000 ppm, SNR 20.0, SDE 9.0, v shape, weak; "
        "3: 3.1 d, 4000 ppm, SNR 20.0, SDE 8.0, no flags; and 1 more"
    )


def test_missing_or_modified_plots_are_not_shown(tmp_path: Path) -> None:
    missing, modified = (publish_plot(tmp_path, name, found=[(20.0, "")]) for name in ("gone", "altered"))
    (tmp_path / missing.path).unlink()
    (tmp_path / modified.path).write_bytes(b"something else")
    no_picture = dataclasses.replace(modified, sha256=hashlib.sha256(b"something else").hexdigest())
    assert choose_best_plots([missing, modified, no_picture], tmp_path) == []


def test_gallery_does_not_import_matplotlib() -> None:
    script = "import sys, tasks.transits.plots.gallery, tasks.transits.table; print('matplotlib' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT)
    assert found.stdout.strip() == "False"
