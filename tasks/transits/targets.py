"""Reads the stars of a run from a table of targets or a folder of light curves, and makes their items."""

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
from tasks.media.kinds import FITS_SUFFIXES, get_suffix
from tasks.transits.columns import SEPARATOR
from tasks.transits.folder import CATALOGUES, ListedFile, find_light_curves, make_star_key, parse_catalogue_name
from tasks.transits.light_curve import Star
from tasks.transits.params import Source

REQUIRED = ("target_id",)
MISSIONS = {"tess": "TESS", "kepler": "Kepler", "k2": "K2"}
_CATALOGUE_OF = {mission: catalogue for catalogue, mission in CATALOGUES.items()}
_PARTS = {
    "sector": "TESS", "sectors": "TESS", "quarter": "Kepler", "quarters": "Kepler", "campaign": "K2", "campaigns": "K2",
}  # fmt: skip
# By the field of Star: its possible columns, limits that no star exceeds, and the unit.
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
# Days covered by one file of each kind, and bytes per point.
_DAYS = {"tess": 27.0, "kplr": 90.0, "ktwo": 80.0}
_OTHER_DAYS = 40.0
_FITS_POINT_BYTES, _TEXT_POINT_BYTES = 100, 40
_PACKED_RATIO = 2.5


@dataclass(frozen=True)
class Download:
    """A file of the output folder: its relative ``path``, ``size_bytes`` and ``sha256``."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Target:
    """One star of a run.

    id        its name in a form that is safe as a file name
    name      as archives know it: ``TIC 25155310``, ``K2-3``
    mission   ``TESS``, ``Kepler``, ``K2``, or empty if neither the table nor the name states it
    segments  the requested sectors, quarters or campaigns; empty for all
    star      stellar parameters from the table
    label     the table's ``label`` as text
    fields    the table's other columns, as JSON values
    files     absolute paths of its light curves, sorted; empty for the source ``mast``, or if the folder has none
    where     its row for messages, or the first of its files
    paths     the same files relative to the folder
    downloads files fetched from the archive instead: paths relative to the output folder, with size and digest
    refusal   the reason if a scan of the folder rejects one of the files, else empty
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
    downloads: tuple[Download, ...] = field(default=(), compare=False)


def read_targets(
    targets: Path | None,
    light_curves: Path | None,
    source: Source,
    reserved: Collection[str] = (),
    notes: list[str] | None = None,
) -> tuple[list[Target], list[Problem]]:
    """Read the stars of the table ``targets``, or without a table, of the files in the folder ``light_curves``.

    Stars are in the order of the table, or of their first files. ``reserved`` are columns of the results, which a table
    may not contain. A target without files in the folder is not a problem here: it has no files, and its item fails.
    Rows with problems are omitted. Adds lines to ``notes`` about files of the folder that are not read.
    """
    problems = _find_missing_options(targets, light_curves, source)
    folder = InputFolder(light_curves, "--light-curves") if light_curves is not None and source == "folder" else None
    problems += folder.problems() if folder else []
    can_list = folder is not None and not problems
    listing, unlisted = (
        _list_folder(folder, [] if notes is None else notes) if folder and can_list else (_Listing(), [])
    )
    problems += unlisted
    if targets is None:
        return ([] if problems else _make_folder_targets(listing)), cap_problems(problems)
    table = read_table(targets)
    stars, bad_rows = _read_table_targets(table, targets.name, reserved, None if problems else folder, listing)
    return stars, [*problems, *cap_problems([*table.problems, *bad_rows])]


def make_star_items(targets: Iterable[Target]) -> list[Item]:
    """Make one item per star, with its files as inputs; downloads are in the payload, with their digests.

    The payload also holds the other inputs of the result: name, mission, segments, star. The cost is points times trial
    periods, in units of a million points and days: an optimal grid has a number of periods proportional to the
    baseline.
    """
    return [_make_item(target) for target in targets]


def _make_item(target: Target) -> Item:
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
    if target.downloads:
        payload["downloads"] = {download.path: download.sha256 for download in target.downloads}
        cost = _estimate_cost({download.path: download.size_bytes for download in target.downloads})
        return Item(target.id, payload, (), cost, target.fields, target.name, path)
    cost = _estimate_cost({file: _read_size(file) for file in target.files})
    return Item(target.id, payload, target.files, cost, target.fields, target.name, path)


