"""Small files with the header keywords and columns of the products at the archive, and with a known dip.

Sources: the product pages at archive.stsci.edu/hlsp, and lightkurve 2.6's readers and detection.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from tests.transits.observations import mission_file, qlp_file, table, write_units

Values = NDArray[Any]
HALF_HOUR = 1 / 48
LEVEL, DEPTH = 0.001, 0.02
BTJD = 1325.0 + np.arange(1001) * HALF_HOUR
BKJD = 2145.0 + np.arange(1001) * HALF_HOUR
FLAGS = np.zeros(1001, np.int32)
DIP = slice(300, 306)
TESS = {"TELESCOP": "TESS", "OBJECT": "TIC 25155310", "TICID": 25155310, "SECTOR": 1}
K2 = {"TELESCOP": "Kepler", "MISSION": "K2", "OBJECT": "EPIC 206103150", "KEPLERID": 206103150, "CAMPAIGN": 3}
KEPLER = {"TELESCOP": "Kepler", "MISSION": "Kepler", "OBJECT": "KIC 1292147", "KEPLERID": 1292147}


def make_flux(seed: int = 1) -> Values:
    """Return a relative flux (1001,) with noise of 0.1 % and a dip of 2 %."""
    flux = 1.0 + LEVEL * np.random.default_rng(seed).normal(size=1001)
    flux[DIP] -= DEPTH
    return flux


def make_magnitudes() -> Values:
    return 12.5 - 2.5 * np.log10(make_flux())


def write_qlp(path: Path) -> Path:
    return qlp_file(path, 1, BTJD, make_flux())


def write_tess_spoc(path: Path) -> Path:
    return mission_file(path, TESS, BTJD, 1000 * make_flux(), TIMEDEL=HALF_HOUR)


def write_tglc(path: Path) -> Path:
    columns = {
        "time": BTJD,
        "psf_flux": 900 * make_flux(2),
        "aperture_flux": 1000 * make_flux(3),
        "cal_psf_flux": np.full(1001, np.nan),
        "cal_aper_flux": make_flux(),
        "background": np.ones(1001),
        "cadence_num": np.arange(1001, dtype=np.int32),
        "TESS_flags": FLAGS,
        "TGLC_flags": FLAGS,
    }
    primary = {**TESS, "ORIGIN": "UCSB/TGLC", "TICID": "25155310", "GAIADR3": 4650160717726370816}
    return write_units(path, primary, table(columns, BJDREFI=2457000, BJDREFF=0.0, TIMEUNIT="d"))


def write_eleanor_lite(path: Path) -> Path:
    columns = {
        "TIME": BTJD,
        "BARYCORR": np.zeros(1001),
        "RAW_FLUX": 1100 * make_flux(2),
        "FLUX_ERR": np.ones(1001),
        "CORR_FLUX": 1000 * make_flux(),
        "PCA_FLUX": 1000 * make_flux(3),
        "QUALITY": FLAGS,
        "FFIINDEX": np.arange(1001, dtype=np.int32),
    }
    primary = {**TESS, "LITE": True, "PCORIGIN": "postcard"}
    return write_units(path, primary, table(columns))


def write_difference_images(path: Path, origin: str) -> Path:
    """Write a file of CDIPS or T16: magnitudes in three apertures, full Julian dates, and quality as letters."""
    columns: dict[str, Values] = {"TMID_BJD": BTJD + 2_457_000.0}
    for aperture, noise in ((1, 3), (2, 2), (3, 5)):
        spread = make_magnitudes() + noise * 1e-3 * np.random.default_rng(aperture).normal(size=1001)
        magnitudes = make_magnitudes() if aperture == 2 else spread
        columns |= {f"IRM{aperture}": magnitudes + 0.1, f"IRE{aperture}": np.full(1001, 0.001)}
        columns |= {f"TFA{aperture}": magnitudes, f"PCA{aperture}": magnitudes}
    unit = table(columns)
    letters = np.where(np.arange(1001) == 7, "X", "G")
    marks = [fits.Column(f"IRQ{aperture}", "1A", array=letters) for aperture in (1, 2, 3)]
    unit = fits.BinTableHDU.from_columns([*unit.columns, *marks], name="LIGHTCURVE")
    return write_units(path, {**TESS, "ORIGIN": origin}, unit)


def write_cdips(path: Path) -> Path:
    return write_difference_images(path, "CDIPS")


def write_t16(path: Path) -> Path:
    return write_difference_images(path, "Princeton")


def write_everest(path: Path) -> Path:
    columns = {
        "CADN": np.arange(1001, dtype=np.int32),
        "FLUX": 1000 * make_flux(),
        "FRAW": 1000 * make_flux(2),
        "FRAW_ERR": np.ones(1001),
        "QUALITY": FLAGS,
        "TIME": BKJD,
    }
    return write_units(path, K2, table(columns, BJDREFI=2454833, BJDREFF=0.0))


def write_k2sff(path: Path) -> Path:
    columns = {"T": BKJD, "FRAW": make_flux(2), "FCOR": make_flux(), "ARCLENGTH": np.zeros(1001), "MOVING": FLAGS}
    unit = table(columns)
    unit.header["EXTNAME"] = "BESTAPER"
    return write_units(path, K2, unit)


def write_k2sc(path: Path) -> Path:
    units = []
    for name, seed in (("PDC", 1), ("SAP", 2)):
        columns = {
            "time": BKJD,
            "cadence": np.arange(1001, dtype=np.int32),
            "quality": FLAGS,
            "flux": 1000 * make_flux(seed),
            "error": np.ones(1001),
            "trtime": np.ones(1001),
            "trposi": np.ones(1001),
            "mflags": FLAGS,
        }
        unit = table(columns)
        unit.header["EXTNAME"] = name
        units.append(unit)
    return write_units(path, {**K2, "CREATOR": "k2sc"}, *units)


def write_kepseismic(path: Path) -> Path:
    columns = {"TIME": BKJD + 54_832.5, "FLUX": 1e6 * (make_flux() - 1.0)}
    return write_units(path, {**KEPLER, "ORIGIN": "CEA & SSI", "QUARTERS": "Q1-Q17"}, table(columns))


def write_data_alert(path: Path) -> Path:
    return mission_file(path, {**TESS, "ORIGIN": "NASA/Ames"}, BTJD, 1000 * make_flux(), TIMEDEL=120 / 86400)


# By the product: the file's name at the archive, its writer, and its star.
PRODUCT_FILES: Mapping[str, tuple[str, Any, str]] = {
    "QLP": ("hlsp_qlp_tess_ffi_s0001-0000000025155310_tess_v01_llc.fits", write_qlp, "TIC 25155310"),
    "TESS-SPOC": (
        "hlsp_tess-spoc_tess_phot_0000000025155310-s0001_tess_v1_lc.fits", write_tess_spoc, "TIC 25155310",
    ),
    "TGLC": (
        "hlsp_tglc_tess_ffi_gaiaid-4650160717726370816-s0001-cam4-ccd2_tess_v1_llc.fits", write_tglc,
        "Gaia DR3 4650160717726370816",
    ),
    "eleanor-lite": (
        "hlsp_gsfc-eleanor-lite_tess_ffi_s0001-0000000025155310_tess_v1.0_lc.fits", write_eleanor_lite, "TIC 25155310",
    ),
    "CDIPS": (
        "hlsp_cdips_tess_ffi_gaiatwo0004650160717726370816-0001-cam4-ccd2_tess_v01_llc.fits", write_cdips,
        "Gaia DR2 4650160717726370816",
    ),
    "T16": (
        "hlsp_t16_tess_ffi_s0001-cam4-ccd2-04650160717726370816_tess_v01_llc.fits", write_t16,
        "Gaia DR2 4650160717726370816",
    ),
    "EVEREST": ("hlsp_everest_k2_llc_206103150-c03_kepler_v2.0_lc.fits", write_everest, "EPIC 206103150"),
    "K2SFF": ("hlsp_k2sff_k2_lightcurve_206103150-c03_kepler_v1_llc.fits", write_k2sff, "EPIC 206103150"),
    "K2SC": ("hlsp_k2sc_k2_llc_206103150-c03_kepler_v2_lc.fits", write_k2sc, "EPIC 206103150"),
    "KEPSEISMIC": (
        "hlsp_kepseismic_kepler_phot_kplr001292147-20d_kepler_v1_cor-filt-inp.fits", write_kepseismic, "KIC 1292147",
    ),
    "SPOC": (
        "hlsp_tess-data-alerts_tess_phot_00025155310-s01_tess_v1_lc.fits", write_data_alert, "TIC 25155310",
    ),
}  # fmt: skip
