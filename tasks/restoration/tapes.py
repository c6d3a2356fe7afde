"""From a folder of tapes, and a table of what some of them need, to the tapes of a run.

The table (``--settings``) has a column ``tape``, with a path relative to the folder, and a column for each option that
is not the same for all tapes; a cell that is empty leaves the option as it is for all.
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
from tasks.media.folder import ids_of
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
    fields  columns of the table that are no options; enter no key
    refusal why the file cannot be used, if a scan of the folder says so
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
    """What the table says of one tape: where it says so, the options that it changes, and other columns."""

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
    """Every video under ``folder``, in natural order, with its options; and everything that is wrong.

    ``common`` are the options of all tapes, which a tape's own line in ``settings`` changes; ``presets`` are the names
    of all presets. ``notes`` gets a line about files of the folder that are not read.
    """
    root = InputFolder(folder, _INPUT)
    if problems := root.problems():
        return [], problems
    files, problems = scan_videos(root, [] if notes is None else notes)
    paths = list(files)
    lines, wrong = _lines(settings, paths) if settings else ({}, [])
    problems += wrong
    tapes = []
    for tape_id, path in ids_of(paths):
        line = lines.get(path, _Line(_INPUT, {}, {}))
        options, wrong = _options(common, line, presets)
        problems += wrong
        tapes.append(Tape(tape_id, showable(path), options, line.fields, files[path].refusal))
    return tapes, cap_problems(dict.fromkeys(problems))


def read_tape(
    path: Path, names: Sequence[str], presets: Presets, **values: Any
) -> tuple[Tape | None, list[TapeOptions], list[Problem]]:
    """The one tape at ``path``, its options once for each of the presets ``names``, and everything that is wrong."""
    wished = [TapeOptions(preset=name.strip(), **values) for name in names if name.strip()]
    problems = [
        Problem("--presets", shorten(one.preset), ", ".join(presets.names), "name some of these")
        for one in wished
        if one.preset not in presets.names
    ]
    twice = sorted({one.preset for one in wished if wished.count(one) > 1})
    problems += [Problem("--presets", f"{name} twice", "each preset once", "leave one out") for name in twice]
    if not wished:
        problems.append(Problem("--presets", "none", ", ".join(presets.names), "name some of these"))
    root = InputFolder(path.parent, _INPUT)
    if wrong := root.problems():
        return None, wished, problems + wrong
    relative = root.relative(path.name, path.name)
    if isinstance(relative, Problem):
        return None, wished, [*problems, relative]
    return Tape(make_safe_id(path.stem), relative, wished[0] if wished else TapeOptions()), wished, problems


def common_options(**values: Any) -> tuple[TapeOptions, list[Problem]]:
    """The options of all tapes, each by itself already checked; problems where they do not go together."""
    try:
        return TapeOptions(**values), []
    except ValidationError as error:
        words = [found["msg"].removeprefix("Value error, ") for found in error.errors()]
        allowed = "options that go together"
        return TapeOptions(), [Problem("--codec, --crf", word, allowed, "change one of them") for word in words]


def unmeasured_problems(tapes: Iterable[Tape], presets: Presets, auto_detect: bool) -> list[Problem]:
    """A problem where a preset is to be chosen by what is measured, and nothing is."""
    names = {tape.options.preset for tape in tapes} & presets.automatic.keys()
    if auto_detect or not names:
        return []
    given = f"{', '.join(sorted(names))} with --no-auto-detect"
    return [Problem("--preset", given, ", ".join(presets.presets), "measure the tapes, or name one of these")]


def _lines(settings: Path, paths: Sequence[str]) -> tuple[dict[str, _Line], list[Problem]]:
    """The lines of the table by the tape that each is about."""
    table = read_table(settings)
    problems = [*table.problems, *(find_missing_columns(table, [TAPE], settings.name) if table.rows else [])]
    lines: dict[str, _Line] = {}
    for row in table.rows:
        tape = row.values.get(TAPE)
        if tape in (None, ""):
            continue
        if problem := _unusable(row, tape, paths, lines):
            problems.append(problem)
            continue
        line, wrong = _line(row)
        problems += wrong
        lines[str(tape)] = line
    return lines, problems


def _unusable(row: Row, tape: object, paths: Sequence[str], lines: Mapping[str, _Line]) -> Problem | None:
    """Why the row is about no tape, or about one that another row is about."""
    if tape not in paths:
        close = [path for path in paths if Path(path).stem == str(tape)]
        advice = f"did you mean {close[0]}?" if close else "check the column"
        return row.problem(TAPE, f"{shorten(tape)} is no video of {_INPUT}", "a path relative to that folder", advice)
    if tape in lines:
        return row.problem(
            TAPE, f"{shorten(tape)} again, as in {lines[str(tape)].where}", "a line a tape", "merge them"
        )
    return None


def _line(row: Row) -> tuple[_Line, list[Problem]]:
    names = TapeOptions.model_fields.keys()
    options = {name: value for name, value in row.values.items() if name in names and value not in (None, "")}
    fields, problems = collect_extra_columns(row, without={TAPE, *names})
    return _Line(row.where, options, fields), problems


def _options(common: TapeOptions, line: _Line, presets: Collection[str]) -> tuple[TapeOptions, list[Problem]]:
    """The options of a tape; those of all, and a problem for each, where its line has some that cannot be."""
    try:
        options = TapeOptions.model_validate({**common.model_dump(), **line.options})
    except ValidationError as error:
        return common, [_problem(line, found["loc"], found["msg"]) for found in error.errors()]
    if options.preset not in presets:
        where = f"{line.where}, preset" if "preset" in line.options else "--preset"
        return options, [Problem(where, shorten(options.preset), ", ".join(presets), "name one of these")]
    return options, []


def _problem(line: _Line, where: Sequence[int | str], message: str) -> Problem:
    if not where:
        allowed = "options that go together"
        return Problem(line.where, message.removeprefix("Value error, "), allowed, "change one of them")
    name = str(where[0])
    allowed = message.removeprefix("Input should be ").removeprefix("a valid ")
    return Problem(f"{line.where}, {name}", shorten(line.options.get(name)), allowed, "change it or leave it empty")
