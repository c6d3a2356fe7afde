"""Reads the stars of a run from a table of targets or a folder of light curves, and makes their items."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.items import Item, is_safe_id, make_distinct_ids
from tasks.engine.contract.manifest import InputFolder, cap_problems, read_table, shorten
from tasks.engine.contract.text import showable
from tasks.media.kinds import FITS_SUFFIXES, get_suffix
from tasks.transits.columns import SEPARATOR
from tasks.transits.folder import CATALOGUES, parse_catalogue_name
from tasks.transits.listing import Listing, add_files, list_folder
from tasks.transits.params import Source
from tasks.transits.target import Target
from tasks.transits.target_columns import recognize_columns
from tasks.transits.target_table import TableReader, describe_copies

__all__ = ["Target", "make_star_items", "read_targets"]

# Days covered by one file of each kind, and bytes per point.
_DAYS = {"tess": 27.0, "kplr": 90.0, "ktwo": 80.0}
_OTHER_DAYS = 40.0
_FITS_POINT_BYTES, _TEXT_POINT_BYTES = 100, 40
_PACKED_RATIO = 2.5


def read_targets(
    targets: Path | None,
    light_curves: Path | None,
    source: Source,
    reserved: Collection[str] = (),
    notes: list[str] | None = None,
    id_column: str | None = None,
) -> tuple[list[Target], list[Problem]]:
    """Read the stars of the table ``targets``, or without a table, of the files in the folder ``light_curves``.

    Stars are in the order of the table, or of their first files. A table with periods may have several rows per star,
    one per candidate. ``reserved`` are columns of the results: other columns with these names are renamed.
    ``id_column`` is the column with the star's name (default: recognized by its name). A target without files in the
    folder is not a problem here: it has no files, and its item fails. Rows with problems are omitted. Adds lines to
    ``notes`` about files of the folder that are not read, and about columns and values of the table.
    """
    notes = [] if notes is None else notes
    problems = _find_missing_options(targets, light_curves, source, id_column)
    folder = InputFolder(light_curves, "--light-curves") if light_curves is not None and source == "folder" else None
    problems += folder.problems() if folder else []
    can_list = folder is not None and not problems
    listing, unlisted = list_folder(folder, notes) if folder and can_list else (Listing(), [])
    problems += unlisted
    if targets is None:
        return ([] if problems else _make_folder_targets(listing)), cap_problems(problems)
    table = read_table(targets, comments="#")
    columns, bad_columns = recognize_columns(table, targets.name, id_column, notes) if table.rows else (None, [])
    if columns is None or bad_columns:
        return [], [*problems, *cap_problems([*table.problems, *bad_columns])]
    notes += describe_copies(table, columns, targets.name, reserved)
    reader = TableReader(columns, targets.name, None if problems else folder, listing, notes)
    stars, bad_rows = reader.read(table)
    return _assign_ids(stars), [*problems, *cap_problems([*table.problems, *bad_rows])]


def make_star_items(targets: Iterable[Target]) -> list[Item]:
    """Make one item per star, with its files as inputs; downloads are in the payload, with their digests.

    The payload also holds the other inputs of the result: name, mission, segments, star. The cost is points times trial
    periods, in units of a million points and days: an optimal grid has a number of periods proportional to the
    baseline.
    """
    return [_make_item(target) for target in targets]


def _make_item(target: Target) -> Item:
    payload: dict[str, Any] = {
        "id": target.id,
        "name": target.name,
        "mission": target.mission,
        "segments": list(target.segments),
        "star": asdict(target.star),
    }
    if target.candidates:
        payload["candidates"] = [asdict(candidate.ephemeris) for candidate in target.candidates]
    path = SEPARATOR.join(target.paths)
    if target.refusal:
        return Item(target.id, payload, (), 0.01, target.row_fields, target.name, path, target.refusal)
    if target.downloads:
        payload["downloads"] = {download.path: download.sha256 for download in target.downloads}
        cost = _estimate_cost({download.path: download.size_bytes for download in target.downloads})
        return Item(target.id, payload, (), cost, target.row_fields, target.name, path)
    cost = _estimate_cost({file: _read_size(file) for file in target.files})
    return Item(target.id, payload, target.files, cost, target.row_fields, target.name, path)


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


def _find_missing_options(
    targets: Path | None, light_curves: Path | None, source: Source, id_column: str | None
) -> list[Problem]:
    if targets is None and id_column is not None:
        return [Problem("--id-column", shorten(id_column), "a column of --targets", "name the table, or remove it")]
    if source == "folder" and light_curves is None:
        return [Problem("--light-curves", "nothing", "a folder of FITS or CSV files", "name it, or use --source mast")]
    if source == "mast" and targets is None:
        return [Problem("--targets", "nothing", "a table with the column target_id", "name it, or use --source folder")]
    return []


def _make_folder_targets(listing: Listing) -> list[Target]:
    """Make one target per star with files."""
    targets = []
    for name, files in listing.by_star.items():
        mission = CATALOGUES.get(name.partition(" ")[0], "") if parse_catalogue_name(name) else ""
        targets.append(add_files(Target("", name, mission, where=showable(files[0].path)), files, listing))
    return [replace(target, name=showable(target.name)) for target in _assign_ids(targets)]


def _assign_ids(targets: Sequence[Target]) -> list[Target]:
    names = [target.name for target in targets]
    ids = make_distinct_ids(names, list(map(_make_plain_id, names)))
    return [replace(target, id=target_id) for target, target_id in zip(targets, ids, strict=True)]


def _make_plain_id(name: str) -> str:
    """Return the name without blanks if that is safe: ``TIC25155310``, ``pi_Men``."""
    text = name.replace(" ", "") if parse_catalogue_name(name) else re.sub(r"\s+", "_", name)
    return text if is_safe_id(text) else name
