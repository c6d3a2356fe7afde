"""The layout ``phoenix``: the releases of RWTH-PHOENIX-Weather 2014, its SI5 partition and 2014T.

Pictures lie in ``features/fullFrame-210x260px/<split>/<sample>/1/*.png`` (2014, SI5) or right in ``<sample>/`` (2014T,
whose corpus table still says ``/1/``). The tables are ``annotations/manual/<split>.corpus.csv``,
``<split>.SI5.corpus.csv`` and ``PHOENIX-2014-T.<split>.corpus.csv``, with ``|`` between the cells and no quotes:

    id|folder|signer|annotation                               2014 and SI5; annotation: the glosses
    name|video|start|end|speaker|orth|translation             2014T; orth: the glosses
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest import shorten
from tasks.landmarks.layouts.collection import Sample
from tasks.landmarks.layouts.folders import Split, inner_folder, sample, splits_of
from tasks.media.scan import Folder

_FRAMES = "fullFrame-"
_LEVELS_ABOVE = 4  # phoenix-2014.v3/phoenix2014-release/phoenix-2014-multisigner/features
_TABLES = ("{}.corpus.csv", "{}.SI5.corpus.csv", "PHOENIX-2014-T.{}.corpus.csv")
_NAMES = ("id", "name")
_WORDS = ("annotation", "orth")
_PATTERNS = ("folder", "video")
_HEADERS = "id|folder|signer|annotation, or name|video|start|end|speaker|orth|translation"


@dataclass(frozen=True)
class Line:
    """A line of a corpus table: the sample's name as the corpus has it, and the cells of its line by column."""

    where: str
    name: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Found:
    """What a split gave."""

    samples: tuple[Sample, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def frame_folders(tree: Folder, levels: int = _LEVELS_ABOVE) -> list[Folder]:
    """The folders ``fullFrame-*`` in ``tree``, or itself; a release has one for each size of pictures."""
    if tree.name.startswith(_FRAMES):
        return [tree]
    if levels < 0:
        return []
    return [found for folder in tree.folders for found in frame_folders(folder, levels - 1)]


def has_tables(tree: Folder, root: Path) -> bool:
    """Whether corpus tables lie in ``root`` or its ``annotations/manual``, and it has splits."""
    names = [table.format(split.name) for split in splits_of(tree) for table in _TABLES]
    return any((folder / name).is_file() for folder in _table_folders(root, tree) for name in names)


def split_samples(split: Split, frames: Folder, root: Path, fps: float) -> Found:
    """The samples that the corpus table of ``split`` names, or all folders of the split where there is no table.

    A sample without its folder is a problem. A folder that the table does not name is no sample of the corpus: it is
    passed over, with a note.
    """
    tables = [path for folder in _table_folders(root, frames) for path in _tables(folder, split)]
    if len(tables) > 1:
        given = " and ".join(str(path) for path in tables)
        return Found(problems=(Problem(f"the split {split.name}", given, "one corpus table", "move one away"),))
    if not tables:
        samples = tuple(_plain(split, folder, fps) for folder in split.folder.folders)
        return Found(samples, notes=(f"{split.name}: no corpus table, so its samples have no annotation",))
    lines, problems = read_table(tables[0])
    return _of_table(split, tables[0], lines, problems, fps)


def read_table(path: Path) -> tuple[list[Line], list[Problem]]:
    """The lines of a corpus table, and what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return [], [Problem(str(path), f"cannot be read ({error})", "a corpus table in UTF-8", "fetch it again")]
    rows = list(csv.reader(text.replace("\r\n", "\n").split("\n"), delimiter="|", quoting=csv.QUOTE_NONE))
    header = [name.strip() for name in rows[0]] if rows else []
    if _first(header, _NAMES) is None or _first(header, _WORDS) is None:
        return [], [Problem(str(path), f"the header {shorten('|'.join(header))}", _HEADERS, "fetch it again")]
    return _lines(path, header, rows[1:])


def _lines(path: Path, header: list[str], rows: list[list[str]]) -> tuple[list[Line], list[Problem]]:
    lines: list[Line] = []
    problems: list[Problem] = []
    first: dict[str, str] = {}
    column = _first(header, _NAMES) or ""
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
            given = f"{shorten(name)} again, as in {first[name]}"
            problems.append(Problem(where, given, "each sample once", "remove one of the two"))
            continue
        first[name] = where
        lines.append(Line(where, name, cells))
    return lines, problems


def _of_table(split: Split, table: Path, lines: list[Line], problems: list[Problem], fps: float) -> Found:
    folders = {folder.name: folder for folder in split.folder.folders}
    samples = [_annotated(split, line, folders[line.name], fps) for line in lines if line.name in folders]
    lacking = [line for line in lines if line.name not in folders]
    wrong = [_without_folder(line, split) for line in lacking]
    others = folders.keys() - {line.name for line in lines}
    count = f"{len(others)} folder{'s' if len(others) > 1 else ''}"
    notes = [f"{split.name}: passed over {count} that {table.name} does not name"] if others else []
    return Found(tuple(samples), (*problems, *wrong), tuple(notes))


def _without_folder(line: Line, split: Split) -> Problem:
    advice = "unpack the release again, or take the line out of the table"
    return Problem(line.where, f"{shorten(line.name)} has no folder", f"a folder in {split.folder.path}", advice)


def _plain(split: Split, folder: Folder, fps: float) -> Sample:
    pictures = inner_folder(folder) or folder
    return sample(split.name, folder.name, pictures.path, max(pictures.pictures, 1), fps)


def _annotated(split: Split, line: Line, folder: Folder, fps: float) -> Sample:
    columns = list(line.cells)
    words = _first(columns, _WORDS) or ""
    own = {words, _first(columns, _NAMES), *_PATTERNS}
    fields = {name: cell for name, cell in line.cells.items() if name not in own}
    return replace(_plain(split, folder, fps), annotation=line.cells[words], fields=fields)


def _table_folders(root: Path, frames: Folder) -> list[Path]:
    """Where the corpus tables of the pictures in ``frames`` may lie; those of a release first."""
    pictures = root / frames.path
    release = pictures.parent.parent if frames.name.startswith(_FRAMES) else pictures
    return list(dict.fromkeys([release / "annotations" / "manual", release]))


def _tables(folder: Path, split: Split) -> Iterator[Path]:
    for name in dict.fromkeys((split.name, split.folder.name)):
        for table in _TABLES:
            if (folder / table.format(name)).is_file():
                yield folder / table.format(name)


def _first(columns: list[str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in columns), None)
