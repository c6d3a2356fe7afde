"""Tests reading files into a light curve: files of the missions, files of users, and damaged files."""

from __future__ import annotations

import ast
import gzip
import shutil
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from tasks.engine.contract.errors import BadInput
from tasks.transits import reading
from tasks.transits.formats.fits_file import read_fits
from tasks.transits.formats.light_curve_file import MAX_FILE_BYTES
from tasks.transits.formats.quality import KEPLER_MASK, TESS_MASK
from tasks.transits.formats.stars import SOLAR_LOG_GRAVITY
from tasks.transits.light_curve import LightCurve, Star
from tasks.transits.reading import read_light_curve
from tasks.transits.unsearchable import Unsearchable
from tests.transits.observations import (
    K2,
    KEPLER,
    SECTOR,
    TESS,
    csv_rows,
    declared,
    flux_of,
    mission_file,
    qlp_file,
    table,
    write_csv,
    write_units,
)

LONG_CADENCE_DAYS = 0.0204336
QUARTER = 300.0 + np.arange(500) * LONG_CADENCE_DAYS


def read(*paths: Path, star: Star | None = None, mission: str = "", parts: tuple[int, ...] = ()) -> LightCurve:
    return read_light_curve(paths, star or Star(), "pdcsap", mission, parts)


