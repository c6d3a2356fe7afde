"""From a table of targets or a folder of light curves to the stars of a run, and from stars to items."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.items import Item, is_safe_id, make_distinct_ids
from tasks.engine.contract.manifest import (
    InputFolder,
    Row,
    Table,
    cap_problems,
    collect_extra_columns,
    find_missing_columns,
    read_table,
    shorten,
)
from tasks.engine.contract.text import showable
from tasks.media.kinds import FITS_SUFFIXES, suffix_of
from tasks.transits.columns import SEPARATOR
from tasks.transits.folder import CATALOGUES, FoundFile, catalogue_name, find_light_curves, star_key
from tasks.transits.light_curve import Star
from tasks.transits.params import Source

REQUIRED = ("target_id",)
MISSIONS = {"tess": "TESS", "kepler": "Kepler", "k2": "K2"}
_CATALOGUE_OF = {mission: catalogue for catalogue, mission in CATALOGUES.items()}
_PARTS = {
    "sector": "TESS", "sectors": "TESS", "quarter": "Kepler", "quarters": "Kepler", "campaign": "K2", "campaigns": "K2",
}  # fmt: skip
# By the field of Star: the columns that may hold it, and what no star exceeds.
_STAR: Mapping[str, tuple[tuple[str, ...], float, float, str]] = {
    "radius": (("radius", "stellar_radius"), 0.005, 2000.0, "solar radii"),
    "mass": (("mass", "stellar_mass"), 0.01, 500.0, "solar masses"),
    "temperature_kelvin": (("stellar_temperature",), 500.0, 300_000.0, "kelvin"),
    "log_gravity": (("stellar_log_gravity",), -2.0, 10.0, "the log10 of a gravity in cm/s2"),
}
KNOWN = frozenset({
    *REQUIRED, "mission", "label", "path", *_PARTS, *(column for columns, *_ in _STAR.values() for column in columns),
})  # fmt: skip
_MAX_PART = 999
_PART_LIST = f"numbers from 0 to {_MAX_PART}, such as 1, 1;2 or 1-3"
# Days that one file of each kind covers, and bytes that a point takes in it.
_DAYS = {"tess": 27.0, "kplr": 90.0, "ktwo": 80.0}
_OTHER_DAYS = 40.0
_FITS_POINT_BYTES, _TEXT_POINT_BYTES = 100, 40
_PACKED_RATIO = 2.5


@dataclass(frozen=True)
class Target:
    """One star of a run.

    id        its name in a form that is safe as a file name
    name      as archives know it: ``TIC 25155310``, ``K2-3``
    mission   ``TESS``, ``Kepler``, ``K2``, or empty where neither the table nor the name says
    segments  the sectors, quarters or campaigns that are asked for; none: all that there are
    star      what the table says of it
    label     what the table's ``label`` says, as text
    fields    the table's other columns, as JSON values
    files     absolute paths of its light curves, sorted; none for the source ``mast``, and where the folder has none
    where     how a user finds its row, or the first of its files
    paths     the same files as the user knows them: relative to the folder
    refusal   why one of the files cannot be used, if a scan of the folder says so
    """

    id: str
    name: str
    mission: str = ""
    segments: tuple[int, ...] = ()
    star: Star = field(default_factory=Star)
    label: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    where: str = field(default="", compare=False)
    paths: tuple[str, ...] = field(default=(), compare=False)
    refusal: str = ""


def read_targets(
    targets: Path | None,
    light_curves: Path | None,
    source: Source,
    reserved: Collection[str] = (),
    notes: list[str] | None = None,
) -> tuple[list[Target], list[Problem]]:
    """The stars of the table ``targets``, or of the files in the folder ``light_curves`` where there is no table.

    They are in the table's order, or in that of their first files. ``reserved`` are columns that the results have
    themselves: a table may not bring them. A target of the table of which the folder has no file is no problem here:
    it comes without files, and its item fails. Where there are problems, the rows that have them are missing.
    ``notes`` gets lines about files of the folder that are not read.
    """
    wrong = _missing_options(targets, light_curves, source)
    folder = InputFolder(light_curves, "--light-curves") if light_curves is not None and source == "folder" else None
    wrong += folder.problems() if folder else []
    listing, unlisted = _listing(folder, [] if notes is None else notes) if folder and not wrong else (_Listing(), [])
    wrong += unlisted
    if targets is None:
        return ([] if wrong else _folder_targets(listing)), cap_problems(wrong)
    table = read_table(targets)
    found, problems = _table_targets(table, targets.name, reserved, None if wrong else folder, listing)
    return found, [*wrong, *cap_problems([*table.problems, *problems])]


def star_items(targets: Iterable[Target]) -> list[Item]:
    """One item a star, with its files as inputs.

    The payload holds what results depend on: name, mission, segments, star. The cost is points times trial periods, in
    units of a million points and days: an optimal grid has as many periods as the baseline has days, times a constant.
    """
    return [_item(target) for target in targets]


def _item(target: Target) -> Item:
    payload = {
        "id": target.id,
        "name": target.name,
        "mission": target.mission,
        "segments": list(target.segments),
        "star": asdict(target.star),
    }
    path = SEPARATOR.join(target.paths)
    if target.refusal:
        return Item(target.id, payload, (), 0.01, target.fields, target.name, path, target.refusal)
    return Item(target.id, payload, target.files, _cost(target.files), target.fields, target.name, path)


def _cost(files: Sequence[str]) -> float:
    points = sum(_points(Path(file)) for file in files)
    days = sum(_DAYS.get(Path(file).name[:4], _OTHER_DAYS) for file in files)
    return max(points * days / 1e6, 0.01)


def _points(file: Path) -> float:
    try:
        size = file.stat().st_size
    except OSError:
        return 0.0
    ratio = _PACKED_RATIO if file.suffix.lower() == ".gz" else 1.0
    return ratio * size / (_FITS_POINT_BYTES if suffix_of(file.name) in FITS_SUFFIXES else _TEXT_POINT_BYTES)


def _missing_options(targets: Path | None, light_curves: Path | None, source: Source) -> list[Problem]:
    if source == "folder" and light_curves is None:
        return [Problem("--light-curves", "nothing", "a folder of FITS or CSV files", "name it, or use --source mast")]
    if source == "mast" and targets is None:
        return [Problem("--targets", "nothing", "a table with the column target_id", "name it, or use --source folder")]
    return []


@dataclass(frozen=True)
class _Listing:
    """The light curves of the folder, in order of path, and the same by star."""

    files: tuple[FoundFile, ...] = ()
    by_star: Mapping[str, Sequence[FoundFile]] = field(default_factory=dict)
    root: Path = Path()

    def absolute(self, files: Iterable[FoundFile]) -> tuple[str, ...]:
        return tuple(str(self.root / file.path) for file in files)

    @cached_property
    def _alike(self) -> Mapping[str, Sequence[FoundFile]]:
        """Files by the key of their star's short name."""
        return _grouped((star_key(file.short), file) for file in self.files)

    @cached_property
    def _parts(self) -> Mapping[str, Sequence[FoundFile]]:
        """Files by the key of what their star may be called without the part."""
        return _grouped((star_key(file.base), file) for file in self.files if file.base)

    def of_star(self, name: str, claimed: Collection[str]) -> Sequence[FoundFile]:
        """Return the files of the star ``name``. Raises ValueError if they may be of different stars called like it.

        ``claimed`` are the stars that other rows name exactly as their files do: theirs are not taken.
        """
        if name in self.by_star:
            return self.by_star[name]
        key = star_key(name)
        for files, group in ((self._alike, _star_of), (self._parts, _base_of)):
            free = [file for file in files.get(key, ()) if file.star not in claimed]
            if len({group(file) for file in free}) > 1:
                raise ValueError(", ".join(file.path for file in free[:3]))
            if free:
                return free
        return []


