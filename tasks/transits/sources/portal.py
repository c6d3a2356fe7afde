"""lightkurve's search, asked through our session and at the configured addresses.

lightkurve searches with astroquery, which fixes MAST's addresses when it is imported, waits ten minutes for a byte, and
asks the name resolver over plain HTTP by a function of its own. For the time of one search all of that is put right;
astroquery has no public way for it. One thread of a process may search at a time.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import requests

from tasks.downloads.patience import BUSY_STATUSES, Passing, RefusedAddress, retry_after_seconds
from tasks.engine.contract.errors import BadInput
from tasks.transits.sources.products import AUTHORS, MISSIONS, Product, Query, checked, segment_name
from tasks.transits.sources.settings import MastSettings

_INHERITED = object()
_SEARCH_SECONDS = 300.0  # as long as the server says that it is still at it


def search(query: Query, settings: MastSettings, session: requests.Session, now: float) -> tuple[Product, ...]:
    """All light curves of the star that MAST lists, from the pipelines that we know, in every segment.

    Raises Passing for what may pass, and BadInput for a search that MAST refuses or an answer that cannot be trusted.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty results and of libraries that lightkurve can do without
        import lightkurve
    authors = tuple(author for mission in query.missions for author in AUTHORS[mission])
    with _pointed(query, settings, session), _failures_told(now), _offline():
        lightkurve.search_lightcurve.cache_clear()  # its memory knows no time to live
        result = lightkurve.search_lightcurve(query.name, mission=query.missions, author=authors)
        products = [_product(row) for row in result.table]
    return tuple(checked(product) for product in products if product is not None)


@contextmanager
def _pointed(query: Query, settings: MastSettings, session: requests.Session) -> Iterator[None]:
    """Have astroquery use our session and addresses, and the resolver only where a place is asked for."""
    from astroquery.exceptions import ResolverError
    from astroquery.mast import Observations, utils

    def resolve(_url: str, params: Mapping[str, Any]) -> requests.Response:
        if query.exact:  # lightkurve would go on to whatever star is at that place
            raise ResolverError(f"{query.name} is not looked for by its place")
        answer = session.get(settings.resolver, params=params)
        answer.raise_for_status()
        return answer

    connection = Observations._portal_api_connection  # noqa: SLF001 - see the module's docstring
    known = _columns(settings.server)
    columns = dict(known)  # astroquery keeps what it is told of columns for ever, an error message too
    own = {
        "MAST_REQUEST_URL": f"{settings.server}/api/v0/invoke",
        "COLUMNS_CONFIG_URL": f"{settings.server}/portal/Mashup/Mashup.asmx/columnsconfig",
        "TIMEOUT": _SEARCH_SECONDS,
        "_session": session,
        "_column_configs": columns,
        "_current_service": None,
    }
    with _replaced(connection, own), _replaced(utils, {"_simple_request": resolve}):
        yield
    known.update(columns)


@functools.cache
def _columns(_server: str) -> dict[str, Any]:
    """What searches that went well were told of the columns; asked for once a process."""
    return {}


@contextmanager
def _replaced(owner: Any, values: Mapping[str, Any]) -> Iterator[None]:
    """Give ``owner`` other attributes for a while. Raises AttributeError where astroquery has none such any more."""
    before = {name: vars(owner).get(name, _INHERITED) for name in values if hasattr(owner, name)}
    if missing := values.keys() - before.keys():
        raise AttributeError(f"astroquery has no {', '.join(sorted(missing))} any more: it is not what we know")
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
def _offline() -> Iterator[None]:
    """astropy must fetch no tables of the Earth's rotation, nor anything else."""
    from astropy.utils import data, iers

    with (
        warnings.catch_warnings(),
        iers.conf.set_temp("auto_download", value=False),
        data.conf.set_temp("allow_internet", value=False),
    ):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _failures_told(now: float) -> Iterator[None]:
    """What requests and astroquery raise, as what it means."""
    from astroquery.exceptions import InvalidQueryError, RemoteServiceError
    from astroquery.exceptions import TimeoutError as AstroqueryTimeoutError

    try:
        yield
    except RefusedAddress as error:
        raise BadInput(f"MAST's search was {error}") from error
    except requests.HTTPError as error:
        raise _refusal(error, now) from error
    except (requests.RequestException, RemoteServiceError, TimeoutError, AstroqueryTimeoutError) as error:
        raise Passing(f"MAST's search failed ({_brief(error)})") from error
    except (InvalidQueryError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        # Not of our query, which is always of one form, but of reading what came.
        raise Passing(f"MAST's search gave an answer of another form ({_brief(error)})") from error


def _refusal(error: requests.HTTPError, now: float) -> Exception:
    answer = error.response
    assert answer is not None, "raise_for_status gives the answer along"
    if answer.status_code in BUSY_STATUSES:
        wait = retry_after_seconds(answer.headers.get("Retry-After"), now)
        return Passing(f"MAST's search is busy (HTTP {answer.status_code})", wait)
    advice = "check HEADRACE_MAST_SERVER and HEADRACE_MAST_RESOLVER"
    return BadInput(f"MAST's search refuses (HTTP {answer.status_code} from {answer.url}); {advice}")


def _product(row: Any) -> Product | None:
    """What a row of lightkurve's result says; None for a mission that we do not know."""
    mission = next((known for known in MISSIONS if known.lower() == str(row["project"]).lower()), None)
    if mission is None:
        return None
    size = _number(row["size"])
    return Product(
        file=str(row["productFilename"]),
        uri=str(row["dataURI"]),
        listed_bytes=int(size) if size > 0 else None,
        author=str(row["author"]),
        exposure_seconds=_number(row["exptime"]),
        mission=mission,
        segment=segment_name(mission, str(row["mission"])),
        star=str(row["target_name"]),
        distance_arcsec=_number(row["distance"]),
    )


def _number(value: Any) -> float:
    """A cell as a number; 0 where it is masked or no number."""
    with contextlib.suppress(TypeError, ValueError):
        number = float(cast("float", value))
        return number if abs(number) < float("inf") else 0.0
    return 0.0


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