def read_error(*paths: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read(*paths)
    return str(caught.value)


# Comparison to lightkurve


@pytest.mark.parametrize("flux", ["pdcsap", "sap"])
def test_points_and_flux_equal_those_of_lightkurve(stars: Path, flux: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightkurve

        files = [*sorted(stars.glob("*.fits")), *sorted(stars.glob("kplr006850504/*_llc.fits"))[:3]]
        files = [path for path in files if f"{flux.upper()}_FLUX" in fits.getdata(path, 1).names]
        assert len(files) == {"pdcsap": 11, "sap": 8}[flux]
        for path in files:
            reference = lightkurve.read(str(path), flux_column=f"{flux}_flux").remove_nans()
            ours = read_light_curve([path], Star(), flux)
            values = np.asarray(reference.flux.value, dtype=np.float64)
            np.testing.assert_array_equal(ours.time, reference.time.value, err_msg=path.name)
            np.testing.assert_allclose(ours.flux, values / np.median(values), rtol=1e-12, err_msg=path.name)


def test_all_quarters_of_a_star_are_one_curve(stars: Path) -> None:
    curve = read(*stars.glob("kplr006850504/*.fits"))
    assert [segment.name for segment in curve.segments] == [f"Q{number}" for number in range(1, 18)]
    assert (np.diff(curve.time) > 0).all()
    assert (np.diff(curve.segment) >= 0).all()
    medians = [np.median(curve.flux[curve.segment == index]) for index in range(17)]
    np.testing.assert_allclose(medians, 1.0, rtol=1e-12)
    assert curve.time_system == "BKJD"
    # KIC values of the headers; the mass follows from log g 4.449 and 0.925 solar radii.
    assert (curve.star.radius, curve.star.temperature_kelvin) == (0.925, 5465.0)
    assert curve.star.mass == pytest.approx(0.877, abs=0.002)


def test_reading_needs_no_lightkurve() -> None:
    for path in [Path(reading.__file__), *(Path(reading.__file__).parent / "formats").glob("*.py")]:
        imports = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert "lightkurve" not in " ".join(ast.unparse(node) for node in imports)


# Kinds of files


@pytest.mark.parametrize(
    ("primary", "time", "system", "name", "author"),
    [
        (KEPLER, QUARTER, "BKJD", "Q3", "Kepler"),
        (K2, QUARTER, "BKJD", "C3", "K2"),
        (TESS, SECTOR, "BTJD", "S1", "SPOC"),
    ],
)
def test_segment_is_read_from_files_of_each_mission(
    tmp_path: Path, primary: dict, time: np.ndarray, system: str, name: str, author: str
) -> None:
    segment = read(mission_file(tmp_path / "a.fits", primary, time)).segments[0]
    assert (segment.time_system, segment.name, segment.author) == (system, name, author)
    assert segment.mission == primary.get("MISSION", "TESS")
    assert segment.cadence_seconds == pytest.approx(np.diff(time)[0] * 86400, rel=1e-6)


@pytest.mark.parametrize("sector", [1, 60])
def test_qlp_has_detrended_and_raw_flux(tmp_path: Path, sector: int) -> None:
    values = flux_of(301, 1.0) / np.median(flux_of(301, 1.0))
    path = qlp_file(tmp_path / "a.fits", sector, SECTOR[:301], values)
    curve = read(path)
    assert (curve.segments[0].author, curve.segments[0].name) == ("QLP", f"S{sector}")
    np.testing.assert_allclose(curve.flux, values, rtol=1e-6)
    np.testing.assert_allclose(curve.flux_error, 0.01, rtol=1e-6)
    np.testing.assert_allclose(read_light_curve([path], Star(), "sap").flux, values, rtol=1e-6)  # 1.5 times, normalised
    assert curve.star == Star(1.3, pytest.approx(0.978, abs=0.01), 5800.0, 4.2)


@pytest.mark.parametrize(("primary", "mask"), [(TESS, TESS_MASK), (KEPLER, KEPLER_MASK), (K2, KEPLER_MASK)])
def test_bad_flag_removes_exactly_its_cadence(tmp_path: Path, primary: dict, mask: int) -> None:
    bits = np.arange(21)
    quality = np.r_[0, 1 << bits, 0].astype(np.int32)
    time = SECTOR[: len(quality)]
    curve = read(mission_file(tmp_path / "a.fits", primary, time, quality=quality))
    bad = [bool(mask >> bit & 1) for bit in bits]
    np.testing.assert_array_equal(curve.time, time[~np.array([False, *bad, False])])


def test_masks_equal_the_defaults_of_lightkurve() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lightkurve.utils import KeplerQualityFlags, TessQualityFlags
    assert (KEPLER_MASK, TESS_MASK) == (KeplerQualityFlags.DEFAULT_BITMASK, TessQualityFlags.DEFAULT_BITMASK)


def test_scaled_columns_are_scaled(tmp_path: Path) -> None:
    path = mission_file(tmp_path / "a.fits", time=SECTOR[:101])
    with fits.open(path) as units:
        names = units[1].columns.names
        units[1].header.insert("TFORM1", ("TZERO1", 10.0))
        units[1].header[f"TSCAL{names.index('PDCSAP_FLUX') + 1}"] = 2.0
        (tmp_path / "b.fits").write_bytes(_join_units(units))
    curve = read(tmp_path / "b.fits")
    np.testing.assert_allclose(curve.time, SECTOR[:101] + 10.0, rtol=1e-12)


def _join_units(units: fits.HDUList) -> bytes:
    """Return the units with changed headers and unchanged data."""
    parts = []
    for unit in units:
        data = unit.data.tobytes() if unit.data is not None else b""
        parts += [unit.header.tostring().encode(), data, b"\0" * (-len(data) % 2880)]
    return b"".join(parts)


# Text

CSV_TIMES = SECTOR[:9]
CSV_FLUX = flux_of(9, 1.0)
ROWS = csv_rows(CSV_TIMES, CSV_FLUX)


@pytest.mark.parametrize(
    "lines",
    {
        "bare": ROWS,
        "header": ["time,flux", *ROWS],
        "header in a comment": ["# time,flux", *ROWS],
        "comments": ["# from a survey", "#", *ROWS[:4], "", "# a pause", *ROWS[4:]],
        "other names and order": ["FLUX,BJD_TDB", *(",".join(reversed(row.split(","))) for row in ROWS)],
        "units in the names": ["Time (BTJD),flux", *ROWS],
        "semicolons": [row.replace(",", ";") for row in ROWS],
        "tabs": [row.replace(",", "\t") for row in ROWS],
        "blanks": [row.replace(",", "   ") for row in ROWS],
        "blanks around": [f"  {row.replace(',', ' , ')} " for row in ROWS],
        "quotes": ['"time","flux"', *(f'"{row.replace(",", chr(34) + "," + chr(34))}"' for row in ROWS)],
        "words beside": ["name,time,flux", *(f"a star,{row}" for row in ROWS)],
        "unsorted, doubled": [*reversed(ROWS), *ROWS],
        "gaps in the flux": ["time,flux", *ROWS, "1325.9,", "1325.91,NaN", "1325.92,null", "nan,1.0"],
    }.values(),
    ids=lambda lines: lines[0][:20],
)
def test_text_is_read_in_every_form(tmp_path: Path, lines: list[str]) -> None:
    curve = read(write_csv(tmp_path / "star.csv", *lines))
    np.testing.assert_allclose(curve.time, CSV_TIMES, rtol=1e-12)
    np.testing.assert_allclose(curve.flux, CSV_FLUX, rtol=1e-8)
    assert (curve.segments[0].author, curve.segments[0].name) == ("csv", "star")


def test_errors_and_quality_are_read_from_text(tmp_path: Path) -> None:
    flags = [0, 128, 64, 0, 0, 0, 0, 0, 1 << 14]  # of TESS: manual exclude, cosmic ray, bad calibration
    rows = [f"{row},0.25,{flag}" for row, flag in zip(ROWS, flags, strict=True)]
    for header in ([], ["time,flux,flux_err,quality"]):
        curve = read(write_csv(tmp_path / "TIC 1.csv", *header, *rows))
        np.testing.assert_allclose(curve.time, CSV_TIMES[[0, 2, 3, 4, 5, 6, 7]])
        assert curve.flux_error == pytest.approx(0.25 / np.median(CSV_FLUX[[0, 2, 3, 4, 5, 6, 7]]))


@pytest.mark.parametrize(
    ("first", "step", "name", "mission", "system", "shift"),
    [
        (2_458_325.5, 0.0014, "a.csv", "", "BJD", 0.0),
        (58_325.0, 0.0014, "a.csv", "", "BJD", 2_400_000.5),
        (8325.0, 0.0014, "a.csv", "", "BJD", 2_450_000.0),
        (1325.3, 0.0014, "a.csv", "", "BTJD", 0.0),
        (2500.0, 0.0208333, "a.csv", "", "BTJD", 0.0),
        (3900.0, 0.0014, "a.csv", "", "BTJD", 0.0),
        (131.5, 0.0204, "a.csv", "", "BKJD", 0.0),
        (1977.3, LONG_CADENCE_DAYS, "a.csv", "", "BKJD", 0.0),
        (1977.3, 0.0014, "EPIC201367065.csv", "", "BKJD", 0.0),
        (1977.3, LONG_CADENCE_DAYS, "TIC 25155310.csv", "", "BTJD", 0.0),
        (1977.3, 0.0014, "TIC 25155310.csv", "K2", "BKJD", 0.0),
        (0.0, 0.0014, "a.csv", "", "BJD", 0.0),
    ],
)
def test_time_origin_is_detected(
    tmp_path: Path, first: float, step: float, name: str, mission: str, system: str, shift: float
) -> None:
    time = first + step * np.arange(9)
    curve = read(write_csv(tmp_path / name, *csv_rows(time, CSV_FLUX)), mission=mission)
    assert curve.time_system == system
    np.testing.assert_allclose(curve.time, time + shift, rtol=1e-12)


def test_text_of_real_stars_is_read(stars: Path) -> None:
    k2 = read(stars / "EPIC201367065.csv")
    tess = read(stars / "pimen_tess_s01_allesfitter.csv")
    assert (k2.time_system, len(k2.time)) == ("BKJD", 3632)
    assert (tess.time_system, len(tess.time)) == ("BJD", 16697)
    assert k2.segments[0].cadence_seconds == pytest.approx(1765.4, abs=1)
    assert tess.time[0] == pytest.approx(2_458_325.297, abs=1e-6)


# Several files


def test_two_minute_cadence_is_preferred(tmp_path: Path) -> None:
    quick = SECTOR[0] + np.arange(3000) * 20 / 86400
    slow = SECTOR[0] + np.arange(40) * 1800 / 86400
    paths = [
        mission_file(tmp_path / "a_fast-lc.fits", time=quick),
        mission_file(tmp_path / "b_lc.fits"),
        qlp_file(tmp_path / "c_llc.fits", 1, slow, flux_of(40, 1.0)),
        mission_file(tmp_path / "d_lc.fits", {**TESS, "SECTOR": 2}, SECTOR + 27),
        qlp_file(tmp_path / "e_llc.fits", 3, slow + 54, flux_of(40, 1.0)),
    ]
    curve = read(*paths)
    assert [(part.name, part.author, round(part.cadence_seconds)) for part in curve.segments] == [
        ("S1", "SPOC", 120),
        ("S2", "SPOC", 120),
        ("S3", "QLP", 1800),
    ]
    assert len(curve.time) == 1000 + 1000 + 40


def test_order_and_folders_of_files_do_not_matter(tmp_path: Path) -> None:
    primaries = [{**TESS, "SECTOR": number, "RADIUS": float(number)} for number in range(1, 12)]
    here = [
        mission_file(tmp_path / f"s{10 + n}.fits", primary, SECTOR + 27 * n, flux_of(1000, 10.0 + n))
        for n, primary in enumerate(primaries)
    ]
    first = read(*here)
    for n, path in enumerate(here):
        folder = tmp_path / str(n)
        folder.mkdir()
        shutil.copy(path, folder)
    second = read(*(tmp_path / str(n) / path.name for n, path in reversed(list(enumerate(here)))))
    assert (first.star, first.segments) == (second.star, second.segments)
    np.testing.assert_array_equal(first.flux, second.flux)


def test_all_months_of_a_quarter_are_used(tmp_path: Path) -> None:
    minute = 58.85 / 86400
    months = [300.0 + 30 * month + np.arange(200) * minute for month in range(3)]
    curve = read(*(mission_file(tmp_path / f"{k}_slc.fits", KEPLER, time) for k, time in enumerate(months)))
    assert [segment.name for segment in curve.segments] == ["Q3", "Q3", "Q3"]
    np.testing.assert_allclose(curve.time, np.concatenate(months))


def test_duplicate_file_is_used_once(tmp_path: Path) -> None:
    path = mission_file(tmp_path / "a.fits")
    once, twice = read(path), read(path, Path(shutil.copy(path, tmp_path / "b.fits")))
    np.testing.assert_array_equal(once.time, twice.time)
    np.testing.assert_array_equal(once.flux, twice.flux)
    assert len(twice.segments) == 1


def test_csv_copy_of_a_fits_file_is_used_once(tmp_path: Path) -> None:
    path = mission_file(tmp_path / "a.fits")
    curve = read(path, write_csv(tmp_path / "a.csv", *csv_rows(SECTOR + 1e-5, flux_of(1000))))
    assert [segment.author for segment in curve.segments] == ["SPOC"]
    assert len(curve.time) == len(SECTOR)


def test_overlapping_points_of_two_files_are_used_once(tmp_path: Path) -> None:
    first = mission_file(tmp_path / "a.fits", time=SECTOR[:600])
    second = mission_file(tmp_path / "b.fits", {**TESS, "SECTOR": 2}, SECTOR[500:])
    curve = read(first, second)
    np.testing.assert_array_equal(curve.time, SECTOR)


def test_two_missions_share_one_time_system(tmp_path: Path) -> None:
    kepler = mission_file(tmp_path / "a.fits", KEPLER, QUARTER)
    tess = mission_file(tmp_path / "b.fits", TESS, SECTOR)
    curve = read(tess, kepler)
    assert {segment.time_system for segment in curve.segments} == {"BKJD"}
    np.testing.assert_allclose(curve.time, np.r_[QUARTER, SECTOR + 2_457_000 - 2_454_833], rtol=1e-12)


def test_each_segment_is_divided_by_its_own_median(tmp_path: Path) -> None:
    first = mission_file(tmp_path / "a.fits", flux=flux_of(1000, 50.0))
    second = mission_file(tmp_path / "b.fits", {**TESS, "SECTOR": 2}, SECTOR + 27, flux=flux_of(1000, 9e5))
    curve = read(first, second)
    for index in (0, 1):
        assert np.median(curve.flux[curve.segment == index]) == pytest.approx(1.0, rel=1e-12)
    assert curve.flux_error[0] == pytest.approx(1 / 50.0, rel=1e-4)


def test_only_requested_parts_are_used(tmp_path: Path) -> None:
    paths = [
        mission_file(tmp_path / f"{sector}.fits", {**TESS, "SECTOR": sector}, SECTOR + 27 * sector)
        for sector in (1, 2, 3)
    ]
    assert [segment.name for segment in read(*paths, parts=(1, 3)).segments] == ["S1", "S3"]
    with pytest.raises(BadInput, match=r"1\.fits: the files are of S1, S2, S3; requested: 7; correct the table"):
        read(*paths, parts=(7,))
    assert len(read(write_csv(tmp_path / "a12.csv", *ROWS), parts=(7,)).time) == len(ROWS)


# The star


def test_table_takes_precedence_over_the_header(tmp_path: Path) -> None:
    path = mission_file(tmp_path / "a.fits", {**TESS, "RADIUS": 2.0, "TEFF": 5000.0, "LOGG": SOLAR_LOG_GRAVITY})
    assert read(path).star == Star(2.0, pytest.approx(4.0), 5000.0, SOLAR_LOG_GRAVITY)
    assert read(path, star=Star(radius=1.0, mass=0.5)).star == Star(1.0, 0.5, 5000.0, SOLAR_LOG_GRAVITY)
    assert read(path, star=Star(radius=1.0)).star.mass == pytest.approx(1.0)


@pytest.mark.parametrize("value", [-1.0, 0.0, 1e30, "unknown", True])
def test_filler_values_in_a_header_are_ignored(tmp_path: Path, value: object) -> None:
    star = read(mission_file(tmp_path / "a.fits", {**TESS, "RADIUS": value, "LOGG": 4.4})).star
    assert (star.radius, star.mass) == (None, None)


# Flux that cannot be normalised


@pytest.mark.parametrize("level", [-5.0, 0.0])
def test_nonpositive_flux_is_unsearchable(tmp_path: Path, level: float) -> None:
    flux = level + np.random.default_rng(1).normal(size=len(SECTOR)) - 0.3
    with pytest.raises(Unsearchable) as caught:
        read(mission_file(tmp_path / "a.fits", flux=flux))
    assert caught.value.reason == "nonpositive_flux"
    assert "a.fits: the median flux is -" in str(caught.value)


def test_sector_with_negative_flux_is_excluded(tmp_path: Path) -> None:
    below = mission_file(tmp_path / "a.fits", flux=-flux_of(1000))
    above = mission_file(tmp_path / "b.fits", {**TESS, "SECTOR": 2}, SECTOR + 27)
    assert [segment.name for segment in read(below, above).segments] == ["S2"]


# Damage


def _write_image(path: Path) -> Path:
    return write_units(path, TESS, fits.ImageHDU(np.zeros((20, 20))))


def _write_other_table(path: Path) -> Path:
    return write_units(path, TESS, table({"PERIOD": np.ones(5)}))


def _write_target_pixels(path: Path) -> Path:
    cube = fits.Column("FLUX", "25E", array=np.zeros((9, 25)), dim="(5,5)")
    time = fits.Column("TIME", "D", array=SECTOR[:9])
    return write_units(path, TESS, fits.BinTableHDU.from_columns([time, cube]))


def _truncate(path: Path) -> Path:
    mission_file(path).write_bytes(path.read_bytes()[:20_000])
    return path


def _truncate_in_header(path: Path) -> Path:
    mission_file(path).write_bytes(path.read_bytes()[:4000])
    return path


def _make_writer(content: bytes) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(content)
        return path

    return write


def _compress_twice(path: Path) -> Path:
    path.write_bytes(gzip.compress(gzip.compress(b"SIMPLE  =" + b" " * 100)))
    return path


def _write_without_flux(path: Path) -> Path:
    return write_units(path, TESS, table({"TIME": SECTOR, "QUALITY": np.zeros(1000, np.int32)}, BJDREFI=2457000))


def _write_unknown_format(path: Path) -> Path:
    content = mission_file(path).read_bytes()
    path.write_bytes(content.replace(b"TFORM1  = 'D       '", b"TFORM1  = '9Z      '"))
    return path


def _write_text_times(path: Path) -> Path:
    column = fits.Column("TIME", "10A", array=np.array(["yesterday"] * 9))
    flux = fits.Column("PDCSAP_FLUX", "E", array=np.ones(9))
    return write_units(path, TESS, fits.BinTableHDU.from_columns([column, flux]))


DAMAGED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "zero bytes": (_make_writer(b""), "the file is empty"),
    "zeros": (_make_writer(bytes(5000)), "the file is empty"),
    "a page of HTML": (_make_writer(b"<html>404 Not Found</html>"), "not a FITS file: it begins with b'<html>404'"),
    "packed twice": (_compress_twice, "it is compressed twice; unpack it once"),
    "truncated": (_truncate, "truncated: its table needs"),
    "truncated in the header": (_truncate_in_header, "no table"),
    "an image": (_write_image, "no light curve in it, but no table; allowed: a table with TIME and a flux"),
    "another table": (_write_other_table, "no light curve in it, but tables of PERIOD"),
    "target pixels": (_write_target_pixels, "its column FLUX holds 25 values per row"),
    "no flux": (_write_without_flux, "no flux for --flux pdcsap: its columns are TIME, QUALITY"),
    "an unknown format": (_write_unknown_format, "a column of the unknown format '9Z"),
    "words for times": (_write_text_times, "its column TIME holds no numbers"),
    "2^40 rows": (lambda path: declared(mission_file(path), "NAXIS2", 2**40), "truncated: its table needs"),
    "2^62 bytes a row": (lambda path: declared(mission_file(path), "NAXIS1", 2**62), "a damaged FITS file"),
    "fewer than no rows": (lambda path: declared(mission_file(path), "NAXIS2", -1), "a table of -1 rows"),
    "rows of another width": (lambda path: declared(mission_file(path), "NAXIS1", 3), "its columns take"),
    "10^8 columns": (lambda path: declared(mission_file(path), "TFIELDS", 10**8), "a damaged FITS file"),
    "times from 1858": (lambda path: mission_file(path, BJDREFI=2400000), "count from the Julian date 2400000.0"),
    "NaN only": (lambda path: mission_file(path, flux=np.full(1000, np.nan)), "no cadence of good quality"),
    "bad cadences only": (lambda path: mission_file(path, quality=np.full(1000, 128)), "no cadence of good quality"),
    "no rows": (lambda path: mission_file(path, time=SECTOR[:0]), "no cadence of good quality"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_fits_is_rejected_with_its_name(tmp_path: Path, kind: str) -> None:
    make, expected = DAMAGED[kind]
    message = read_error(make(tmp_path / "star.fits"))
    assert message.startswith("star.fits: ")
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (b"# only\n# comments\n", "no rows in it, only comments"),
        (b"time,flux\n", "no rows under its header"),
        (b"time,flux\n1,1.0\n2,bright\n", "'bright' in line 3, column 2; allowed: a number"),
        (b"time,flux\n# noon\n1,1.0\n2\n", "1 cells in line 4; allowed: at least 2"),
        (b"1\n2\n3\n", "1 column in line 1; allowed: at least a time and a flux"),
        (b"name,file,kind\na,b,c\n", "no column of time: they are name, file, kind; allowed: time, bjd"),
        (b"time,color\n1,12.5\n", "no column of flux for --flux pdcsap: they are time, color"),
        (b"1,1.0\n\xff\xfe,2\n", "a byte that is not UTF-8 in line 2"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "binary, not text; allowed: FITS files and CSV"),
        (b"time,flux\n1,nan\n2,\n", "no cadence of good quality with a finite time and flux"),
        (b"1e308,1\n1e308,2\n", "no cadence of good quality with a finite time and flux"),
        (b"time,flux\n1,1e400\n2,-1e300\n", "no cadence of good quality with a finite time and flux"),
    ],
)
def test_damaged_text_is_rejected_with_its_name(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "star.csv"
    path.write_bytes(content)
    message = read_error(path)
    assert message.startswith("star.csv: ")
    assert expected in message


def test_declared_sizes_allocate_no_memory(tmp_path: Path) -> None:
    path = declared(mission_file(tmp_path / "a.fits"), "NAXIS2", 2**33)
    content = path.read_bytes()
    read_error(path)
    tracemalloc.start()
    with pytest.raises(BadInput):
        read_fits(path, content, "pdcsap")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20 + 3 * len(content)


def test_every_truncation_of_a_file_is_rejected(tmp_path: Path) -> None:
    whole = mission_file(tmp_path / "a.fits", time=SECTOR[:200]).read_bytes()
    path = tmp_path / "cut.fits"
    for length in range(1, len(whole) - 2880, 613):
        path.write_bytes(whole[:length])
        assert read_error(path).startswith("cut.fits: ")


def test_flipped_bytes_never_crash_the_reader(tmp_path: Path) -> None:
    whole = bytearray(mission_file(tmp_path / "a.fits", time=SECTOR[:200]).read_bytes())
    path = tmp_path / "flipped.fits"
    chance = np.random.default_rng(5)
    outcomes = set()
    for _ in range(150):
        spoilt = whole.copy()
        for place in chance.integers(0, 9000, 5):
            spoilt[place] = chance.integers(0, 256)
        path.write_bytes(spoilt)
        try:
            curve = read(path)
        except (BadInput, Unsearchable):
            outcomes.add("refused")
        else:
            outcomes.add("read")
            assert np.isfinite(curve.flux).all()
            assert (np.diff(curve.time) > 0).all()
    assert outcomes == {"refused", "read"}


def test_unreadable_files_are_named_in_the_error(tmp_path: Path) -> None:
    assert read_error(tmp_path / "none.fits") == "none.fits: cannot be read (No such file or directory)"
    (tmp_path / "folder.fits").mkdir()
    assert "folder.fits: cannot be read" in read_error(tmp_path / "folder.fits")
    assert "cannot be read" in read_error(Path("https://example.org/a.fits"))
    with (tmp_path / "huge.fits").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert "more than the 536870912 that a light curve may have" in read_error(tmp_path / "huge.fits")
    assert read_error() == "no light curve: there is no file for this target"


def test_points_with_extreme_times_are_removed(tmp_path: Path) -> None:
    time = SECTOR.copy()
    time[[3, 500]] = [1e200, -4e6]
    curve = read(mission_file(tmp_path / "a.fits", time=time))
    np.testing.assert_array_equal(curve.time, np.delete(SECTOR, [3, 500]))


def test_files_of_two_stars_are_rejected(tmp_path: Path) -> None:
    first = mission_file(tmp_path / "a.fits")
    other = mission_file(tmp_path / "b.fits", {**TESS, "TICID": 1, "SECTOR": 2}, SECTOR + 30)
    with pytest.raises(BadInput, match=r"b.fits: it is of TIC 1, and a.fits of TIC 25155310; give each star a row"):
        read_light_curve([first, other], Star(), "pdcsap")
    kepler = mission_file(tmp_path / "c.fits", {**KEPLER, "KEPLERID": 6850504}, SECTOR + 60)
    assert len(read_light_curve([first, kepler], Star(), "pdcsap").segments) == 2
