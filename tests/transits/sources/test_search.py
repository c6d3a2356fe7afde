"""Tests of lightkurve's search against a server that imitates MAST: its requests and its results."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tasks.downloads.cache import SharedCache
from tasks.downloads.sessions import open_session
from tasks.engine.contract.errors import BadInput, TransientError
from tasks.transits.sources.products import Choice, read_query
from tasks.transits.sources.queries import Queries
from tasks.transits.sources.settings import MastSettings
from tests.transits.sources.archive import Archive, send_busy, send_instead, send_redirect
from tests.transits.sources.conftest import Clock

Ask = Callable[..., Choice]
SPOC = "tess2018206045859-s0001-0000000025155310-0120-s_lc.fits"
_STAR = {"star": "25155310", "number": 1}


@pytest.fixture
def queries(settings: MastSettings, clock: Clock) -> Callable[..., Queries]:
    def make(**changes: Any) -> Queries:
        own = MastSettings(**{**vars(settings), **changes})
        cache = SharedCache(own.folder, own.connections, clock.pace)
        return Queries(own, cache, open_session(own), clock.pace)

    return make


@pytest.fixture
def ask(queries: Callable[..., Queries]) -> Ask:
    return lambda **payload: queries().ask(read_query(payload))


@pytest.fixture(autouse=True)
def forbid_lookups(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Fail if this project or a library looks up a host other than this machine."""
    asked: list[str] = []
    look_up = socket.getaddrinfo

    def record(host: Any, *rest: Any, **options: Any) -> Any:
        if host != "127.0.0.1":
            asked.append(str(host))
            raise socket.gaierror(f"{host} must not be looked up")
        return look_up(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", record)
    yield asked
    assert asked == []


def files(choice: Choice) -> list[str]:
    return [product.file for product in choice.products]


def test_search_by_number_sends_exact_filters(archive: Archive, ask: Ask) -> None:
    """Filter by number, mission, type and pipeline, without the resolver."""
    archive.list(SPOC, b"x", other_files=["tess-s0001_tp.fits", "tess-s0001_dvt.fits", "preview.png"], **_STAR)
    choice = ask(name="TIC 0025155310")
    assert files(choice) == [SPOC]
    (product,) = choice.products
    assert product.uri == f"mast:TESS/product/{SPOC}"
    assert (product.author, product.exposure_seconds, product.segment) == ("SPOC", 120.0, "S1")
    assert (product.listed_bytes, product.star, product.distance_arcsec) == (1, "25155310", 0.0)
    filtered, listed = archive.searches
    assert filtered["service"] == "Mast.Caom.Filtered"
    assert {entry["paramName"]: entry["values"] for entry in filtered["params"]["filters"]} == {
        "target_name": ["25155310"],
        "project": ["TESS"],
        "dataproduct_type": ["cube", "timeseries"],
        "provenance_name": ["SPOC", "TESS-SPOC", "QLP"],
    }
    assert listed["service"] == "Mast.Caom.Products"
    assert not [path for path, _ in archive.requests if "Santa" in path]
    for _, headers in archive.requests:
        assert headers["User-Agent"].startswith("headrace ")
        assert headers["Connection"] == "close"


def test_search_by_number_finds_kepler_and_k2(archive: Archive, ask: Ask) -> None:
    kepler = {"star": "kplr006850504", "project": "Kepler", "author": "Kepler", "number": None}
    for quarter, moment in ((1, "2009166043257"), (10, "2011177032512")):
        archive.list(
            f"kplr006850504-{moment}_llc.fits",
            b"x",
            exposure=1800.0,
            observation="kplr006850504_lc_Q011111111111111111",
            description=f"Lightcurve Long Cadence (CLC) - Q{quarter}",
            **kepler,
        )
    short = {
        "exposure": 60.0,
        "observation": "kplr006850504_sc_Q1",
        "description": "Lightcurve Short Cadence (CSC) - Q1",
    }
    archive.list("kplr006850504-2009131110544_slc.fits", b"x", **short, **kepler)
    k2 = {"star": "ktwo201367065", "project": "K2", "author": "K2", "exposure": 1800.0}
    archive.list("ktwo201367065-c01_llc.fits", b"x", number=1, **k2)
    choice = ask(name="KIC 6850504")
    assert [(product.segment, product.file[14:27]) for product in choice.products] == [
        ("Q1", "2009166043257"),
        ("Q10", "2011177032512"),
    ]
    assert files(ask(name="201367065", mission="K2")) == ["ktwo201367065-c01_llc.fits"]
    assert [product.segment for product in ask(name="EPIC 201367065").products] == ["C1"]


def test_search_by_name_uses_the_resolver_and_the_nearest_star(archive: Archive, ask: Ask) -> None:
    archive.places["pi mensae"] = (84.2912, -80.4691)
    near = {"star": "261136679", "place": (84.2912, -80.4691)}
    archive.list("tess-s0001-0000000261136679_lc.fits", b"x", number=1, **near)
    archive.list("hlsp_qlp_tess_ffi_s0001-0000000261136679_tess_v01_llc.fits", b"x", author="QLP", number=1, **near)
    archive.list("tess-s0002-0000000261136680_lc.fits", b"x", star="261136680", number=2, place=(84.2913, -80.4691))
    choice = ask(name="Pi Mensae", mission="TESS")
    assert files(choice) == ["tess-s0001-0000000261136679_lc.fits"]
    assert [path for path, _ in archive.requests if "Santa" in path] == [
        "/Santa-war/query?outputFormat=json&resolveAll=False&name=Pi+Mensae"
    ]


def test_number_of_another_catalogue_is_searched_by_position(archive: Archive, ask: Ask) -> None:
    archive.places["kic 6850504"] = (280.0, 42.0)
    archive.list("tess-s0014-0000000120571842_lc.fits", b"x", star="120571842", number=14, place=(280.0, 42.0))
    assert files(ask(name="KIC 6850504", mission="TESS")) == ["tess-s0014-0000000120571842_lc.fits"]
    assert ask(name="KIC 6850504").products == ()


def test_unknown_targets_have_no_products(archive: Archive, ask: Ask) -> None:
    """Numbers and names without data, and unknown names, do not match another star."""
    archive.list(SPOC, b"x", **_STAR)
    archive.places["empty field"] = (10.0, 10.0)
    assert ask(name="TIC 1").products == ()
    assert ask(name="empty field").products == ()
    assert ask(name="no such star").products == ()


def test_search_is_cached_for_a_week_for_all_segments(archive: Archive, ask: Ask, clock: Clock) -> None:
    archive.list(SPOC, b"x", **_STAR)
    assert len(ask(name="TIC 25155310").products) == 1
    clock.seconds += 7 * 86_400 - 1
    assert len(ask(name="25155310", mission="TESS", segments=[1], cadence="short").products) == 1
    assert len(archive.searches) == 2
    clock.seconds += 2
    ask(name="TIC 25155310")
    assert len(archive.searches) == 4


def test_search_without_a_requested_segment_expires_after_an_hour(archive: Archive, ask: Ask, clock: Clock) -> None:
    archive.list(SPOC, b"x", **_STAR)
    assert ask(name="TIC 25155310", segments=[1, 2]).missing == (2,)
    archive.list(SPOC.replace("s0001", "s0002"), b"x", star="25155310", number=2)
    clock.seconds += 3599
    assert ask(name="TIC 25155310", segments=[1, 2]).missing == (2,)
    clock.seconds += 2
    assert [product.segment for product in ask(name="TIC 25155310", segments=[1, 2]).products] == ["S1", "S2"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"completed_at": 1e12, "products": []}', "nan", "\x80"])
def test_damaged_cached_search_is_repeated(content: str, archive: Archive, ask: Ask, settings: MastSettings) -> None:
    archive.list(SPOC, b"x", **_STAR)
    first = ask(name="TIC 25155310")
    (note,) = settings.folder.glob("queries/*/*.json")
    note.write_text(content, encoding="latin-1")
    assert ask(name="TIC 25155310") == first
    assert json.loads(note.read_text())["products"][0]["file"] == SPOC


def test_cached_search_cannot_name_a_file_outside(archive: Archive, ask: Ask, settings: MastSettings) -> None:
    """Reject a manipulated cache file, which must not redirect the download."""
    archive.list(SPOC, b"x", **_STAR)
    ask(name="TIC 25155310")
    (note,) = settings.folder.glob("queries/*/*.json")
    note.write_text(note.read_text().replace(SPOC, "../../x_lc.fits"))
    with pytest.raises(BadInput, match="not a valid name of a light curve"):
        ask(name="TIC 25155310")


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("../../etc/x_lc.fits", "mast:TESS/product/../../etc/x_lc.fits"),
        ("x_lc.fits", "mast:TESS/../product/x_lc.fits"),
        ("x_lc.fits", "http://elsewhere.example/x_lc.fits"),
        ("x_lc.fits", "mast:TESS/product/y_lc.fits"),
        (".x_lc.fits", "mast:TESS/product/.x_lc.fits"),
        ("x y_lc.fits", "mast:TESS/product/x y_lc.fits"),
    ],
)
def test_unsafe_file_names_are_rejected(file: str, uri: str, archive: Archive, ask: Ask) -> None:
    archive.list(file, b"x", uri=uri, **_STAR)
    with pytest.raises(BadInput, match="not a valid name of a light curve; it is not downloaded"):
        ask(name="TIC 25155310")
    assert archive.downloads == []


