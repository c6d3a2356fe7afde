"""The layout ``phoenix``: the releases of RWTH-PHOENIX-Weather 2014, its SI5 partition and 2014T.

Images are in ``features/fullFrame-210x260px/<split>/<sample>/1/*.png`` (2014, SI5) or directly in ``<sample>/`` (2014T,
whose corpus table still names ``/1/``). The tables are ``annotations/manual/<split>.corpus.csv``,
``<split>.SI5.corpus.csv`` and ``PHOENIX-2014-T.<split>.corpus.csv``, with ``|`` between cells and without quotes:

    id|folder|signer|annotation                               2014 and SI5; annotation: the glosses
    name|video|start|end|speaker|orth|translation             2014T; orth: the glosses
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.engine.contract.bounded import read_at_most
from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest import MAX_MANIFEST_BYTES, shorten
from tasks.landmarks.layouts.collection import Sample
from tasks.landmarks.layouts.folders import Split, create_sample, find_image_folder, find_splits
from tasks.media.scan import Folder

_FRAMES = "fullFrame-"
_LEVELS_ABOVE = 4  # phoenix-2014.v3/phoenix2014-release/phoenix-2014-multisigner/features
_TABLES = ("{}.corpus.csv", "{}.SI5.corpus.csv", "PHOENIX-2014-T.{}.corpus.csv")
_NAMES = ("id", "name")
_ANNOTATIONS = ("annotation", "orth")
_PATTERNS = ("folder", "video")
_HEADERS = "id|folder|signer|annotation, or name|video|start|end|speaker|orth|translation"


@dataclass(frozen=True)
class Line:
    """A line of a corpus table: the sample's name in the corpus, and the line's cells by column."""

    where: str
    name: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class ReadResult:
    """The samples of a split, with problems and notes."""

    samples: tuple[Sample, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def find_frame_folders(tree: Folder, levels: int = _LEVELS_ABOVE) -> list[Folder]:
    """Return the ``fullFrame-*`` folders in ``tree``, or itself; a release has one per image size."""
    if tree.name.startswith(_FRAMES):
        return [tree]
    if levels < 0:
        return []
    return [frames for folder in tree.folders for frames in find_frame_folders(folder, levels - 1)]


def has_tables(tree: Folder, root: Path) -> bool:
    """Return True if ``root`` or its ``annotations/manual`` contains the corpus table of one of its splits."""
    names = [table.format(split.name) for split in find_splits(tree) for table in _TABLES]
    return any((folder / name).is_file() for folder in _list_table_folders(root, tree) for name in names)


def read_split(split: Split, frames: Folder, root: Path, fps: float) -> ReadResult:
    """Return the samples in the corpus table of ``split``, or all folders of the split if there is no table.

    A sample without its folder is a problem. A folder that is not in the table is not part of the corpus and is skipped
    with a note.
    """
    tables = [path for folder in _list_table_folders(root, frames) for path in _find_tables(folder, split)]
    if len(tables) > 1:
        given = " and ".join(str(path) for path in tables)
        return ReadResult(problems=(Problem(f"the split {split.name}", given, "one corpus table", "move one away"),))
    if not tables:
        samples = tuple(_create_plain_sample(split, folder, fps) for folder in split.folder.folders)
        return ReadResult(samples, notes=(f"{split.name}: no corpus table, so its samples have no annotation",))
    lines, problems = read_table(tables[0])
    return _match_folders(split, tables[0], lines, problems, fps)


def read_table(path: Path) -> tuple[list[Line], list[Problem]]:
    """Return the lines of a corpus table, and its problems."""
    try:
        text = read_at_most(path, MAX_MANIFEST_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        return [], [Problem(str(path), f"cannot be read ({error})", "a corpus table in UTF-8", "download it again")]
    rows = list(csv.reader(text.replace("\r\n", "\n").split("\n"), delimiter="|", quoting=csv.QUOTE_NONE))
    header = [name.strip() for name in rows[0]] if rows else []
    if _find_first(header, _NAMES) is None or _find_first(header, _ANNOTATIONS) is None:
        return [], [Problem(str(path), f"the header {shorten('|'.join(header))}", _HEADERS, "download it again")]
    return _parse_lines(path, header, rows[1:])


def _parse_lines(path: Path, header: list[str], rows: list[list[str]]) -> tuple[list[Line], list[Problem]]:
    lines: list[Line] = []
    problems: list[Problem] = []
    first: dict[str, str] = {}
    column = _find_first(header, _NAMES) or ""
    for number, row in enumerate(rows, start=2):
        where = f"{path.name} line {number}"
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            problems.append(Problem(where, f"{len(row)} cells", f"{len(header)}, as in the header", "correct the line"))
            continue
        cells = dict(zip(header, (cell.strip() for cell in row), strict=True))
        name = cells[column]
        if name in first:
            given = f"{shorten(name)} again, first in {first[name]}"
            problems.append(Problem(where, given, "each sample once", "remove one of them"))
            continue
        first[name] = where
        lines.append(Line(where, name, cells))
    return lines, problems


def _match_folders(split: Split, table: Path, lines: list[Line], problems: list[Problem], fps: float) -> ReadResult:
    folders = {folder.name: folder for folder in split.folder.folders}
    samples = [_create_annotated_sample(split, line, folders[line.name], fps) for line in lines if line.name in folders]
    missing = [line for line in lines if line.name not in folders]
    missing_problems = [_describe_missing_folder(line, split) for line in missing]
    others = folders.keys() - {line.name for line in lines}
    count = f"{len(others)} folder{'s' if len(others) > 1 else ''}"
    notes = [f"{split.name}: skipped {count} that {table.name} does not list"] if others else []
    return ReadResult(tuple(samples), (*problems, *missing_problems), tuple(notes))


def _describe_missing_folder(line: Line, split: Split) -> Problem:
    advice = "unpack the release again, or remove the line from the table"
    return Problem(line.where, f"{shorten(line.name)} has no folder", f"a folder in {split.folder.path}", advice)


def _create_plain_sample(split: Split, folder: Folder, fps: float) -> Sample:
    images = find_image_folder(folder) or folder
    return create_sample(split.name, folder.name, images.path, max(images.image_count, 1), fps)


def _create_annotated_sample(split: Split, line: Line, folder: Folder, fps: float) -> Sample:
    columns = list(line.cells)
    annotation = _find_first(columns, _ANNOTATIONS) or ""
    own_columns = {annotation, _find_first(columns, _NAMES), *_PATTERNS}
    fields = {name: cell for name, cell in line.cells.items() if name not in own_columns}
    return replace(_create_plain_sample(split, folder, fps), annotation=line.cells[annotation], fields=fields)


def _list_table_folders(root: Path, frames: Folder) -> list[Path]:
    """Return the folders that may contain the corpus tables for ``frames``, the release's folder first."""
    images = root / frames.path
    release = images.parent.parent if frames.name.startswith(_FRAMES) else images
    return list(dict.fromkeys([release / "annotations" / "manual", release]))


def _find_tables(folder: Path, split: Split) -> Iterator[Path]:
    for name in dict.fromkeys((split.name, split.folder.name)):
        for table in _TABLES:
            if (folder / table.format(name)).is_file():
                yield folder / table.format(name)


def _find_first(columns: list[str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in columns), None)
