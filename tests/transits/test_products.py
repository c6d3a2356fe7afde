"""Every product of the archive is recognized by its header, and its flux, time and quality are read."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from tasks.transits.folder import name_stars
from tasks.transits.formats.products import PRODUCTS
from tasks.transits.light_curve import TIME_ZERO_DAYS, LightCurve, Star
from tasks.transits.params import FluxColumn
from tasks.transits.reading import read_light_curve
from tests.transits.observations import csv_rows, write_csv
from tests.transits.product_files import BKJD, BTJD, DEPTH, DIP, LEVEL, PRODUCT_FILES, make_flux, write_k2sc

JULIAN = {"TESS": BTJD + TIME_ZERO_DAYS["BTJD"], "K2": BKJD + TIME_ZERO_DAYS["BKJD"]}
JULIAN["Kepler"] = JULIAN["K2"]


def read(path: Path, flux: FluxColumn = "pdcsap", mission: str = "") -> LightCurve:
    return read_light_curve([path], Star(), flux, mission)


def check_dip(curve: LightCurve, julian: np.ndarray) -> None:
    """Check that the curve has the dip of :func:`make_flux` at the right time, and the right depth."""
    time = curve.time + TIME_ZERO_DAYS[curve.time_system]
    inside = (time > julian[DIP][0] - 1e-3) & (time < julian[DIP][-1] + 1e-3)
    assert np.count_nonzero(inside) == 6
    assert np.mean(curve.flux[inside]) == pytest.approx(1 - DEPTH, abs=2 * LEVEL)
    assert np.std(curve.flux[~inside]) == pytest.approx(LEVEL, rel=0.1)


@pytest.mark.parametrize("name", PRODUCT_FILES)
@pytest.mark.parametrize("packed", [False, True])
def test_product_is_recognized_under_any_name(tmp_path: Path, name: str, packed: bool) -> None:
    _, write, _ = PRODUCT_FILES[name]
    path = write(tmp_path / "star.fits")
    if packed:
        path.with_suffix(".fits.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = path.with_suffix(".fits.gz")
    curve = read(path)
    segment = curve.segments[0]
    assert segment.author == name
    check_dip(curve, JULIAN[segment.mission])
    assert len(curve.time) == (1000 if name in ("CDIPS", "T16") else 1001), "one cadence is marked as bad"


@pytest.mark.parametrize("name", PRODUCT_FILES)
def test_star_is_recognized_by_the_file_name(name: str) -> None:
    file, _, star = PRODUCT_FILES[name]
    (listed,) = name_stars([f"folder/{file}"])
    assert listed.star == star
    assert listed.part == {"EPIC": 3, "KIC": None}.get(star.partition(" ")[0], 1)


@pytest.mark.parametrize("name", ["QLP", "TGLC", "eleanor-lite", "CDIPS", "EVEREST", "K2SFF", "K2SC", "TESS-SPOC"])
def test_uncorrected_flux_is_read_on_request(tmp_path: Path, name: str) -> None:
    path = PRODUCT_FILES[name][1](tmp_path / "star.fits")
    assert not np.array_equal(read(path, "sap").flux, read(path).flux) or name in ("CDIPS", "QLP", "TESS-SPOC")
    assert read(path, "sap").segments[0].author == name


def test_second_table_of_k2sc_is_that_of_the_uncorrected_flux(tmp_path: Path) -> None:
    curve = read(write_k2sc(tmp_path / "star.fits"), "sap")
    flux = make_flux(2)
    np.testing.assert_allclose(curve.flux, flux / np.median(flux), rtol=1e-6)


def test_every_product_has_a_file_and_a_row_in_the_documentation() -> None:
    names = {product.name for product in PRODUCTS}
    assert names - set(PRODUCT_FILES) == {"K2", "Kepler", "FITS"}, "real files of these are read in other tests"
    page = (Path(__file__).parents[2] / "docs" / "exoplanet_features.md").read_text(encoding="utf-8")
    section = page.partition("## Light curves")[2].partition("\n## ")[0]
    assert {name for name in names if re.search(rf"^\| [^|]*\b{re.escape(name)}\b", section, re.MULTILINE)} == names


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("x.csv", "time,mag,mag_err"),
        ("x.txt", "# BJD magnitude magnitude_err"),
        ("x.csv", ",time,mag,flags_of_mine"),
    ],
)
def test_magnitudes_in_text_become_flux(tmp_path: Path, name: str, header: str) -> None:
    magnitudes = 12.5 - 2.5 * np.log10(make_flux())
    separator = "," if "," in header else " "
    rows = csv_rows(JULIAN["TESS"], magnitudes, separator)
    rows = [f"{number}{separator}{row}" for number, row in enumerate(rows)] if header.startswith(",") else rows
    path = write_csv(tmp_path / name, header, *(f"{row}{separator}0.001" for row in rows))
    check_dip(read(path), JULIAN["TESS"])


def test_flux_is_preferred_to_magnitudes_in_text(tmp_path: Path) -> None:
    rows = [f"{row},{12.5 + 0.01 * number}" for number, row in enumerate(csv_rows(BTJD, make_flux()))]
    check_dip(read(write_csv(tmp_path / "x.csv", "time,flux,mag", *rows), mission="TESS"), JULIAN["TESS"])


def test_text_of_k2sff_is_read(tmp_path: Path) -> None:
    name = "hlsp_k2sff_k2_lightcurve_206103150-c03_kepler_v1_llc-default-aper.txt"
    path = write_csv(tmp_path / name, "BJD - 2454833,Corrected Flux", *csv_rows(BKJD, make_flux()))
    check_dip(read(path), JULIAN["K2"])
    assert [(file.star, file.part) for file in name_stars([name])] == [("EPIC 206103150", 3)]