def test_busy_search_is_retried_after_the_wait(archive: Archive, ask: Ask, clock: Clock) -> None:
    archive.list(SPOC, b"x", **_STAR)
    archive.search_faults.extend(
        [send_busy(429, "5"), send_busy(503), send_instead(b"<html>", Content_Type="text/html")]
    )
    assert files(ask(name="TIC 25155310")) == [SPOC]
    assert clock.waits == [5.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b'{"status": "ERROR", "msg": "Invalid Request"}', "RemoteServiceError: Invalid Request"),
        (b'{"status": "COMPLETE", "rows": []}', "an invalid answer"),
        (b"[1]", "an invalid answer"),
        (b"", "JSONDecodeError"),
    ],
)
def test_failing_search_stops_after_all_attempts(
    answer: bytes, words: str, archive: Archive, queries: Callable[..., Queries], settings: MastSettings
) -> None:
    archive.search_faults.extend([send_instead(answer, Content_Type="application/json")] * 20)
    with pytest.raises(TransientError, match=f"search for TIC 9 .TESS.: .*{words}.*; tried 2 times; run the same"):
        queries(tries=2).ask(read_query({"name": "TIC 9"}))
    assert list(settings.folder.glob("queries/*/*.json")) == []


def test_column_error_is_not_cached(archive: Archive, ask: Ask, clock: Clock) -> None:
    """astroquery would cache the error and reject every search of this process."""
    archive.list(SPOC, b"x", **_STAR)
    error = send_instead(b'{"status": "ERROR", "msg": "down"}', Content_Type="application/json")
    archive.column_faults.extend([error, send_busy(503), error])
    assert files(ask(name="TIC 25155310")) == [SPOC]
    assert clock.waits == [0.5, 1.0, 2.0]