def _grouped(pairs: Iterable[tuple[str, FoundFile]]) -> Mapping[str, Sequence[FoundFile]]:
    groups: dict[str, list[FoundFile]] = defaultdict(list)
    for key, file in pairs:
        groups[key].append(file)
    return groups


def _star_of(file: FoundFile) -> str:
    return file.star


def _base_of(file: FoundFile) -> str:
    return f"{PurePosixPath(file.path).parent}/{file.base}"


def _listing(folder: InputFolder, notes: list[str]) -> tuple[_Listing, list[Problem]]:
    """What is in the folder; a problem for each file that must not be read, and where there is nothing at all."""
    found, problems = find_light_curves(folder, notes)
    by_star: dict[str, list[FoundFile]] = {}
    for file in found:
        by_star.setdefault(file.star, []).append(file)
    return _Listing(tuple(found), by_star, folder.root), problems


def _folder_targets(listing: _Listing) -> list[Target]:
    """One for each star that has files."""
    targets = []
    for name, files in listing.by_star.items():
        mission = CATALOGUES.get(name.partition(" ")[0], "") if catalogue_name(name) else ""
        targets.append(_with_files(Target("", name, mission, where=showable(files[0].path)), files, listing))
    return [replace(target, name=showable(target.name)) for target in _with_ids(targets)]


def _with_files(target: Target, files: Sequence[FoundFile], listing: _Listing) -> Target:
    """The target with its files; with none, and the reason, if one of them cannot be used."""
    paths = tuple(showable(file.path) for file in files)
    refusal = next((file.refusal for file in files if file.refusal), "")
    return replace(target, files=() if refusal else listing.absolute(files), paths=paths, refusal=refusal)


