"""Tests of queries and of the choice among listed files."""

from typing import Any

import pytest

from tasks.engine.contract.errors import BadInput
from tasks.transits.sources.products import (
    Choice,
    Mission,
    Product,
    Query,
    choose,
    convert_to_json,
    format_segment_name,
    get_bucket_key,
    read_product,
    read_query,
)

_EXPOSURES = {"TESS": 120.0, "Kepler": 1800.0, "K2": 1800.0}


def create(
    segment: str,
    author: str,
    exposure: float | None = None,
    mission: Mission = "TESS",
    star: str = "25155310",
    distance: float = 0.0,
    version: int = 1,
) -> Product:
    file = f"{mission}-{author}-{segment}-{exposure}-v{version}_lc.fits"
    return Product(
        file, f"mast:{file}", 1, author, exposure or _EXPOSURES[mission], mission, segment, star, distance
    )  # fmt: skip


def choose_for(products: list[Product], **payload: Any) -> Choice:
    return choose(products, read_query({"name": "TIC 25155310", **payload}))


def list_chosen(choice: Choice) -> list[tuple[str, str, float]]:
    return [(product.segment, product.author, product.exposure_seconds) for product in choice.products]


@pytest.mark.parametrize(
    ("payload", "target"),
    [
        ({"name": "tic0025155310"}, Query("TIC 25155310", ("TESS",), exact=True)),
        ({"name": " KIC  6850504 ", "mission": ""}, Query("KIC 6850504", ("Kepler",), exact=True)),
        ({"name": "201367065", "mission": "K2"}, Query("EPIC 201367065", ("K2",), exact=True)),
        ({"name": "KIC 6850504", "mission": "TESS"}, Query("KIC 6850504", ("TESS",), exact=False)),
        ({"name": "Pi  Mensae"}, Query("Pi Mensae", ("Kepler", "K2", "TESS"), exact=False)),
        (
            {"name": "TIC 1", "segments": [3, 1, 3], "cadence": "fast"},
            Query("TIC 1", ("TESS",), exact=True, segments=(1, 3), cadence="fast"),
        ),
    ],
)
def test_read_query(payload: dict[str, Any], target: Query) -> None:
    assert read_query(payload) == target


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({}, "needs a name of 1 to 200 printable characters"),
        ({"name": "  "}, "needs a name"),
        ({"name": "x" * 201}, "needs a name"),
        ({"name": "a\x00b"}, "needs a name"),
        ({"name": "25155310"}, "a bare number needs a mission, or TIC, KIC or EPIC before it"),
        ({"name": "TIC 1", "mission": "Gaia"}, "mission 'Gaia': allowed are Kepler, K2, TESS or nothing"),
        ({"name": "TIC 1", "cadence": "20"}, "cadence '20': allowed are fast, short, long or nothing"),
        ({"name": "TIC 1", "segments": ["1"]}, "allowed are whole numbers of sectors"),
        ({"name": "TIC 1", "segments": [True]}, "allowed are whole numbers of sectors"),
        ({"name": "TIC 1", "segments": [-1]}, "allowed are numbers from 0 to 9999"),
    ],
)
def test_read_query_rejects_invalid_targets(payload: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        read_query(payload)


def test_preferred_product_of_each_sector_is_chosen() -> None:
    products = [
        create("S1", "QLP", 1800.0), create("S1", "SPOC", 20.0), create("S1", "TESS-SPOC", 1800.0),
        create("S1", "SPOC", 120.0),
        create("S27", "QLP", 600.0), create("S27", "SPOC", 20.0), create("S27", "TESS-SPOC", 600.0),
        create("S56", "QLP", 200.0), create("S56", "TESS-SPOC", 200.0),
        create("S2", "QLP", 1800.0), create("S2", "ELEANOR", 1800.0),
    ]  # fmt: skip
    expected = [("S1", "SPOC", 120.0), ("S2", "QLP", 1800.0), ("S27", "SPOC", 20.0), ("S56", "TESS-SPOC", 200.0)]
    assert list_chosen(choose_for(products)) == expected
    assert list_chosen(choose_for(products[::-1])) == expected


def test_requested_cadence_excludes_others() -> None:
    products = [
        create("S1", "SPOC"),
        create("S1", "SPOC", 20.0),
        create("S2", "SPOC"),
        create("S2", "QLP", 1800.0),
    ]
    assert list_chosen(choose_for(products, cadence="fast")) == [("S1", "SPOC", 20.0)]
    assert list_chosen(choose_for(products, cadence="long", segments=[2])) == [("S2", "QLP", 1800.0)]


def test_missing_requested_segments_are_listed() -> None:
    choice = choose_for([create("S1", "SPOC"), create("S3", "SPOC")], segments=[1, 2, 4])
    assert list_chosen(choice) == [("S1", "SPOC", 120.0)]
    assert choice.missing == (2, 4)
    assert choose_for([create("S3", "SPOC")], segments=[1]) == Choice((), (1,))


def test_kepler_prefers_long_cadence_else_all_months_of_short() -> None:
    star = {"mission": "Kepler", "star": "kplr006850504"}
    months = [create("Q2", "Kepler", 60.0, version=month, **star) for month in (1, 2, 3)]
    products = [*months, create("Q1", "Kepler", 60.0, **star), create("Q1", "Kepler", 1800.0, **star)]
    choice = choose_for(products, name="KIC 6850504")
    assert list_chosen(choice) == [("Q1", "Kepler", 1800.0), *[("Q2", "Kepler", 60.0)] * 3]


def test_k2_prefers_its_own_pipeline_and_both_halves_of_a_campaign() -> None:
    star = {"mission": "K2", "star": "ktwo201367065"}
    products = [
        create("C1", "EVEREST", **star),
        create("C1", "K2", **star),
        create("C10", "EVEREST", **star),
    ]
    products += [create(half, "K2", **star) for half in ("C9b", "C9a")]
    choice = choose_for(products, name="EPIC 201367065", segments=[1, 9, 10])
    assert [(product.segment, product.author) for product in choice.products] == [
        ("C1", "K2"),
        ("C9a", "K2"),
        ("C9b", "K2"),
        ("C10", "EVEREST"),
    ]
    assert choice.missing == ()


def test_last_version_is_chosen() -> None:
    (product,) = choose_for([create("S1", "QLP", version=version) for version in (2, 3, 1)]).products
    assert product.file.endswith("v3_lc.fits")


def test_neighboring_star_is_not_chosen() -> None:
    assert choose_for([create("S1", "SPOC", star="25155311")]).products == ()
    products = [
        create("S1", "SPOC", star="2", distance=0.4),
        create("S2", "SPOC", star="1", distance=0.1),
        create("S3", "QLP", star="TIC 1", distance=0.3),
    ]
    assert [product.star for product in choose_for(products, name="X").products] == ["1", "TIC 1"]


def test_one_mission_is_chosen_and_others_are_listed() -> None:
    products = [create("S14", "SPOC"), create("Q3", "Kepler", mission="Kepler", star="kplr1")]
    choice = choose_for(products, name="Kepler-10")
    assert list_chosen(choice) == [("Q3", "Kepler", 1800.0)]
    assert choice.other_missions == ("TESS",)


@pytest.mark.parametrize(
    ("mission", "described", "name"),
    [
        ("TESS", "TESS Sector 01", "S1"),
        ("Kepler", "Kepler Quarter 00", "Q0"),
        ("Kepler", "Kepler Quarter ", "Q"),
        ("K2", "K2 Campaign 09a", "C9a"),
        ("K2", "K2 Campaign 102", "C102"),
    ],
)
def test_format_segment_name(mission: Mission, described: str, name: str) -> None:
    assert format_segment_name(mission, described) == name


@pytest.mark.parametrize(
    ("uri", "key"),
    [
        (
            "mast:TESS/product/tess2019226182529-s0015-0000000375422201-0151-s_lc.fits",
            "tess/public/tid/s0015/0000/0003/7542/2201/tess2019226182529-s0015-0000000375422201-0151-s_lc.fits",
        ),
        (
            "mast:KEPLER/url/missions/kepler/lightcurves/0082/008264588/kplr008264588-2009131105131_llc.fits",
            "kepler/public/lightcurves/0082/008264588/kplr008264588-2009131105131_llc.fits",
        ),
        (
            "mast:K2/url/missions/k2/lightcurves/c3/206000000/89000/ktwo206089508-c03_llc.fits",
            "k2/public/lightcurves/c3/206000000/89000/ktwo206089508-c03_llc.fits",
        ),
        ("mast:HLSP/qlp/s0005/0000/0002/1934/5200/hlsp_qlp_tess_ffi_s0005_llc.fits", None),
    ],
)
def test_get_bucket_key(uri: str, key: str | None) -> None:
    """The keys are examples from the documentation of lightkurve and astroquery."""
    product = Product(uri.rpartition("/")[2], uri, 1, "", 120.0, "TESS", "S1", "1", 0.0)
    assert get_bucket_key(product) == key


def test_products_round_trip_through_json() -> None:
    product = create("C9a", "K2", mission="K2")
    assert read_product(convert_to_json(product)) == product
