"""Runs lightkurve's search with our session and the configured addresses.

lightkurve searches with astroquery, which fixes MAST's addresses on import, has a timeout of ten minutes, and contacts
the name resolver over plain HTTP with a separate function. This module replaces all of that during a search, since
astroquery has no public API for it. One thread per process may search at a time.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import requests

from tasks.downloads.retries import BUSY_STATUSES, TransientFailure, parse_retry_after
from tasks.downloads.sessions import RefusedAddress
from tasks.engine.contract.errors import BadInput
from tasks.transits.sources.products import AUTHORS, MISSIONS, Product, Query, check_product, format_segment_name
from tasks.transits.sources.settings import MastSettings

_INHERITED = object()
_SEARCH_SECONDS = 300.0  # while the server reports progress


def search(query: Query, settings: MastSettings, session: requests.Session, now: float) -> tuple[Product, ...]:
    """Return all light curves of the star that MAST lists, from supported pipelines, in every segment.

    Raises TransientFailure for transient failures, and BadInput for a search that MAST rejects or an invalid answer.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty results and of optional libraries
        import lightkurve
    authors = tuple(author for mission in query.missions for author in AUTHORS[mission])
    with _redirect_astroquery(query, settings, session), _convert_failures(now), _block_downloads():
        lightkurve.search_lightcurve.cache_clear()  # its cache never expires
        result = lightkurve.search_lightcurve(query.name, mission=query.missions, author=authors)
        products = [_make_product(row) for row in result.table]
    return tuple(check_product(product) for product in products if product is not None)


@contextmanager
def _redirect_astroquery(query: Query, settings: MastSettings, session: requests.Session) -> Iterator[None]:
    """Have astroquery use our session and addresses, and the resolver only for names."""
    from astroquery.exceptions import ResolverError
    from astroquery.mast import Observations, utils

    def resolve(_url: str, params: Mapping[str, Any]) -> requests.Response:
        if query.exact:  # lightkurve would continue with any star at this position
            raise ResolverError(f"{query.name} is not searched by position")
        answer = session.get(settings.resolver, params=params)
        answer.raise_for_status()
        return answer

    connection = Observations._portal_api_connection  # noqa: SLF001 - see the module's docstring
    cached = _get_column_cache(settings.server)
    columns = dict(cached)  # astroquery caches every answer about columns, even an error message
    attributes = {
        "MAST_REQUEST_URL": f"{settings.server}/api/v0/invoke",
        "COLUMNS_CONFIG_URL": f"{settings.server}/portal/Mashup/Mashup.asmx/columnsconfig",
        "TIMEOUT": _SEARCH_SECONDS,
        "_session": session,
        "_column_configs": columns,
        "_current_service": None,
    }
    with _replace_attributes(connection, attributes), _replace_attributes(utils, {"_simple_request": resolve}):
        yield
    cached.update(columns)


@functools.cache
def _get_column_cache(_server: str) -> dict[str, Any]:
    """Return the column configurations of successful searches, requested once per process."""
    return {}


@contextmanager
def _replace_attributes(owner: Any, values: Mapping[str, Any]) -> Iterator[None]:
    """Replace attributes of ``owner`` temporarily. Raises AttributeError if astroquery no longer has them."""
    before = {name: vars(owner).get(name, _INHERITED) for name in values if hasattr(owner, name)}
    if missing := values.keys() - before.keys():
        raise AttributeError(f"astroquery no longer has {', '.join(sorted(missing))}; use a supported version")
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            if value is _INHERITED:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


@contextmanager
def _block_downloads() -> Iterator[None]:
    """Prevent astropy from downloading tables of the Earth's rotation or other data."""
    from astropy.utils import data, iers

    with (
        warnings.catch_warnings(),
        iers.conf.set_temp("auto_download", value=False),
        data.conf.set_temp("allow_internet", value=False),
    ):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _convert_failures(now: float) -> Iterator[None]:
    """Convert errors of requests and astroquery to transient failures or BadInput."""
    from astroquery.exceptions import InvalidQueryError, RemoteServiceError
    from astroquery.exceptions import TimeoutError as AstroqueryTimeoutError

    try:
        yield
    except RefusedAddress as error:
        raise BadInput(f"MAST's search was {error}") from error
    except requests.HTTPError as error:
        raise _make_http_error(error, now) from error
    except (requests.RequestException, RemoteServiceError, TimeoutError, AstroqueryTimeoutError) as error:
        raise TransientFailure(f"MAST's search failed ({_format_error(error)})") from error
    except (InvalidQueryError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        # These concern the answer, not the query, which always has the same form.
        raise TransientFailure(f"MAST's search returned an invalid answer ({_format_error(error)})") from error


def _make_http_error(error: requests.HTTPError, now: float) -> Exception:
    answer = error.response
    assert answer is not None, "raise_for_status passes the answer"
    if answer.status_code in BUSY_STATUSES:
        wait = parse_retry_after(answer.headers.get("Retry-After"), now)
        return TransientFailure(f"MAST's search is busy (HTTP {answer.status_code})", wait)
    advice = "check HEADRACE_MAST_SERVER and HEADRACE_MAST_RESOLVER"
    return BadInput(f"MAST rejects the search (HTTP {answer.status_code} from {answer.url}); {advice}")


def _make_product(row: Any) -> Product | None:
    """Return the product of a row of lightkurve's result; None for an unsupported mission."""
    mission = next((name for name in MISSIONS if name.lower() == str(row["project"]).lower()), None)
    if mission is None:
        return None
    size = _parse_number(row["size"])
    return Product(
        file=str(row["productFilename"]),
        uri=str(row["dataURI"]),
        listed_bytes=int(size) if size > 0 else None,
        author=str(row["author"]),
        exposure_seconds=_parse_number(row["exptime"]),
        mission=mission,
        segment=format_segment_name(mission, str(row["mission"])),
        star=str(row["target_name"]),
        distance_arcsec=_parse_number(row["distance"]),
    )


def _parse_number(value: Any) -> float:
    """Return a cell as a number; 0 if it is masked or not a number."""
    with contextlib.suppress(TypeError, ValueError):
        number = float(cast("float", value))
        return number if abs(number) < float("inf") else 0.0
    return 0.0


def _format_error(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
