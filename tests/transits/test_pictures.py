"""Pictures of stars, and the choice of those that the report shows.

`curve` makes a light curve with transits that are known; `real` is a TESS sector of WASP-126 as it was observed.
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
from tasks.transits.pictures import folding, scales, words
from tasks.transits.pictures.canvas import Canvas, Words, drawable, fitted, width_px
from tasks.transits.pictures.gallery import Drawn, best_pictures, drawn
from tasks.transits.pictures.panel import COLOURS, WIDTH_PX, Panel
from tasks.transits.pictures.star import star_picture
from tests.transits.synthetic import Planet

ROOT = Path(__file__).resolve().parents[2]
TIMES = np.arange(0, 27, 1 / 48)
EMPTY = {column.name: None for column in COLUMNS}


def curve(time=TIMES, candidates=(), noise=2e-4, segments=1) -> PreparedLightCurve:
    """A star with the trapezoids of ``candidates``, white noise and a slow trend."""
    flux = 1 + noise * np.random.default_rng(1).normal(size=len(time))
    for one in candidates:
        flux[folding.in_transit(time, one)] -= one.depth
    trend = 1 + 0.002 * np.sin(time / 3)
    segment = np.minimum(np.arange(len(time)) * segments // len(time), segments - 1)
    of = tuple(Segment(f"S{number + 1}", "TESS", "SPOC", 1800.0, "BTJD") for number in range(segments))
    return PreparedLightCurve(
        time, flux, np.full(len(time), noise), trend, flux * trend, segment, of, Star(1.1, 0.9, 5600.0)
    )


def periodogram(peak: float, height: float = 12.0) -> Periodogram:
    period = np.geomspace(0.6, 13, 3000)
    power = np.abs(np.random.default_rng(2).normal(size=3000)) + height * np.exp(-(((period / peak - 1) / 0.003) ** 2))
    return Periodogram(period, power)


def make_candidate(number=1, period=3.1, time=TIMES, tls=True, **changes) -> Candidate:
    fit = TlsFit(period, 1.0, 0.16, 0.004, 14.0, 0.9) if tls else None
    used = np.ones(len(time), dtype=bool)
    found = Candidate(number, period, 2e-4, 1.0, 0.15, 0.004, 5e-5, 0.1, 80.0, 12.0, used, periodogram(period), fit)
    return dataclasses.replace(found, **changes)


def row(**values):
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


def decoded(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def has_colour(picture: np.ndarray, colour: str) -> bool:
    """Whether at least 50 pixels are of about that colour; the picture has a palette of 256."""
    wanted = np.array([int(colour[place : place + 2], 16) for place in (5, 3, 1)])
    return bool((np.abs(picture.astype(int) - wanted).max(axis=2) < 16).sum() >= 50)


def test_each_candidate_has_a_row_and_a_colour() -> None:
    heights = []
    for count in range(4):
        found = [make_candidate(number, 3.1 * number) for number in range(1, count + 1)]
        picture = decoded(star_picture(curve(candidates=found), found, [row()] * count, "TIC 1"))
        heights.append(picture.shape[0])
        assert picture.shape[1] == WIDTH_PX
        assert [has_colour(picture, colour) for colour in COLOURS[:3]] == [number < count for number in range(3)]
    assert heights[2] - heights[1] == heights[3] - heights[2] > 200


def test_more_candidates_than_rows_are_told_of() -> None:
    found = [make_candidate(number, 2.0 + number) for number in range(1, 6)]
    three = star_picture(curve(), found[:3], [row()] * 3, "TIC 1")
    five = star_picture(curve(), found, [row()] * 5, "TIC 1")
    assert 0 < decoded(five).shape[0] - decoded(three).shape[0] < 40


def test_a_real_star_is_drawn_where_its_transits_are(shared_data: Path) -> None:
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
    means = folding.bins(folded, 0.5)
    assert abs(means.flux[np.abs(means.hours) < 1].mean() - (1 - 0.0067)) < 0.0005
    assert len(folding.transit_times(real, wasp)) == 8
    picture = decoded(star_picture(real, [wasp], [row()], "WASP-126"))
    assert has_colour(picture, COLOURS[0])


@pytest.mark.parametrize(
    ("defect", "time", "found"),
    [
        ("one transit", TIMES, {"period": 40.0}),
        ("shorter than its duration", TIMES, {"period": 0.1}),
        ("no depth", TIMES, {"depth": 0.0}),
        ("a brightening", TIMES, {"depth": -0.001}),
        ("an eclipse to nothing", TIMES, {"depth": 0.99, "ingress_fraction": 0.5}),
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
def test_odd_stars_have_a_picture_too(defect: str, time: np.ndarray, found: dict[str, float]) -> None:
    one = make_candidate(time=time, **found)
    picture = decoded(star_picture(curve(time, segments=3), [one], [EMPTY], defect))
    assert has_colour(picture, COLOURS[0])


def test_constant_noiseless_flux_has_a_picture() -> None:
    flat = dataclasses.replace(curve(noise=1e-9), trend=np.ones_like(TIMES), observed=np.ones_like(TIMES))
    assert decoded(star_picture(flat, [], [EMPTY], "flat")).shape[1] == WIDTH_PX


def test_a_masked_row_with_nan_and_infinities_is_drawn_without_them() -> None:
    broken = row(odd_depth_ppm=float("nan"), secondary_phase=float("inf"), secondary_depth_ppm=None, snr=None)
    assert decoded(star_picture(curve(), [make_candidate()], [broken], "TIC 1")).shape[1] == WIDTH_PX


def test_rows_must_fit_the_candidates() -> None:
    with pytest.raises(ValueError, match="shorter"):
        star_picture(curve(), [make_candidate()], [], "TIC 1")


def test_the_same_star_gives_the_same_bytes_whatever_matplotlib_is_told(tmp_path: Path) -> None:
    """In another process, with a user's own matplotlibrc, another hash seed and no home that can be written."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import importlib.util, hashlib\n"
        "spec = importlib.util.spec_from_file_location('test_pictures', sys.argv[2])\n"
        "m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)\n"
        "c = m.candidate(); sys.stdout.buffer.write(m.star_picture(m.curve(candidates=[c]), [c], [m.row()], 'TIC 1'))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    (tmp_path / "matplotlibrc").write_text(
        "font.family: serif\ntext.usetex: True\npath.simplify_threshold: 1\nagg.path.chunksize: 30\n"
        "lines.linewidth: 9\nfigure.dpi: 200\npath.snap: False\nlines.antialiased: False\n"
    )
    env = {**os.environ, "MPLCONFIGDIR": str(tmp_path), "PYTHONHASHSEED": "7", "HOME": "/nonexistent"}
    command = [sys.executable, "-c", script, str(ROOT), str(Path(__file__).resolve())]
    other = subprocess.run(command, check=True, capture_output=True, env=env, cwd=tmp_path).stdout
    one = make_candidate()
    assert star_picture(curve(candidates=[one]), [one], [row()], "TIC 1") == other


