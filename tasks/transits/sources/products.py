"""What is asked of the archive, what it lists, and which of that is taken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import MAX_ID_LENGTH

Mission = Literal["Kepler", "K2", "TESS"]
Cadence = Literal["fast", "short", "long"]

# The order in which a target that nothing says the mission of is looked at: the quietest light curves first.
MISSIONS: tuple[Mission, ...] = get_args(Mission)
AUTHORS: Mapping[Mission, tuple[str, ...]] = {
    "Kepler": ("Kepler",),
    "K2": ("K2", "EVEREST"),
    "TESS": ("SPOC", "TESS-SPOC", "QLP"),
}
_CATALOGUES: Mapping[str, Mission] = {"TIC": "TESS", "KIC": "Kepler", "EPIC": "K2"}
_LETTERS: Mapping[Mission, str] = {"TESS": "S", "Kepler": "Q", "K2": "C"}
# Of each segment the first of these is taken. The pipelines in the order in which they remove systematics, and of one
# pipeline the cadence that holds all that a transit shows in the fewest points.
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
    """A star, as it is asked for.

    name      ``TIC 25155310``, ``KIC 6850504``, ``EPIC 201367065``, or a name that the resolver knows
    missions  the missions that are searched, in the order of preference
    exact     whether the archive knows the star by this very number in these missions; otherwise its place is asked for
    segments  numbers of sectors, quarters or campaigns; all where it is empty
    cadence   the only cadence that is taken; None: the preferred one
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

    listed_bytes     its size by the list, which may be out of date; None where the list does not say
    segment          ``S1``, ``Q3``, ``C5``, ``C9a``
    star             the archive's name of the star
    distance_arcsec  from the place that was asked for; 0 where an exact number was
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
        """The class of its exposure time."""
        if self.exposure_seconds < _FAST_BELOW_SECONDS:
            return "fast"
        return "short" if self.exposure_seconds < _LONG_FROM_SECONDS else "long"


@dataclass(frozen=True)
class Choice:
    """What is taken of a list, which segments were asked for in vain, and which other missions saw the star."""

    products: tuple[Product, ...]
    missing: tuple[int, ...] = ()
    other_missions: tuple[Mission, ...] = ()


def read_query(payload: Mapping[str, Any]) -> Query:
    """What an item's payload asks for. Raises BadInput for one that cannot be asked for.

    It has ``name``, ``mission`` (of ``MISSIONS``, or empty), ``segments`` (a list of numbers) and ``cadence``
    (``fast``, ``short`` or ``long``); all but the name may be missing. A bare number is one of the mission's catalogue.
    """
    name = " ".join(str(payload.get("name") or "").split())
    mission, cadence = payload.get("mission") or None, payload.get("cadence") or None
    if not name or len(name) > _MAX_NAME_LENGTH or not name.isprintable():
        raise BadInput(f"name {name[:40]!r}: a target needs a name of 1 to {_MAX_NAME_LENGTH} printable characters")
    if mission not in {None, *MISSIONS}:
        raise BadInput(f"mission {mission!r}: allowed are {', '.join(MISSIONS)} or nothing")
    if cadence not in {None, *get_args(Cadence)}:
        raise BadInput(f"cadence {cadence!r}: allowed are {', '.join(get_args(Cadence))} or nothing")
    catalogue, canonical = _identified(name, mission)
    known = _CATALOGUES.get(catalogue)
    missions = _missions(mission, known)
    return Query(canonical, missions, missions == (known,), _segments(payload.get("segments")), cadence)


def choose(found: Iterable[Product], query: Query) -> Choice:
    """Of the nearest star that ``query`` means, one mission, and of each of its segments the preferred files.

    That is one file, but for Kepler's short cadence, which has one a month: all of those.
    """
    stars = _of_one_star(_wanted(found, query), query)
    missions = [mission for mission in query.missions if mission in stars]
    if not missions:
        return Choice((), query.segments)
    segments: dict[str, list[Product]] = {}
    for product in stars[missions[0]]:
        segments.setdefault(product.segment, []).append(product)
    taken = [product for name in sorted(segments, key=_segment_order) for product in _preferred(segments[name])]
    there = {_segment_order(name)[0] for name in segments}
    missing = tuple(number for number in query.segments if number not in there)
    return Choice(tuple(taken), missing, tuple(missions[1:]))


def segment_name(mission: Mission, described: str) -> str:
    """``S1`` for ``TESS Sector 01``; the letter alone where ``described`` bears no number."""
    found = re.search(r"(\d+)([ab]?)\s*$", described)
    return f"{_LETTERS[mission]}{int(found[1])}{found[2]}" if found else _LETTERS[mission]


