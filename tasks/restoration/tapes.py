"""Read the tapes of a run from a folder, and their options from a table.

The table (``--settings``) has a column ``tape``, with a path relative to the folder, and a column for each option that
differs between tapes. An empty cell keeps the common option.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.items import make_safe_id
from tasks.engine.contract.manifest import (
    InputFolder,
    Row,
    cap_problems,
    collect_extra_columns,
    find_missing_columns,
    read_table,
    shorten,
)
from tasks.engine.contract.text import showable
from tasks.media.folder import derive_ids
from tasks.media.scan import scan_videos
from tasks.restoration.options import TapeOptions
from tasks.restoration.presets import Presets

TAPE = "tape"
_INPUT = "--input"


@dataclass(frozen=True)
class Tape:
    """One tape.

    id      safe as a file name
    path    relative to the folder of all tapes
    fields  other columns of the table; not part of the key
    refusal why the file cannot be used, if the scan of the folder found a reason
    """

    id: str
    path: str
    options: TapeOptions
    fields: Mapping[str, Any] = field(default_factory=dict)
    refusal: str = ""

    @property
    def name(self) -> str:
        """The name of its file."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class _Line:
    """A line of the table: its place, the options that it changes, and other columns."""

    where: str
    options: Mapping[str, Any]
    fields: Mapping[str, Any]


def read_tapes(
    folder: Path,
    settings: Path | None,
    common: TapeOptions,
    presets: Collection[str],
    notes: list[str] | None = None,
) -> tuple[list[Tape], list[Problem]]:
    """Return every video under ``folder``, in natural order, with its options, and all problems.

    ``common`` are the options of all tapes; lines in ``settings`` override them. ``presets`` are the names of all
    presets. ``notes`` gets a line about files of the folder that are not read.
    """
    root = InputFolder(folder, _INPUT)
    if problems := root.problems():
        return [], problems
    files, problems = scan_videos(root, [] if notes is None else notes)
    paths = list(files)
    lines, more = _read_lines(settings, paths) if settings else ({}, [])
    problems += more
    tapes = []
    for tape_id, path in derive_ids(paths):
        line = lines.get(path, _Line(_INPUT, {}, {}))
        options, more = _merge_options(common, line, presets)
        problems += more
        tapes.append(Tape(tape_id, showable(path), options, line.fields, files[path].refusal))
    return tapes, cap_problems(dict.fromkeys(problems))


def read_tape(
    path: Path, names: Sequence[str], presets: Presets, **values: Any
) -> tuple[Tape | None, list[TapeOptions], list[Problem]]:
    """Return the tape at ``path``, its options for each preset in ``names``, and all problems."""
    options = [TapeOptions(preset=name.strip(), **values) for name in names if name.strip()]
    problems = [
        Problem("--presets", shorten(entry.preset), ", ".join(presets.names), "name some of these")
        for entry in options
        if entry.preset not in presets.names
    ]
    twice = sorted({entry.preset for entry in options if options.count(entry) > 1})
    problems += [Problem("--presets", f"{name} twice", "each preset once", "leave one out") for name in twice]
    if not options:
        problems.append(Problem("--presets", "none", ", ".join(presets.names), "name some of these"))
    root = InputFolder(path.parent, _INPUT)
    if more := root.problems():
        return None, options, problems + more
    relative = root.relative(path.name, path.name)
    if isinstance(relative, Problem):
        return None, options, [*problems, relative]
    return Tape(make_safe_id(path.stem), relative, options[0] if options else TapeOptions()), options, problems


def read_common_options(**values: Any) -> tuple[TapeOptions, list[Problem]]:
    """Return the options of all tapes, and problems if they exclude each other."""
    try:
        return TapeOptions(**values), []
    except ValidationError as error:
        messages = [details["msg"].removeprefix("Value error, ") for details in error.errors()]
        allowed = "options that go together"
        return TapeOptions(), [
            Problem("--codec, --crf", message, allowed, "change one of them") for message in messages
        ]


def find_unmeasured_presets(tapes: Iterable[Tape], presets: Presets, auto_detect: bool) -> list[Problem]:
    """Return a problem if a preset depends on measurements and the tapes are not measured."""
    names = {tape.options.preset for tape in tapes} & presets.automatic.keys()
    if auto_detect or not names:
        return []
    given = f"{', '.join(sorted(names))} with --no-auto-detect"
    return [Problem("--preset", given, ", ".join(presets.presets), "measure the tapes, or name one of these")]


def _read_lines(settings: Path, paths: Sequence[str]) -> tuple[dict[str, _Line], list[Problem]]:
    """Return the lines of the table by tape."""
    table = read_table(settings)
    problems = [*table.problems, *(find_missing_columns(table, [TAPE], settings.name) if table.rows else [])]
    lines: dict[str, _Line] = {}
    for row in table.rows:
        tape = row.values.get(TAPE)
        if tape in (None, ""):
            continue
        if problem := _check_row(row, tape, paths, lines):
            problems.append(problem)
            continue
        line, more = _parse_row(row)
        problems += more
        lines[str(tape)] = line
    return lines, problems


def _check_row(row: Row, tape: object, paths: Sequence[str], lines: Mapping[str, _Line]) -> Problem | None:
    """Return a problem if the row names no tape, or one that another row names."""
    if tape not in paths:
        close = [path for path in paths if Path(path).stem == str(tape)]
        advice = f"did you mean {close[0]}?" if close else "check the column"
        return row.problem(
            TAPE, f"{shorten(tape)} is not a video in {_INPUT}", "a path relative to that folder", advice
        )
    if tape in lines:
        return row.problem(
            TAPE, f"{shorten(tape)} again, as in {lines[str(tape)].where}", "one line per tape", "merge them"
        )
    return None


def _parse_row(row: Row) -> tuple[_Line, list[Problem]]:
    names = TapeOptions.model_fields.keys()
    options = {name: value for name, value in row.values.items() if name in names and value not in (None, "")}
    fields, problems = collect_extra_columns(row, without={TAPE, *names})
    return _Line(row.where, options, fields), problems


def _merge_options(common: TapeOptions, line: _Line, presets: Collection[str]) -> tuple[TapeOptions, list[Problem]]:
    """Return the options of a tape; if its line is invalid, the common options and the problems."""
    try:
        options = TapeOptions.model_validate({**common.model_dump(), **line.options})
    except ValidationError as error:
        return common, [_convert_error(line, details["loc"], details["msg"]) for details in error.errors()]
    if options.preset not in presets:
        where = f"{line.where}, preset" if "preset" in line.options else "--preset"
        return options, [Problem(where, shorten(options.preset), ", ".join(presets), "name one of these")]
    return options, []


def _convert_error(line: _Line, where: Sequence[int | str], message: str) -> Problem:
    if not where:
        allowed = "options that go together"
        return Problem(line.where, message.removeprefix("Value error, "), allowed, "change one of them")
    name = str(where[0])
    allowed = message.removeprefix("Input should be ").removeprefix("a valid ")
    return Problem(f"{line.where}, {name}", shorten(line.options.get(name)), allowed, "change it or leave it empty")
