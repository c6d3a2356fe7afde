"""A manifest of samples: CSV, TSV, JSON, JSON Lines or Parquet, with paths relative to its folder.

    path        a folder of pictures or a video; needed in every row
    name        or ``id``: what the sample is called; else its path, without the suffix of a video
    split       else ``all``; val, valid and validation are dev
    fps         of a folder of pictures; else what --fps says. A video has its own: there the cell is only carried along
    annotation  text, carried along

All other columns are carried along.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.items import is_safe_id
from tasks.engine.contract.manifest import InputFolder, Row, Table, carried, missing_columns, read_table, shorten
from tasks.engine.contract.text import showable
from tasks.landmarks.layouts.collection import NO_SPLIT, Sample, split_called
from tasks.landmarks.layouts.folders import inner_folder, sample, video_cost
from tasks.media.kinds import PICTURE_SUFFIXES, PICTURES_AND_VIDEOS, VIDEO_SUFFIXES, suffix_of
from tasks.media.scan import File, Folder, list_below

MAX_FPS = 1000.0
_NAMES = ("name", "id")
_OWN = frozenset({*_NAMES, "path", "split", "annotation"})


@dataclass(frozen=True)
class _Place:
    """What a row's path leads to: a folder of pictures or a video. ``called`` is its name where the row gives none."""

    path: str
    called: str
    cost: float
    is_video: bool


def read_samples(manifest: Path, fps: float) -> tuple[list[Sample], list[Problem]]:
    """The samples of ``manifest`` in its order, without the rows that have problems. ``fps`` is for folders."""
    table = _read(manifest)
    if not table.rows:
        return [], list(table.problems)
    folder = InputFolder(manifest.absolute().parent, "the folder of --input")
    problems = [*table.problems, *missing_columns(table, ("path",), manifest.name)]
    if set(_NAMES) <= set(table.columns):
        advice = "rename one of them; it is carried along then"
        problems.append(Problem(manifest.name, "the columns id and name", "one of the two", advice))
    samples: list[Sample] = []
    for row in table.rows:
        found, wrong = _sample(row, folder, fps)
        problems += wrong
        samples += [found] if found else []
    return samples, problems


def _read(manifest: Path) -> Table:
    """The table, with advice that names this flow's option."""
    table = read_table(manifest)
    problems = [replace(found, advice=found.advice.replace("--manifest", "--input")) for found in table.problems]
    return Table(table.rows, tuple(problems))


def _sample(row: Row, folder: InputFolder, fps: float) -> tuple[Sample | None, list[Problem]]:
    fields, problems = carried(row, _OWN)
    place, split, rate, words = _place(row, folder), _split(row), _fps(row, fps), _annotation(row)
    name = _name(row)
    problems += [found for found in (place, split, rate, words, name) if isinstance(found, Problem)]
    if not isinstance(place, _Place) or not isinstance(split, str) or isinstance(name, Problem):
        return None, problems
    if isinstance(rate, Problem) or isinstance(words, Problem):
        return None, problems
    if not place.is_video:
        fields = {column: value for column, value in fields.items() if column != "fps"}
    made = sample(split, name or place.called, place.path, place.cost, None if place.is_video else rate)
    return replace(made, annotation=words, fields=fields), problems


def _name(row: Row) -> str | Problem | None:
    """The row's name, any text; None where it has none."""
    column = next((name for name in _NAMES if row.values.get(name) not in (None, "")), None)
    if column is None:
        return None
    given = row.values[column]
    if isinstance(given, bool) or not isinstance(given, str | int) or showable(str(given)) != str(given):
        return row.problem(column, shorten(given), "text without control characters, or a whole number", "rename it")
    return str(given)


def _split(row: Row) -> str | Problem:
    given = row.values.get("split")
    if given in (None, ""):
        return NO_SPLIT
    if isinstance(given, str) and is_safe_id(given):
        return split_called(given) or given
    return row.problem("split", shorten(given), "train, dev, test or another name of letters and digits", "rename it")


def _annotation(row: Row) -> str | Problem | None:
    given = row.values.get("annotation")
    if given is None or isinstance(given, str):
        return given
    return row.problem("annotation", shorten(given), "text", "write it as text, or rename the column")


def _fps(row: Row, usual: float) -> float | Problem:
    """The row's frame rate, or the ``usual`` one. In CSV the cell is text."""
    given = row.values.get("fps")
    if given in (None, ""):
        return usual
    fps = _number(given)
    if fps is None or not 0 < fps <= MAX_FPS:
        return row.problem(
            "fps", shorten(given), f"a number above 0 and up to {MAX_FPS:g}", "correct it or leave it out"
        )
    return fps


def _number(given: Any) -> float | None:
    if isinstance(given, bool):
        return None
    try:
        number = float(given)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(number) else number


def _place(row: Row, folder: InputFolder) -> _Place | Problem | None:
    """What the row's path leads to; None where the cell is empty, which is reported elsewhere."""
    given = row.values.get("path")
    if given in (None, ""):
        return None
    where = f"{row.where}, path"
    if isinstance(given, str) and os.path.isdir(folder.root / given):  # noqa: PTH112 - nothing makes it raise
        return _folder(given, folder, where)
    found = folder.relative(given, where)
    if isinstance(found, Problem):
        return found
    if suffix_of(found) not in VIDEO_SUFFIXES:
        allowed = f"a folder of pictures, or a file ending in {', '.join(sorted(VIDEO_SUFFIXES))}"
        return Problem(where, f"the file {shorten(found)}", allowed, _advice(found))
    size = os.stat(folder.root / found).st_size  # noqa: PTH116
    return _Place(found, str(PurePosixPath(found).with_suffix("")), video_cost(File(found, size)), is_video=True)


def _advice(path: str) -> str:
    return "give the folder that holds it" if suffix_of(path) in PICTURE_SUFFIXES else "rename or convert it"


def _folder(given: str, folder: InputFolder, where: str) -> _Place | Problem:
    path = PurePosixPath(given)
    if path.is_absolute() or ".." in path.parts or showable(given) != given:
        allowed = "a relative path that stays in its folder, in UTF-8 without control characters"
        return Problem(showable(where), shorten(given), allowed, f"give the path relative to {folder.root}")
    if not Path(os.path.realpath(folder.root / path)).is_relative_to(os.path.realpath(folder.root)):
        advice = "copy the folder there"
        return Problem(where, f"{shorten(given)} is a link that leads out", f"folders inside {folder.root}", advice)
    listed = list_below(folder, str(path), PICTURES_AND_VIDEOS)
    pictures: Folder = inner_folder(listed.root) or listed.root
    return (
        listed.problems[0]
        if listed.problems
        else _Place(pictures.path, str(path), max(pictures.pictures, 1), is_video=False)
    )