def test_rejected_search_names_the_variable_to_check(archive: Archive, ask: Ask, clock: Clock) -> None:
    archive.search_faults.append(send_busy(404))
    with pytest.raises(BadInput, match=r"HTTP 404 from http.*check HEADRACE_MAST_SERVER"):
        ask(name="TIC 9")
    assert clock.waits == []


def test_redirected_search_is_rejected(archive: Archive, ask: Ask) -> None:
    archive.search_faults.append(send_redirect("http://127.0.0.1:9/api/v0/invoke"))
    with pytest.raises(BadInput, match=r"redirected to http://127\.0\.0\.1:9/api/v0/invoke, which is not allowed"):
        ask(name="TIC 9")


def test_unreachable_resolver_is_a_transient_error(archive: Archive, queries: Callable[..., Queries]) -> None:
    """Otherwise the name would be cached as one without data."""
    with pytest.raises(TransientError, match="search for Pi Mensae"):
        queries(resolver="http://127.0.0.1:9/query", tries=1).ask(read_query({"name": "Pi Mensae"}))


def test_search_restores_the_state_of_astroquery(archive: Archive, ask: Ask) -> None:
    from astropy.utils import data, iers
    from astroquery.mast import Observations, utils

    connection = Observations._portal_api_connection
    before = dict(vars(connection)), utils._simple_request, iers.conf.auto_download, data.conf.allow_internet
    archive.list(SPOC, b"x", **_STAR)
    ask(name="TIC 25155310")
    after = dict(vars(connection)), utils._simple_request, iers.conf.auto_download, data.conf.allow_internet
    for state in (before, after):
        state[0].pop("_last_query", None)
    assert after == before
    assert connection.MAST_REQUEST_URL == "https://mast.stsci.edu/api/v0/invoke"
    assert isinstance(connection._session, requests.Session)