def _with_ids(targets: Sequence[Target]) -> list[Target]:
    names = [target.name for target in targets]
    ids = make_distinct_ids(names, list(map(_plain_id, names)))
    return [replace(target, id=target_id) for target, target_id in zip(targets, ids, strict=True)]


def _plain_id(name: str) -> str:
    """``TIC25155310``, ``pi_Men``: the name without blanks, where that is safe."""
    text = name.replace(" ", "") if catalogue_name(name) else re.sub(r"\s+", "_", name)
    return text if is_safe_id(text) else name


def _table_targets(
    table: Table, name: str, reserved: Collection[str], folder: InputFolder | None, listing: _Listing
) -> tuple[list[Target], list[Problem]]:
    if not table.rows:
        return [], []
    problems = [*find_missing_columns(table, REQUIRED, name), *_reserved(table, name, reserved)]
    targets: list[Target] = []
    first: dict[str, str] = {}
    claimed = {star for star in map(_row_name, table.rows) if isinstance(star, str) and star in listing.by_star}
    for row in table.rows:
        target, wrong = _row_target(row, folder, listing, claimed)
        again = _again(row, target, first, claimed) if target else None
        problems += wrong + ([again] if again else [])
        targets += [target] if target and not again else []
    return _with_ids(targets), problems


def _row_name(row: Row) -> str | Problem | None:
    mission = _mission(row)
    return _name(row, mission if isinstance(mission, str) else "")


def _reserved(table: Table, name: str, reserved: Collection[str]) -> list[Problem]:
    allowed = f"names other than {', '.join(sorted(reserved))}"
    advice = "rename it: the results have a column of that name themselves"
    taken = [column for column in table.columns if column in reserved and column not in KNOWN]
    return [Problem(name, f"the column {column!r}", allowed, advice) for column in taken]


def _again(row: Row, target: Target, first: dict[str, str], claimed: Collection[str]) -> Problem | None:
    """A problem if an earlier row may be of the same star, unless each has files that are called exactly like it."""
    key = target.name if target.name in claimed else f"like {star_key(target.name)}"
    if key not in first:
        first[key] = row.where
        return None
    given = f"{shorten(target.name)} again, as in {first[key]}"
    return row.problem("target_id", given, "each target once", "put its sectors into one row, or remove one of the two")


def _row_target(
    row: Row, folder: InputFolder | None, listing: _Listing, claimed: Collection[str]
) -> tuple[Target | None, list[Problem]]:
    fields, problems = collect_extra_columns(row, KNOWN)
    mission = _mission(row)
    name = _row_name(row)
    star, wrong = _star(row)
    parts = _segments(row, mission if isinstance(mission, str) else "", name if isinstance(name, str) else "")
    path = _path_files(row, folder, listing) if folder else ()
    problems += [found for found in (mission, name, parts, path) if isinstance(found, Problem)] + wrong
    if isinstance(mission, Problem) or isinstance(parts, Problem) or isinstance(path, Problem):
        return None, problems
    if not isinstance(name, str) or wrong:
        return None, problems
    mission = mission or parts.mission or CATALOGUES.get(name.partition(" ")[0], "")
    own = _own_files(row, name, listing, claimed) if path is None else path
    if isinstance(own, Problem):
        return None, [*problems, own]
    files = _of_parts(own, parts.numbers)
    label = _cell(row, "label")
    target = Target(
        id="",
        name=name,
        mission=mission,
        segments=parts.numbers,
        star=star,
        label=None if label is None else str(label),
        fields=fields,
        where=row.where,
    )
    return _with_files(target, files, listing), problems


def _own_files(row: Row, name: str, listing: _Listing, claimed: Collection[str]) -> Sequence[FoundFile] | Problem:
    """The files that are called like the star; a problem if they may be of several stars."""
    try:
        return listing.of_star(name, claimed)
    except ValueError as error:
        given = f"{shorten(name)} may be any of {showable(str(error))}"
        return row.problem("target_id", given, "files of one star", "name its file or folder in the column 'path'")


def _cell(row: Row, column: str) -> Any:
    """The row's cell; None where it is empty or NaN, which tables of numbers have for that."""
    value = row.values.get(column)
    return None if value == "" or (isinstance(value, float) and math.isnan(value)) else value


def _mission(row: Row) -> str | Problem:
    given = _cell(row, "mission")
    if given is None:
        return ""
    found = MISSIONS.get(given.strip().casefold()) if isinstance(given, str) else None
    allowed = f"{', '.join(MISSIONS.values())}, or nothing"
    return found or row.problem("mission", shorten(given), allowed, "correct it, or leave it empty")