def test_png_has_no_metadata() -> None:
    png = star_picture(curve(), [], [EMPTY], "TIC 1")
    kinds = []
    place = 8
    while place < len(png):
        kinds.append(png[place + 4 : place + 8])
        place += 12 + int.from_bytes(png[place : place + 4], "big")
    assert set(kinds) <= {b"IHDR", b"PLTE", b"IDAT", b"IEND"}


@pytest.mark.parametrize(
    "title", ["$\\frac{x$ \\alpha", "a\nb\t\x00\x1b[31m", "\u661f TIC \U0001f6f0 \u202e", "x" * 5000, "", "\ud800"]
)
def test_titles_are_text_and_nothing_else(title: str) -> None:
    assert decoded(star_picture(curve(), [], [EMPTY], title)).shape[1] == WIDTH_PX


def test_characters_that_the_font_lacks_are_replaced() -> None:
    assert drawable("α Cen\n\u661f R\u2609 \x1b[0m") == "α Cen ? R\u2609 ?[0m"


def test_long_words_end_in_an_ellipsis() -> None:
    style = Words(14)
    short = fitted("planet " * 80, style, 200)
    assert short.endswith("…")
    assert 150 < width_px(short, style) <= 200
    assert fitted("planet", style, 200) == "planet"


# Why there is none


def test_a_star_without_candidates_says_why() -> None:
    weak = periodogram(3.1, height=5.0)
    assert words.why_none([EMPTY], weak, 7.0).startswith("No candidate. The highest peak has SDE ")
    assert words.why_none([EMPTY], weak, 7.0).endswith("days, below 7.")
    assert "no significant transits that repeat" in words.why_none([EMPTY], weak, 3.0)
    masked = {**EMPTY, "mask_reasons": f"period_days={Reason.TOO_FEW_POINTS};snr={Reason.TOO_FEW_POINTS}"}
    assert words.why_none([masked], None, 7.0) == "No candidate: too few cadences of good quality to search in."
    assert words.why_none([], None, 7.0) == "No candidate: nothing was searched."


