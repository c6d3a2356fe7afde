"""Queries to the archive, its lists of products, and the choice among them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import MAX_ID_LENGTH

Mission = Literal["Kepler", "K2", "TESS"]
Cadence = Literal["fast", "short", "long"]

# The order of missions for a target without one: the lowest noise first.
MISSIONS: tuple[Mission, ...] = get_args(Mission)
AUTHORS: Mapping[Mission, tuple[str, ...]] = {
    "Kepler": ("Kepler",),
    "K2": ("K2", "EVEREST"),
    "TESS": ("SPOC", "TESS-SPOC", "QLP"),
}
_CATALOGUES: Mapping[str, Mission] = {"TIC": "TESS", "KIC": "Kepler", "EPIC": "K2"}
_LETTERS: Mapping[Mission, str] = {"TESS": "S", "Kepler": "Q", "K2": "C"}
# The order of preference within a segment: the pipeline that removes systematics best, then the cadence that resolves
# a transit with the fewest points.
_PREFERENCE: Mapping[Mission, tuple[tuple[str, Cadence], ...]] = {
    "Kepler": (("Kepler", "long"), ("Kepler", "short")),
    "K2": (("K2", "long"), ("K2", "short"), ("EVEREST", "long"), ("EVEREST", "short")),
    "TESS": (
        ("SPOC", "short"), ("SPOC", "fast"), ("SPOC", "long"), ("TESS-SPOC", "long"), ("TESS-SPOC", "short"),
        ("QLP", "long"), ("QLP", "short"),
    ),
}  # fmt: skip
_FAST_BELOW_SECONDS, _LONG_FROM_SECONDS = 40.0, 190.0  # TESS 20; Kepler 59, TESS 120; TESS 200 and up, Kepler 1766

_IDENTIFIER = re.compile(r"(TIC|KIC|EPIC)\s*0*([1-9][0-9]{0,11})", re.IGNORECASE)
_NUMBER = re.compile(r"0*([1-9][0-9]{0,11})")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.fits")
_URI = re.compile(r"mast:[A-Za-z0-9._/-]+")
_MAX_NAME_LENGTH = 200
_MAX_SEGMENT = 9999


@dataclass(frozen=True)
class Query:
    """A request for the light curves of a star.

    name      ``TIC 25155310``, ``KIC 6850504``, ``EPIC 201367065``, or a name for the resolver
    missions  the missions to search, in order of preference
    exact     True if the archive has this catalogue number in these missions; otherwise the search is by position
    segments  numbers of sectors, quarters or campaigns; empty for all
    cadence   the only accepted cadence; None for the preferred one
    """

    name: str
    missions: tuple[Mission, ...]
    exact: bool
    segments: tuple[int, ...] = ()
    cadence: Cadence | None = None

    def __str__(self) -> str:
        segments = f", segments {', '.join(map(str, self.segments))}" if self.segments else ""
        return (
            f"{self.name} ({' or '.join(self.missions)}{segments}{f', {self.cadence} cadence' if self.cadence else ''})"
        )


@dataclass(frozen=True)
class Product:
    """One light curve file that the archive lists.

    listed_bytes     its listed size, which may be outdated; None if not listed
    segment          ``S1``, ``Q3``, ``C5``, ``C9a``
    star             the archive's name of the star
    distance_arcsec  from the position of the query; 0 for an exact number
    """

    file: str
    uri: str
    listed_bytes: int | None
    author: str
    exposure_seconds: float
    mission: Mission
    segment: str
    star: str
    distance_arcsec: float

    @property
    def cadence(self) -> Cadence:
        """Return the class of its exposure time."""
        if self.exposure_seconds < _FAST_BELOW_SECONDS:
            return "fast"
        return "short" if self.exposure_seconds < _LONG_FROM_SECONDS else "long"


@dataclass(frozen=True)
class Choice:
    """The chosen products, the requested but missing segments, and other missions that observed the star."""

    products: tuple[Product, ...]
    missing: tuple[int, ...] = ()
    other_missions: tuple[Mission, ...] = ()


def read_query(payload: Mapping[str, Any]) -> Query:
    """Read the query of an item's payload. Raises BadInput if it is invalid.

    It has ``name``, ``mission`` (of ``MISSIONS``, or empty), ``segments`` (a list of numbers) and ``cadence``
    (``fast``, ``short`` or ``long``); all but the name may be missing. A bare number belongs to the mission's
    catalogue.
    """
    name = " ".join(str(payload.get("name") or "").split())
    mission, cadence = payload.get("mission") or None, payload.get("cadence") or None
    if not name or len(name) > _MAX_NAME_LENGTH or not name.isprintable():
        raise BadInput(f"name {name[:40]!r}: a target needs a name of 1 to {_MAX_NAME_LENGTH} printable characters")
    if mission not in {None, *MISSIONS}:
        raise BadInput(f"mission {mission!r}: allowed are {', '.join(MISSIONS)} or nothing")
    if cadence not in {None, *get_args(Cadence)}:
        raise BadInput(f"cadence {cadence!r}: allowed are {', '.join(get_args(Cadence))} or nothing")
    catalogue, canonical = _identify(name, mission)
    implied = _CATALOGUES.get(catalogue)
    missions = _choose_missions(mission, implied)
    return Query(canonical, missions, missions == (implied,), _read_segments(payload.get("segments")), cadence)


def choose(products: Iterable[Product], query: Query) -> Choice:
    """Choose the nearest star of ``query``, its first mission, and the preferred files of each segment.

    This is one file per segment, except for Kepler's short cadence: all of its monthly files.
    """
    stars = _select_one_star(_filter_products(products, query), query)
    missions = [mission for mission in query.missions if mission in stars]
    if not missions:
        return Choice((), query.segments)
    segments: dict[str, list[Product]] = {}
    for product in stars[missions[0]]:
        segments.setdefault(product.segment, []).append(product)
    chosen = [
        product for name in sorted(segments, key=_get_segment_order) for product in _select_preferred(segments[name])
    ]
    there = {_get_segment_order(name)[0] for name in segments}
    missing = tuple(number for number in query.segments if number not in there)
    return Choice(tuple(chosen), missing, tuple(missions[1:]))


def format_segment_name(mission: Mission, described: str) -> str:
    """Return ``S1`` for ``TESS Sector 01``; the letter alone if ``described`` has no number."""
    match = re.search(r"(\d+)([ab]?)\s*$", described)
    return f"{_LETTERS[mission]}{int(match[1])}{match[2]}" if match else _LETTERS[mission]


def check_product(product: Product) -> Product:
    """Return ``product`` if its names are safe. Raises BadInput if they are not those of an archive file."""
    parts = product.uri.split("/")
    is_safe = _FILE.fullmatch(product.file) and len(product.file) <= MAX_ID_LENGTH and _URI.fullmatch(product.uri)
    if not is_safe or ".." in parts or parts[-1] != product.file:
        listed = f"{product.file[:80]!r} at {product.uri[:80]!r}"
        raise BadInput(f"the archive lists {listed}, which is not a valid name of a light curve; it is not downloaded")
    return product


def get_bucket_key(product: Product) -> str | None:
    """Return the key of the product in the public bucket ``stpubdata``; None if unknown."""
    path = product.uri.removeprefix("mast:")
    if tess := re.fullmatch(r"TESS/product/(tess\d+-s(\d{4})-(\d{16})-.+)", path):
        star = tess[3]
        return f"tess/public/tid/s{tess[2]}/{star[:4]}/{star[4:8]}/{star[8:12]}/{star[12:]}/{tess[1]}"
    if kepler := re.fullmatch(r"(?:kepler|k2)/url/missions/(kepler|k2)/(lightcurves/.+)", path, re.IGNORECASE):
        return re.sub("/+", "/", f"{kepler[1].lower()}/public/{kepler[2]}")
    return None


def read_product(row: Mapping[str, Any]) -> Product:
    """Return the product that :func:`to_json` wrote. Raises KeyError, TypeError or ValueError for invalid content."""
    mission = row["mission"]
    if mission not in MISSIONS:
        raise ValueError(f"unknown mission {mission!r}")
    size = row["listed_bytes"]
    return Product(
        file=str(row["file"]),
        uri=str(row["uri"]),
        listed_bytes=None if size is None else int(size),
        author=str(row["author"]),
        exposure_seconds=float(row["exposure_seconds"]),
        mission=mission,
        segment=str(row["segment"]),
        star=str(row["star"]),
        distance_arcsec=float(row["distance_arcsec"]),
    )


def convert_to_json(product: Product) -> dict[str, Any]:
    """Return the product as JSON values."""
    return asdict(product)


def _identify(name: str, mission: Mission | None) -> tuple[str, str]:
    """Return the catalogue, or an empty text, and the canonical name."""
    if match := _IDENTIFIER.fullmatch(name):
        return match[1].upper(), f"{match[1].upper()} {match[2]}"
    number = _NUMBER.fullmatch(name)
    if number is None:
        return "", name
    for catalogue, owner in _CATALOGUES.items():
        if mission == owner:
            return catalogue, f"{catalogue} {number[1]}"
    raise BadInput(f"target {name!r}: a bare number needs a mission, or TIC, KIC or EPIC before it")


def _choose_missions(requested: Mission | None, implied: Mission | None) -> tuple[Mission, ...]:
    """Return the requested mission, else that of the catalogue, else all."""
    if requested:
        return (requested,)
    return (implied,) if implied else MISSIONS


def _read_segments(given: Any) -> tuple[int, ...]:
    numbers = list(given or ())
    if any(isinstance(number, bool) or not isinstance(number, int) for number in numbers):
        raise BadInput(f"segments {numbers!r}: allowed are whole numbers of sectors, quarters or campaigns")
    if any(not 0 <= number <= _MAX_SEGMENT for number in numbers):
        raise BadInput(f"segments {numbers!r}: allowed are numbers from 0 to {_MAX_SEGMENT}")
    return tuple(sorted(set(numbers)))


def _filter_products(products: Iterable[Product], query: Query) -> list[Product]:
    """Return the products of the requested missions, segments and cadence, from supported pipelines."""
    return [
        product
        for product in products
        if product.mission in query.missions
        and (product.author, product.cadence) in _PREFERENCE[product.mission]
        and query.cadence in {None, product.cadence}
        and (not query.segments or _get_segment_order(product.segment)[0] in query.segments)
    ]


def _select_one_star(products: Sequence[Product], query: Query) -> dict[Mission, list[Product]]:
    """Return by mission the products of the star with the exact number, or of the nearest star."""
    stars: dict[Mission, list[Product]] = {}
    for mission in query.missions:
        own = [product for product in products if product.mission == mission]
        if not own:
            continue
        nearest = min(own, key=lambda product: (product.distance_arcsec, product.star))
        number = _get_star_number(query.name if query.exact else nearest.star)
        if same := [product for product in own if _get_star_number(product.star) == number]:
            stars[mission] = same
    return stars


def _get_star_number(name: str) -> str:
    """Return the number in a star's name (``25155310``, ``kplr006850504``, ``ktwo...``), or the name in lower case."""
    match = re.search(r"0*(\d+)\s*$", name)
    return match[1] if match else name.lower()


def _select_preferred(segment: Sequence[Product]) -> list[Product]:
    order = _PREFERENCE[segment[0].mission]
    first = min(segment, key=lambda product: order.index((product.author, product.cadence)))
    alike = sorted(
        (product for product in segment if (product.author, product.cadence) == (first.author, first.cadence)),
        key=lambda product: product.file,
    )
    monthly = first.mission == "Kepler" and first.cadence == "short"
    return alike if monthly else alike[-1:]  # the last of several versions


def _get_segment_order(name: str) -> tuple[int, str]:
    """Return the number of a segment, -1 without a number, and its name."""
    match = re.search(r"\d+", name)
    return int(match[0]) if match else -1, name
