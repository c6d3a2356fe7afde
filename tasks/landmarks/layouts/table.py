"""Manifests of samples: CSV, TSV, JSON, JSON Lines or Parquet, with paths relative to the manifest's folder.

path        image folder or video; required in every row
name        (or ``id``) name of the sample; default: its path, without the suffix of a video
split       default: ``all``; val, valid and validation mean dev
fps         frame rate of an image folder; default: --fps. Videos have their own; their cell is only copied
start, end  the part of a video, in seconds since the start of the file, as players count; also as 1:02.5 or 0:01:02.5
annotation  text, copied to the outputs

All other columns are copied to the outputs.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.items import is_safe_id
from tasks.engine.contract.manifest import (
    InputFolder,
    Row,
    Table,
    collect_extra_columns,
    find_missing_columns,
    read_table,
    shorten,
)
from tasks.engine.contract.text import showable
from tasks.landmarks.layouts.collection import NO_SPLIT, Sample, normalize_split
from tasks.landmarks.layouts.folders import create_sample, estimate_frames, find_image_folder
from tasks.media.kinds import IMAGE_SUFFIXES, IMAGES_AND_VIDEOS, VIDEO_SUFFIXES, get_suffix
from tasks.media.scan import File, Folder, scan_subfolder

MAX_FPS = 1000.0
_MAX_CLOCK_PARTS = 3  # hours, minutes, seconds
_NAMES = ("name", "id")
_OWN_COLUMNS = frozenset({*_NAMES, "path", "split", "annotation"})


@dataclass(frozen=True)
class _Target:
    """The image folder or video at a row's path. ``default_name`` is its name if the row has none."""

    path: str
    default_name: str
    cost: float
    is_video: bool


def read_samples(manifest: Path, fps: float) -> tuple[list[Sample], list[Problem]]:
    """Return the samples of ``manifest`` in order, without rows that have problems. ``fps`` is for image folders."""
    table = _read_table(manifest)
    if not table.rows:
        return [], list(table.problems)
    folder = InputFolder(manifest.absolute().parent, "the folder of --input")
    problems = [*table.problems, *find_missing_columns(table, ("path",), manifest.name)]
    if set(_NAMES) <= set(table.columns):
        advice = "rename one of them; the renamed column is copied to the outputs"
        problems.append(Problem(manifest.name, "the columns id and name", "one of the two", advice))
    samples: list[Sample] = []
    for row in table.rows:
        parsed, row_problems = _parse_sample(row, folder, fps)
        problems += row_problems
        samples += [parsed] if parsed else []
    return samples, problems


def _read_table(manifest: Path) -> Table:
    """Return the table, with advice that names this flow's option."""
    table = read_table(manifest)
    problems = [replace(problem, advice=problem.advice.replace("--manifest", "--input")) for problem in table.problems]
    return Table(table.rows, tuple(problems))


@dataclass(frozen=True)
class _Span:
    """The part of a video, in seconds; ``text`` distinguishes it from other parts."""

    start: float | None = None
    end: float | None = None

    @property
    def text(self) -> str:
        """The part of the default name."""
        shown = ["" if value is None else f"{value:g}" for value in (self.start, self.end)]
        return f"_{shown[0]}-{shown[1]}" if any(shown) else ""


def _parse_sample(row: Row, folder: InputFolder, fps: float) -> tuple[Sample | None, list[Problem]]:
    fields, problems = collect_extra_columns(row, _OWN_COLUMNS)
    target, split, rate, annotation = (
        _parse_path(row, folder),
        _parse_split(row),
        _parse_fps(row, fps),
        _parse_annotation(row),
    )
    name, span = _parse_name(row), _parse_span(row)
    problems += [value for value in (target, split, rate, annotation, name, span) if isinstance(value, Problem)]
    if not isinstance(target, _Target) or not isinstance(split, str) or isinstance(name, Problem):
        return None, problems
    if isinstance(rate, Problem) or isinstance(annotation, Problem) or isinstance(span, Problem):
        return None, problems
    if span.text and not target.is_video:
        advice = "remove the cells, or give a folder with the images of this part only"
        problems.append(row.problem("start, end", "a part of an image folder", "parts of videos", advice))
    if not target.is_video:
        fields = {column: value for column, value in fields.items() if column != "fps"}
    parsed = create_sample(
        split, name or f"{target.default_name}{span.text}", target.path, target.cost, None if target.is_video else rate
    )
    return replace(parsed, annotation=annotation, fields=fields, start=span.start, end=span.end), problems