def test_the_line_on_the_curve_joins_segments_of_one_kind() -> None:
    assert words.about_curve(curve(segments=2)).startswith("TESS S1, S2 (SPOC, 1800 s)  ·  1,296 points in 27.0 days")
    assert "TESS S1 … S9, 9 segments (SPOC, 1800 s)" in words.about_curve(curve(segments=9))


def test_numbers_have_the_digits_of_their_errors() -> None:
    said = dict(words.facts(make_candidate(period=3.288664, period_uncertainty_days=3.3e-5), row(), "BTJD"))
    assert said["Period"] == "3.288664(33) d"
    assert said["Depth"] == "4000 ± 50 ppm"
    assert said["Radius ratio"] == "–"
    assert (
        dict(words.facts(make_candidate(period_uncertainty_days=None, tls=False), row(), "BTJD"))["Period"]
        == "3.10000 d"
    )


# Folding and models


def test_odd_transits_are_the_first_third_and_fifth() -> None:
    one = make_candidate()
    folded = folding.fold(curve(), one, 0.0, 0.2)
    assert sorted(set(folded.epoch.tolist())) == list(range(9))
    assert np.abs(folded.hours).max() <= 24 * 0.2 + 1e-9


def test_means_recover_the_depth_and_their_errors_the_noise() -> None:
    one = make_candidate()
    means = folding.bins(folding.fold(curve(candidates=[one]), one, 0.0, 0.06), 100.0)
    assert means.flux == pytest.approx([1 - one.depth], abs=5 * means.error[0])
    inside = np.count_nonzero(np.abs((TIMES - 1 + 1.55) % 3.1 - 1.55) <= 0.06)
    assert means.error == pytest.approx([2e-4 / np.sqrt(inside)])


@pytest.mark.parametrize("ingress", [0.0, 0.1, 0.3, 0.5])
def test_the_trapezoid_has_its_depth_at_the_floor(ingress: float) -> None:
    one = make_candidate(ingress_fraction=ingress)
    hours, flux = folding.trapezoid(one, 10.0)
    assert flux.min() == pytest.approx(1 - one.depth)
    assert np.trapezoid(1 - flux, hours) == pytest.approx(24 * one.duration_days * one.depth * (1 - ingress))


def test_the_transit_of_tls_is_round_symmetric_and_as_deep_as_it_says() -> None:
    one = make_candidate()
    assert one.tls is not None
    late = dataclasses.replace(one.tls, transit_time_days=1.0 + 5 * one.period_days + 0.01)
    hours, flux = folding.tls_transit(late, one, 13.0, 10.0)
    middle = hours[np.argmin(flux)]
    assert middle == pytest.approx(0.24, abs=0.05)
    assert flux.min() == pytest.approx(1 - late.depth)
    assert flux[1:-1] == pytest.approx(flux[1:-1][::-1], abs=1e-5)


def test_tls_with_another_period_is_shown_as_it_lies_in_the_middle_of_the_curve() -> None:
    one = make_candidate()
    assert one.tls is not None
    drifting = dataclasses.replace(one.tls, period_days=one.period_days + 0.01)
    hours, flux = folding.tls_transit(drifting, one, 1.0 + 5 * one.period_days, 10.0)
    assert np.median(hours[flux < flux.min() + 1e-4]) == pytest.approx(24 * 5 * 0.01, abs=0.1)


def test_the_transit_of_tls_is_that_of_batman() -> None:
    planet = Planet(radius_ratio=0.03, limb_darkening=(0.4804, 0.1867), scaled_axis=200.0, period_days=300.0)
    one = make_candidate(period=300.0, transit_time_days=0.0)
    fit = TlsFit(300.0, 0.0, planet.duration_days, 0.001, 14.0, 0.9)
    hours, flux = folding.tls_transit(fit, one, 0.0, 10.0)
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
def test_ticks_stand_at_round_values(low: float, high: float, labels: list[str]) -> None:
    assert [tick.label for tick in scales.Linear(low, high).ticks(5)] == labels


def test_ticks_of_a_logarithmic_axis() -> None:
    assert [tick.label for tick in scales.Log(0.5, 20).ticks(12)] == ["0.5", "1", "2", "5", "10", "20"]
    assert [tick.label for tick in scales.Log(2.1, 3.4).ticks(12)] == ["2.2", "2.4", "2.6", "2.8", "3", "3.2", "3.4"]
    assert [tick.label for tick in scales.Log(0.001, 1000).ticks(8)] == [
        "0.001",
        "0.01",
        "0.1",
        "1",
        "10",
        "100",
        "1000",
    ]