def _estimate_cost(sizes: Mapping[str, int]) -> float:
    points = sum(_estimate_points(Path(file), size) for file, size in sizes.items())
    days = sum(_DAYS.get(Path(file).name[:4], _OTHER_DAYS) for file in sizes)
    return max(points * days / 1e6, 0.01)


def _read_size(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except OSError:
        return 0


def _estimate_points(file: Path, size: int) -> float:
    ratio = _PACKED_RATIO if file.suffix.lower() == ".gz" else 1.0
    return ratio * size / (_FITS_POINT_BYTES if get_suffix(file.name) in FITS_SUFFIXES else _TEXT_POINT_BYTES)


def _find_missing_options(targets: Path | None, light_curves: Path | None, source: Source) -> list[Problem]:
    if source == "folder" and light_curves is None:
        return [Problem("--light-curves", "nothing", "a folder of FITS or CSV files", "name it, or use --source mast")]
    if source == "mast" and targets is None:
        return [Problem("--targets", "nothing", "a table with the column target_id", "name it, or use --source folder")]
    return []


@dataclass(frozen=True)
class _Listing:
    """The light curves of the folder, in order of path, and the same by star."""

    files: tuple[ListedFile, ...] = ()
    by_star: Mapping[str, Sequence[ListedFile]] = field(default_factory=dict)
    root: Path = Path()

    def get_paths(self, files: Iterable[ListedFile]) -> tuple[str, ...]:
        return tuple(str(self.root / file.path) for file in files)

    @cached_property
    def _by_key(self) -> Mapping[str, Sequence[ListedFile]]:
        """Return files by the key of their star's short name."""
        return _group_files((make_star_key(file.short), file) for file in self.files)

    @cached_property
    def _by_base(self) -> Mapping[str, Sequence[ListedFile]]:
        """Return files by the key of their star's name without the part."""
        return _group_files((make_star_key(file.base), file) for file in self.files if file.base)

    def find_star(self, name: str, claimed: Collection[str]) -> Sequence[ListedFile]:
        """Return the files of the star ``name``. Raises ValueError if they may be of different stars.

        ``claimed`` are stars that other rows name exactly; their files are excluded.
        """
        if name in self.by_star:
            return self.by_star[name]
        key = make_star_key(name)
        for files, group in ((self._by_key, _get_star), (self._by_base, _get_base)):
            free = [file for file in files.get(key, ()) if file.star not in claimed]
            if len({group(file) for file in free}) > 1:
                raise ValueError(", ".join(file.path for file in free[:3]))
            if free:
                return free
        return []


def _group_files(pairs: Iterable[tuple[str, ListedFile]]) -> Mapping[str, Sequence[ListedFile]]:
    groups: dict[str, list[ListedFile]] = defaultdict(list)
    for key, file in pairs:
        groups[key].append(file)
    return groups


def _get_star(file: ListedFile) -> str:
    return file.star


def _get_base(file: ListedFile) -> str:
    return f"{PurePosixPath(file.path).parent}/{file.base}"


def _list_folder(folder: InputFolder, notes: list[str]) -> tuple[_Listing, list[Problem]]:
    """List the folder, with a problem for each rejected file, or for a folder without light curves."""
    curves, problems = find_light_curves(folder, notes)
    by_star: dict[str, list[ListedFile]] = {}
    for file in curves:
        by_star.setdefault(file.star, []).append(file)
    return _Listing(tuple(curves), by_star, folder.root), problems


def _make_folder_targets(listing: _Listing) -> list[Target]:
    """Make one target per star with files."""
    targets = []
    for name, files in listing.by_star.items():
        mission = CATALOGUES.get(name.partition(" ")[0], "") if parse_catalogue_name(name) else ""
        targets.append(_add_files(Target("", name, mission, where=showable(files[0].path)), files, listing))
    return [replace(target, name=showable(target.name)) for target in _assign_ids(targets)]


def _add_files(target: Target, files: Sequence[ListedFile], listing: _Listing) -> Target:
    """Return the target with its files; without files but with the reason if one of them is rejected."""
    paths = tuple(showable(file.path) for file in files)
    refusal = next((file.refusal for file in files if file.refusal), "")
    return replace(target, files=() if refusal else listing.get_paths(files), paths=paths, refusal=refusal)


def _assign_ids(targets: Sequence[Target]) -> list[Target]:
    names = [target.name for target in targets]
    ids = make_distinct_ids(names, list(map(_make_plain_id, names)))
    return [replace(target, id=target_id) for target, target_id in zip(targets, ids, strict=True)]


def _make_plain_id(name: str) -> str:
    """Return the name without blanks if that is safe: ``TIC25155310``, ``pi_Men``."""
    text = name.replace(" ", "") if parse_catalogue_name(name) else re.sub(r"\s+", "_", name)
    return text if is_safe_id(text) else name


def _read_table_targets(
    table: Table, name: str, reserved: Collection[str], folder: InputFolder | None, listing: _Listing
) -> tuple[list[Target], list[Problem]]:
    if not table.rows:
        return [], []
    problems = [*find_missing_columns(table, REQUIRED, name), *_find_reserved_columns(table, name, reserved)]
    targets: list[Target] = []
    first: dict[str, str] = {}
    claimed = {star for star in map(_read_row_name, table.rows) if isinstance(star, str) and star in listing.by_star}
    for row in table.rows:
        target, bad_cells = _read_row(row, folder, listing, claimed)
        duplicate = _find_duplicate(row, target, first, claimed) if target else None
        problems += bad_cells + ([duplicate] if duplicate else [])
        targets += [target] if target and not duplicate else []
    return _assign_ids(targets), problems


def _read_row_name(row: Row) -> str | Problem | None:
    mission = _read_mission(row)
    return _read_name(row, mission if isinstance(mission, str) else "")


def _find_reserved_columns(table: Table, name: str, reserved: Collection[str]) -> list[Problem]:
    allowed = f"names other than {', '.join(sorted(reserved))}"
    advice = "rename it; the results have a column of this name"
    taken = [column for column in table.columns if column in reserved and column not in KNOWN]
    return [Problem(name, f"the column {column!r}", allowed, advice) for column in taken]


def _find_duplicate(row: Row, target: Target, first: dict[str, str], claimed: Collection[str]) -> Problem | None:
    """Return a problem if an earlier row may be of the same star, unless both name their files exactly."""
    key = target.name if target.name in claimed else f"like {make_star_key(target.name)}"
    if key not in first:
        first[key] = row.where
        return None
    given = f"{shorten(target.name)} again, as in {first[key]}"
    return row.problem("target_id", given, "each target once", "put its sectors into one row, or remove one of the two")


def _read_row(
    row: Row, folder: InputFolder | None, listing: _Listing, claimed: Collection[str]
) -> tuple[Target | None, list[Problem]]:
    fields, problems = collect_extra_columns(row, KNOWN)
    mission = _read_mission(row)
    name = _read_row_name(row)
    star, bad_values = _read_star(row)
    parts = _read_segments(row, mission if isinstance(mission, str) else "", name if isinstance(name, str) else "")
    path = _find_path_files(row, folder, listing) if folder else ()
    problems += [cell for cell in (mission, name, parts, path) if isinstance(cell, Problem)] + bad_values
    if isinstance(mission, Problem) or isinstance(parts, Problem) or isinstance(path, Problem):
        return None, problems
    if not isinstance(name, str) or bad_values:
        return None, problems
    mission = mission or parts.mission or CATALOGUES.get(name.partition(" ")[0], "")
    own = _find_files(row, name, listing, claimed) if path is None else path
    if isinstance(own, Problem):
        return None, [*problems, own]
    files = _select_parts(own, parts.numbers)
    label = _get_cell(row, "label")
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
    return _add_files(target, files, listing), problems


def _find_files(row: Row, name: str, listing: _Listing, claimed: Collection[str]) -> Sequence[ListedFile] | Problem:
    """Return the files named like the star; a problem if they may be of several stars."""
    try:
        return listing.find_star(name, claimed)
    except ValueError as error:
        given = f"{shorten(name)} may be any of {showable(str(error))}"
        return row.problem("target_id", given, "files of one star", "name its file or folder in the column 'path'")


def _get_cell(row: Row, column: str) -> Any:
    """Return the row's cell; None if it is empty or NaN, which numeric tables use for empty cells."""
    value = row.values.get(column)
    return None if value == "" or (isinstance(value, float) and math.isnan(value)) else value


def _read_mission(row: Row) -> str | Problem:
    given = _get_cell(row, "mission")
    if given is None:
        return ""
    mission = MISSIONS.get(given.strip().casefold()) if isinstance(given, str) else None
    allowed = f"{', '.join(MISSIONS.values())}, or empty"
    return mission or row.problem("mission", shorten(given), allowed, "correct it, or leave it empty")


def _read_name(row: Row, mission: str) -> str | Problem | None:
    """Return the star's name in its normal spelling; None if it is missing, which is already reported."""
    given = _get_cell(row, "target_id")
    if given is None:
        return None
    text = _convert_to_text(given)
    if text is None or not text.strip() or showable(text) != text or len(text) > 100:
        return row.problem("target_id", shorten(given), "TIC 25155310, KIC 6850504, EPIC 206103150 or a star's name")
    text = " ".join(text.split())
    if not re.fullmatch(r"[0-9]+(\.0+)?", text):
        return parse_catalogue_name(text) or text
    if not mission:
        allowed = "a number with a mission (TESS, Kepler, K2), or TIC, KIC or EPIC before it"
        return row.problem("target_id", f"the bare number {shorten(text)}", allowed, "fill in the column 'mission'")
    return f"{_CATALOGUE_OF[mission]} {int(text.partition('.')[0])}"


def _convert_to_text(given: object) -> str | None:
    """Return an id as text. Parquet stores ids as numbers, and as floats if one is missing."""
    if isinstance(given, float) and given.is_integer():
        return str(int(given))
    return str(given) if isinstance(given, int | str) and not isinstance(given, bool) else None


def _read_star(row: Row) -> tuple[Star, list[Problem]]:
    values: dict[str, float | None] = {}
    problems: list[Problem] = []
    for name, (columns, low, high, unit) in _STAR.items():
        filled = [column for column in columns if _get_cell(row, column) is not None]
        number = _parse_number(row.values[filled[0]]) if filled else None
        values[name] = number
        if len(filled) > 1:
            problems.append(
                row.problem(filled[1], f"given together with {filled[0]!r}", "one of the two", "leave one empty")
            )
        elif filled and (number is None or not low <= number <= high):
            given = shorten(row.values[filled[0]])
            allowed = f"{unit}, from {low:g} to {high:g}, or empty"
            problems.append(row.problem(filled[0], given, allowed, "correct it, or leave it empty"))
    return Star(**values), problems


def _parse_number(given: object) -> float | None:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        return float(given)
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True)
class _Parts:
    """The segments that a row requests, and the mission that the column's name implies."""

    numbers: tuple[int, ...] = ()
    mission: str = ""