def _parse_span(row: Row) -> _Span | Problem:
    """Return the part of the video that the row names."""
    start, end = (_parse_seconds(row, name) for name in ("start", "end"))
    if isinstance(start, Problem) or isinstance(end, Problem):
        return start if isinstance(start, Problem) else end  # type: ignore[return-value]
    if end is not None and end <= (start or 0.0):
        return row.problem("end", shorten(row.values["end"]), "a time after start", "correct one of them")
    return _Span(start, end)


def _parse_seconds(row: Row, column: str) -> float | Problem | None:
    """Return a time in seconds, given as a number or as [hours:]minutes:seconds; None if the cell is empty."""
    given = row.values.get(column)
    if given in (None, ""):
        return None
    parts = [_parse_number(part) for part in (given.split(":") if isinstance(given, str) else [given])]
    numbers = [part for part in parts if part is not None and 0 <= part < math.inf]
    if len(numbers) != len(parts) or len(parts) > _MAX_CLOCK_PARTS:
        return row.problem(column, shorten(given), "seconds, or a time like 1:02.5", "correct it or remove it")
    return float(sum(number * 60.0**power for power, number in enumerate(reversed(numbers))))


def _parse_name(row: Row) -> str | Problem | None:
    """Return the row's name (any text), None if it has none."""
    column = next((name for name in _NAMES if row.values.get(name) not in (None, "")), None)
    if column is None:
        return None
    given = row.values[column]
    if isinstance(given, bool) or not isinstance(given, str | int) or showable(str(given)) != str(given):
        return row.problem(
            column, shorten(given), "text without control or hidden characters, or a whole number", "rename it"
        )
    return str(given)


def _parse_split(row: Row) -> str | Problem:
    given = row.values.get("split")
    if given in (None, ""):
        return NO_SPLIT
    if isinstance(given, str) and is_safe_id(given):
        return normalize_split(given) or given
    return row.problem("split", shorten(given), "train, dev, test or another name of letters and digits", "rename it")


def _parse_annotation(row: Row) -> str | Problem | None:
    given = row.values.get("annotation")
    if given is None or isinstance(given, str):
        return given
    return row.problem("annotation", shorten(given), "text", "write it as text, or rename the column")


def _parse_fps(row: Row, default: float) -> float | Problem:
    """Return the row's frame rate, or ``default``. CSV cells are text."""
    given = row.values.get("fps")
    if given in (None, ""):
        return default
    fps = _parse_number(given)
    if fps is None or not 0 < fps <= MAX_FPS:
        return row.problem("fps", shorten(given), f"a number above 0 and up to {MAX_FPS:g}", "correct it or remove it")
    return fps


def _parse_number(given: Any) -> float | None:
    if isinstance(given, bool):
        return None
    try:
        number = float(given)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(number) else number


def _parse_path(row: Row, folder: InputFolder) -> _Target | Problem | None:
    """Return the image folder or video at the row's path; None if the cell is empty (reported elsewhere)."""
    given = row.values.get("path")
    if given in (None, ""):
        return None
    where = f"{row.where}, path"
    if isinstance(given, str) and os.path.isdir(folder.root / given):  # noqa: PTH112 - it never raises
        return _check_folder(given, folder, where)
    relative_path = folder.relative(given, where)
    if isinstance(relative_path, Problem):
        return relative_path
    if get_suffix(relative_path) not in VIDEO_SUFFIXES:
        allowed = f"a folder of images, or a file ending in {', '.join(sorted(VIDEO_SUFFIXES))}"
        return Problem(where, f"the file {shorten(relative_path)}", allowed, _suggest_fix(relative_path))
    size = os.stat(folder.root / relative_path).st_size  # noqa: PTH116
    return _Target(
        relative_path,
        str(PurePosixPath(relative_path).with_suffix("")),
        estimate_frames(File(relative_path, size)),
        is_video=True,
    )


def _suggest_fix(path: str) -> str:
    return "use the folder that contains it" if get_suffix(path) in IMAGE_SUFFIXES else "rename or convert it"


def _check_folder(given: str, folder: InputFolder, where: str) -> _Target | Problem:
    path = PurePosixPath(given)
    if path.is_absolute() or ".." in path.parts or showable(given) != given:
        allowed = "a relative path inside its folder, in UTF-8 without control or hidden characters"
        return Problem(showable(where), shorten(given), allowed, f"use a path relative to {folder.root}")
    if not Path(os.path.realpath(folder.root / path)).is_relative_to(os.path.realpath(folder.root)):
        advice = "copy the folder into it"
        return Problem(
            where, f"{shorten(given)} is a symlink that points outside", f"folders inside {folder.root}", advice
        )
    listed = scan_subfolder(folder, str(path), IMAGES_AND_VIDEOS)
    images: Folder = find_image_folder(listed.root) or listed.root
    return (
        listed.problems[0]
        if listed.problems
        else _Target(images.path, str(path), max(images.image_count, 1), is_video=False)
    )