def checked(product: Product) -> Product:
    """``product``, once its names are known to be harmless. Raises BadInput for those of no file at the archive."""
    parts = product.uri.split("/")
    harmless = _FILE.fullmatch(product.file) and len(product.file) <= MAX_ID_LENGTH and _URI.fullmatch(product.uri)
    if not harmless or ".." in parts or parts[-1] != product.file:
        listed = f"{product.file[:80]!r} at {product.uri[:80]!r}"
        raise BadInput(f"the archive lists {listed}, which is no name of a light curve; nothing is downloaded")
    return product


def bucket_key(product: Product) -> str | None:
    """Where the public bucket ``stpubdata`` has the product; None for what is not known to be there."""
    path = product.uri.removeprefix("mast:")
    if tess := re.fullmatch(r"TESS/product/(tess\d+-s(\d{4})-(\d{16})-.+)", path):
        star = tess[3]
        return f"tess/public/tid/s{tess[2]}/{star[:4]}/{star[4:8]}/{star[8:12]}/{star[12:]}/{tess[1]}"
    if kepler := re.fullmatch(r"(?:kepler|k2)/url/missions/(kepler|k2)/(lightcurves/.+)", path, re.IGNORECASE):
        return re.sub("/+", "/", f"{kepler[1].lower()}/public/{kepler[2]}")
    return None


def from_json(row: Mapping[str, Any]) -> Product:
    """The product that :func:`to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
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


def to_json(product: Product) -> dict[str, Any]:
    """The product as JSON values."""
    return asdict(product)


def _identified(name: str, mission: Mission | None) -> tuple[str, str]:
    """The catalogue, or nothing, and the name as it is asked for."""
    if named := _IDENTIFIER.fullmatch(name):
        return named[1].upper(), f"{named[1].upper()} {named[2]}"
    number = _NUMBER.fullmatch(name)
    if number is None:
        return "", name
    for catalogue, known in _CATALOGUES.items():
        if mission == known:
            return catalogue, f"{catalogue} {number[1]}"
    raise BadInput(f"target {name!r}: a bare number needs a mission, or TIC, KIC or EPIC before it")


def _missions(asked: Mission | None, known: Mission | None) -> tuple[Mission, ...]:
    """The mission that is asked for, else that of the catalogue, else all."""
    if asked:
        return (asked,)
    return (known,) if known else MISSIONS


def _segments(given: Any) -> tuple[int, ...]:
    numbers = list(given or ())
    if any(isinstance(number, bool) or not isinstance(number, int) for number in numbers):
        raise BadInput(f"segments {numbers!r}: allowed are whole numbers of sectors, quarters or campaigns")
    if any(not 0 <= number <= _MAX_SEGMENT for number in numbers):
        raise BadInput(f"segments {numbers!r}: allowed are numbers from 0 to {_MAX_SEGMENT}")
    return tuple(sorted(set(numbers)))


def _wanted(found: Iterable[Product], query: Query) -> list[Product]:
    """Those of the missions, segments and cadence that are asked for, from a pipeline that we know."""
    return [
        product
        for product in found
        if product.mission in query.missions
        and (product.author, product.cadence) in _PREFERENCE[product.mission]
        and query.cadence in {None, product.cadence}
        and (not query.segments or _segment_order(product.segment)[0] in query.segments)
    ]


def _of_one_star(products: Sequence[Product], query: Query) -> dict[Mission, list[Product]]:
    """By mission, those of the star with the very number, or of the one that is nearest to the place."""
    stars: dict[Mission, list[Product]] = {}
    for mission in query.missions:
        own = [product for product in products if product.mission == mission]
        if not own:
            continue
        nearest = min(own, key=lambda product: (product.distance_arcsec, product.star))
        wanted = _star_number(query.name if query.exact else nearest.star)
        if same := [product for product in own if _star_number(product.star) == wanted]:
            stars[mission] = same
    return stars


def _star_number(name: str) -> str:
    """What the archive's forms of a star's name (``25155310``, ``kplr006850504``, ``ktwo...``) have in common."""
    found = re.search(r"0*(\d+)\s*$", name)
    return found[1] if found else name.lower()


def _preferred(segment: Sequence[Product]) -> list[Product]:
    order = _PREFERENCE[segment[0].mission]
    first = min(segment, key=lambda product: order.index((product.author, product.cadence)))
    alike = sorted(
        (product for product in segment if (product.author, product.cadence) == (first.author, first.cadence)),
        key=lambda product: product.file,
    )
    monthly = first.mission == "Kepler" and first.cadence == "short"
    return alike if monthly else alike[-1:]  # of several versions the last


def _segment_order(name: str) -> tuple[int, str]:
    """The number of a segment, -1 where it has none, and its name."""
    found = re.search(r"\d+", name)
    return int(found[0]) if found else -1, name