def _read_segments(row: Row, mission: str, name: str) -> _Parts | Problem:
    """Read the row's sectors, quarters or campaigns: at most one of the columns may be filled, that of the mission."""
    filled = [column for column in _PARTS if _get_cell(row, column) is not None]
    if not filled:
        return _Parts()
    column = filled[0]
    if len(filled) > 1:
        return row.problem(filled[1], f"given together with {column!r}", "one of the two", "leave one empty")
    mission = mission or CATALOGUES.get(name.partition(" ")[0], "")
    if mission and mission != _PARTS[column]:
        right = next(name for name, owner in _PARTS.items() if owner == mission)
        return row.problem(column, f"given for a target of {mission}", f"the column {right!r}", "move it there")
    numbers = _parse_numbers(row.values[column])
    if numbers is None:
        return row.problem(column, shorten(row.values[column]), _PART_LIST, "correct it, or leave it empty")
    return _Parts(numbers, _PARTS[column])


def _parse_numbers(given: object) -> tuple[int, ...] | None:
    """Return the sorted distinct numbers; None if the value is not whole numbers in range."""
    if isinstance(given, list):
        parts = [_parse_numbers(value) for value in given]
        return None if None in parts else tuple(sorted({number for part in parts if part for number in part}))
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


def _find_path_files(row: Row, folder: InputFolder, listing: _Listing) -> Sequence[ListedFile] | Problem | None:
    """Return the files that the row's ``path`` names: one, or those of a folder; None for an empty cell."""
    given = _get_cell(row, "path")
    if given is None:
        return None
    if isinstance(given, str) and ".." not in PurePosixPath(given).parts:
        below = f"{PurePosixPath(given)}/"
        inside = [file for file in listing.files if file.path.startswith(below)]
        if inside:
            return inside
    relative = folder.relative(given, f"{row.where}, path")
    return relative if isinstance(relative, Problem) else [ListedFile(relative, "")]


def _select_parts(files: Sequence[ListedFile], numbers: Collection[int]) -> list[ListedFile]:
    """Drop files whose names state another segment; files without a segment in their name are read to find out."""
    return [file for file in files if not numbers or file.part is None or file.part in numbers]