def _name(row: Row, mission: str) -> str | Problem | None:
    """The star's name with one way of writing for each; None where there is none, which is reported already."""
    given = _cell(row, "target_id")
    if given is None:
        return None
    text = _as_text(given)
    if text is None or not text.strip() or showable(text) != text or len(text) > 100:
        return row.problem("target_id", shorten(given), "TIC 25155310, KIC 6850504, EPIC 206103150 or a star's name")
    text = " ".join(text.split())
    if not re.fullmatch(r"[0-9]+(\.0+)?", text):
        return catalogue_name(text) or text
    if not mission:
        allowed = "a number with a mission (TESS, Kepler, K2), or TIC, KIC or EPIC before it"
        return row.problem("target_id", f"the bare number {shorten(text)}", allowed, "fill in the column 'mission'")
    return f"{_CATALOGUE_OF[mission]} {int(text.partition('.')[0])}"


def _as_text(given: object) -> str | None:
    """Parquet keeps ids as numbers, as floats where one is missing."""
    if isinstance(given, float) and given.is_integer():
        return str(int(given))
    return str(given) if isinstance(given, int | str) and not isinstance(given, bool) else None


def _star(row: Row) -> tuple[Star, list[Problem]]:
    values: dict[str, float | None] = {}
    problems: list[Problem] = []
    for name, (columns, low, high, unit) in _STAR.items():
        filled = [column for column in columns if _cell(row, column) is not None]
        number = _number(row.values[filled[0]]) if filled else None
        values[name] = number
        if len(filled) > 1:
            problems.append(row.problem(filled[1], f"given beside {filled[0]!r}", "one of the two", "leave one empty"))
        elif filled and (number is None or not low <= number <= high):
            given = shorten(row.values[filled[0]])
            allowed = f"{unit}, from {low:g} to {high:g}, or nothing"
            problems.append(row.problem(filled[0], given, allowed, "correct it, or leave it empty"))
    return Star(**values), problems


def _number(given: object) -> float | None:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        return float(given)
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True)
class _Parts:
    """The segments that a row asks for, and the mission that the column's name implies."""

    numbers: tuple[int, ...] = ()
    mission: str = ""


def _segments(row: Row, mission: str, name: str) -> _Parts | Problem:
    """A row's sectors, quarters or campaigns: one of the columns may be filled, the one that its mission has."""
    filled = [column for column in _PARTS if _cell(row, column) is not None]
    if not filled:
        return _Parts()
    column = filled[0]
    if len(filled) > 1:
        return row.problem(filled[1], f"given beside {column!r}", "one of the two", "leave one empty")
    mission = mission or CATALOGUES.get(name.partition(" ")[0], "")
    if mission and mission != _PARTS[column]:
        right = next(name for name, of in _PARTS.items() if of == mission)
        return row.problem(column, f"given for a target of {mission}", f"the column {right!r}", "move it there")
    numbers = _part_numbers(row.values[column])
    if numbers is None:
        return row.problem(column, shorten(row.values[column]), _PART_LIST, "correct it, or leave it empty")
    return _Parts(numbers, _PARTS[column])


def _part_numbers(given: object) -> tuple[int, ...] | None:
    """Sorted, each once; None where it is anything but whole numbers in range."""
    if isinstance(given, list):
        found = [_part_numbers(value) for value in given]
        return None if None in found else tuple(sorted({number for part in found if part for number in part}))
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, int | str):
        return None
    numbers: set[int] = set()
    for part in re.split(r"[;,\s]+", re.sub(r"\s*-\s*", "-", str(given).strip(" ;,[]"))):
        span = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part, re.ASCII)
        if span is None or (span[2] and int(span[2]) < int(span[1])):
            return None
        numbers.update(range(int(span[1]), int(span[2] or span[1]) + 1))
    return tuple(sorted(numbers))


def _path_files(row: Row, folder: InputFolder, listing: _Listing) -> Sequence[FoundFile] | Problem | None:
    """The files that the row's ``path`` names: one, or those of a folder; None where it names nothing."""
    given = _cell(row, "path")
    if given is None:
        return None
    if isinstance(given, str) and ".." not in PurePosixPath(given).parts:
        below = f"{PurePosixPath(given)}/"
        inside = [file for file in listing.files if file.path.startswith(below)]
        if inside:
            return inside
    found = folder.relative(given, f"{row.where}, path")
    return found if isinstance(found, Problem) else [FoundFile(found, "")]


def _of_parts(files: Sequence[FoundFile], numbers: Collection[int]) -> list[FoundFile]:
    """Without the files whose names say that they are of another segment; those that do not say are looked into."""
    return [file for file in files if not numbers or file.part is None or file.part in numbers]
