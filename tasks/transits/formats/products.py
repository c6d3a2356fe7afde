"""Identifies the products of Kepler, K2 and TESS by their headers, and names their columns.

Sources: the pages of the products at MAST (archive.stsci.edu/hlsp), and lightkurve 2.6, which reads most of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tasks.transits.formats.fits_table import FitsTable
from tasks.transits.params import FluxColumn

Unit = Literal["flux", "magnitude", "ppm"]

# The longest exposure of a target with its own pixels; SPOC's light curves of full-frame images have longer ones.
_MAX_TARGET_SECONDS = 130.0
_KSPSAP = (("KSPSAP_FLUX",), ("DET_FLUX",))


@dataclass(frozen=True)
class Product:
    """One kind of light curve file.

    name         the pipeline, as in the column ``segments`` of other tools: ``SPOC``, ``QLP``
    identify     return True for the primary header and the first table of such a file
    mission      if the header does not state it
    flux         by choice of flux: groups of columns, best first. In a group, the column with the least noise is used
    times, errors, quality
                 columns, the first that exists is used: for a flux column with a number, only those with this number
    unit         of the flux
    good         words in the quality column of good cadences, if it holds text
    """

    name: str
    identify: Callable[[Any, FitsTable], bool]
    mission: str = ""
    flux: Mapping[FluxColumn, Sequence[tuple[str, ...]]] = field(default_factory=dict)
    times: tuple[str, ...] = ("TIME",)
    errors: tuple[str, ...] = ()
    quality: tuple[str, ...] = ("SAP_QUALITY", "QUALITY")
    unit: Unit = "flux"
    good: frozenset[str] = frozenset()


def _get_text(header: Any, key: str) -> str:
    return str(header.get(key) or "").casefold()


def _is_from(*origins: str) -> Callable[[Any, FitsTable], bool]:
    return lambda header, _: any(origin in _get_text(header, "ORIGIN") for origin in origins)


def _is_eleanor(header: Any, table: FitsTable) -> bool:
    return (header.get("LITE") is not None and header.get("PCORIGIN") is not None) or (
        {"RAW_FLUX", "CORR_FLUX"} <= table.columns.keys()
    )


def _is_k2sc(header: Any, table: FitsTable) -> bool:
    return "k2sc" in _get_text(header, "CREATOR") or {"TRTIME", "TRPOSI"} <= table.columns.keys()


def _is_k2sff(_: Any, table: FitsTable) -> bool:
    return {"FCOR", "FRAW", "ARCLENGTH"} <= table.columns.keys()


def _is_everest(header: Any, table: FitsTable) -> bool:
    return "everest" in _get_text(header, "COMMENT") or {"FRAW", "CADN"} <= table.columns.keys()


def _is_full_frame(header: Any, table: FitsTable) -> bool:
    """Return True for SPOC's pipeline on full-frame images, whose headers differ from SPOC's by their exposures."""
    seconds = float(table.header.get("TIMEDEL") or 0.0) * 86_400
    return _get_text(header, "TELESCOP") == "tess" and "PDCSAP_FLUX" in table.columns and seconds > _MAX_TARGET_SECONDS


def _has_pdcsap(telescope: str, mission: str = "") -> Callable[[Any, FitsTable], bool]:
    """Return a function that recognizes the light curves of a mission. K2 has the telescope Kepler."""

    def identify(header: Any, table: FitsTable) -> bool:
        is_mission = _get_text(header, "MISSION" if mission else "TELESCOP") == (mission or telescope).casefold()
        return is_mission and "SAP_FLUX" in table.columns

    return identify


_PDCSAP: Mapping[FluxColumn, Sequence[tuple[str, ...]]] = {"pdcsap": [("PDCSAP_FLUX",)], "sap": [("SAP_FLUX",)]}
_MAGNITUDES: Mapping[FluxColumn, Sequence[tuple[str, ...]]] = {
    "pdcsap": [("TFA1", "TFA2", "TFA3"), ("PCA1", "PCA2", "PCA3")],
    "sap": [("IRM1", "IRM2", "IRM3")],
}
_DIFFERENCE_IMAGES: Mapping[str, Any] = {
    "mission": "TESS",
    "flux": _MAGNITUDES,
    "times": ("TMID_BJD", "BJD", "TIME"),
    "errors": ("IRE1", "IRE2", "IRE3"),
    "quality": ("IRQ1", "IRQ2", "IRQ3"),
    "unit": "magnitude",
    "good": frozenset({"G", "0"}),
}
# In the order in which a file is compared with them.
PRODUCTS = (
    Product("QLP", _is_from("mit/qlp"), "TESS", {"pdcsap": _KSPSAP, "sap": [("SAP_FLUX",)]},
            errors=("KSPSAP_FLUX_ERR", "DET_FLUX_ERR")),
    Product("TGLC", _is_from("ucsb/tglc"), "TESS", quality=("TESS_FLAGS",),
            flux={"pdcsap": [("CAL_PSF_FLUX",), ("CAL_APER_FLUX",)], "sap": [("PSF_FLUX",), ("APERTURE_FLUX",)]}),
    Product("eleanor-lite", _is_eleanor, "TESS", errors=("FLUX_ERR",),
            flux={"pdcsap": [("CORR_FLUX",), ("PCA_FLUX",)], "sap": [("RAW_FLUX",)]}),
    Product("CDIPS", _is_from("cdips"), **_DIFFERENCE_IMAGES),
    Product("T16", lambda _, table: "TFA1" in table.columns or "IRM1" in table.columns, **_DIFFERENCE_IMAGES),
    Product("K2SC", _is_k2sc, "K2", {"pdcsap": [("FLUX",)], "sap": [("FLUX",)]}, errors=("ERROR",)),
    Product("K2SFF", _is_k2sff, "K2", {"pdcsap": [("FCOR",)], "sap": [("FRAW",)]}, times=("T", "TIME"),
            quality=("MOVING",)),
    Product("EVEREST", _is_everest, "K2", {"pdcsap": [("FLUX",), ("FCOR",)], "sap": [("FRAW",)]}, errors=("FRAW_ERR",)),
    Product("KEPSEISMIC", _is_from("cea & ssi"), "Kepler", {"pdcsap": [("FLUX",)], "sap": [("FLUX",)]}, unit="ppm"),
    Product("TESS-SPOC", _is_full_frame, "TESS", _PDCSAP),
    Product("SPOC", _has_pdcsap("TESS"), "TESS", _PDCSAP),
    Product("K2", _has_pdcsap("Kepler", "K2"), "K2", _PDCSAP),
    Product("Kepler", _has_pdcsap("Kepler"), "Kepler", _PDCSAP),
    # Files written by lightkurve, and others with the columns of these products.
    Product("FITS", lambda *_: True, times=("TIME", "T", "TMID_BJD"), flux={
        "pdcsap": [("PDCSAP_FLUX",), *_KSPSAP, ("FLUX",)], "sap": [("SAP_FLUX",), ("FLUX",)],
    }),
)  # fmt: skip


TIMES = frozenset(name for product in PRODUCTS for name in product.times)


def identify_product(header: Any, table: FitsTable) -> Product:
    """Return the product of a file with this primary header, and ``table``, its first table with times."""
    return next(product for product in PRODUCTS if product.identify(header, table))