def test_long_gaps_are_shortened_and_short_ones_kept() -> None:
    scale = scales.time_scale(np.concatenate([TIMES, TIMES + 720]))
    assert len(scale.breaks()) == 1
    places = scale.places(np.array([0.0, TIMES[-1], 720.0, 720.0 + TIMES[-1]]))
    assert places[1] - places[0] == pytest.approx(places[3] - places[2])
    assert places[2] - places[1] < 0.03
    assert scales.time_scale(TIMES[(TIMES < 10) | (TIMES > 15)]).breaks() == []
    assert len(scales.time_scale(np.arange(0, 1100, 11.0)).breaks()) == 20


def test_dots_lie_in_their_pixels_and_others_are_counted() -> None:
    from tasks.transits.pictures.canvas import Box

    canvas = Canvas(100, 100)
    panel = Panel(canvas, Box(10, 20, 80, 60), scales.Linear(0, 8), scales.Linear(0, 6))
    beyond = panel.dots(np.array([2.05, 4.0, 9.0]), np.array([3.95, -1.0, 3.0]))
    picture = decoded(canvas.png())
    dark = np.argwhere(picture.max(axis=2) < 160)
    assert beyond == 2
    assert dark.mean(axis=0) == pytest.approx([40, 30], abs=1)


# The gallery


def published(folder: Path, star_id: str, **values) -> Drawn:
    """A star with a picture, and a row with ``values`` for each of ``values['sde']``."""
    png = cv2.imencode(".png", np.full((600, 1200, 3), 200, np.uint8))[1].tobytes()
    path = folder / "plots" / f"{star_id}.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(png)
    rows = [
        row(candidate_number=number, sde=sde, false_positive_flags=flags, period_days=3.1, snr=20.0)
        for number, (sde, flags) in enumerate(values.get("found", []), start=1)
    ]
    return drawn(star_id, f"plots/{star_id}.png", hashlib.sha256(png).hexdigest(), rows or [EMPTY])


def test_the_best_are_unflagged_then_by_sde_then_by_id(tmp_path: Path) -> None:
    stars = [
        published(tmp_path, "flagged", found=[(99.0, "weak")]),
        published(tmp_path, "second", found=[(20.0, "")]),
        published(tmp_path, "b", found=[(15.0, "")]),
        published(tmp_path, "a", found=[(15.0, "")]),
        published(tmp_path, "mixed", found=[(80.0, "weak"), (16.0, "")]),
        published(tmp_path, "none"),
        published(tmp_path, "unmeasured", found=[(None, "")]),
    ]
    assert [picture.title for picture in best_pictures(stars, tmp_path)] == ["second", "mixed", "a", "b", "flagged"]
    assert [picture.title for picture in best_pictures(reversed(stars), tmp_path, most=2)] == ["second", "mixed"]
    again = [Drawn(**json.loads(json.dumps(dataclasses.asdict(star)))) for star in stars]
    assert best_pictures(again, tmp_path) == best_pictures(stars, tmp_path)


def test_pictures_are_made_small_and_told_of(tmp_path: Path) -> None:
    found = [(20.0, ""), (9.0, "v_shape;weak"), (8.0, ""), (7.5, "")]
    (picture,) = best_pictures([published(tmp_path, "a", found=found)], tmp_path)
    assert picture.media_type == "image/webp"
    assert cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR).shape == (450, 900, 3)
    assert picture.caption == (
        "1: 3.1 d, 4000 ppm, SNR 20.0, SDE 20.0, no flags; 2: 3.1 d, 4000 ppm, SNR 20.0, SDE 9.0, v shape, weak; "
        "3: 3.1 d, 4000 ppm, SNR 20.0, SDE 8.0, no flags; and 1 more"
    )


def test_pictures_that_are_gone_or_altered_are_not_shown(tmp_path: Path) -> None:
    gone, altered = (published(tmp_path, name, found=[(20.0, "")]) for name in ("gone", "altered"))
    (tmp_path / gone.path).unlink()
    (tmp_path / altered.path).write_bytes(b"something else")
    no_picture = dataclasses.replace(altered, sha256=hashlib.sha256(b"something else").hexdigest())
    assert best_pictures([gone, altered, no_picture], tmp_path) == []


def test_the_gallery_needs_no_matplotlib() -> None:
    script = "import sys, tasks.transits.pictures.gallery, tasks.transits.table; print('matplotlib' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT)
    assert found.stdout.strip() == "False"
