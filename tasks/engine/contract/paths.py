"""Check the paths in a flow's parameters before any file is read or written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest import shorten
from tasks.engine.contract.text import showable
from tasks.stores.location import LocationError, get_local_path, is_location, parse_location

_ALLOWED = "a path on this machine"
# Parameters of text that may be a path; others are text, or are paths by their type.
TEXT_PARAMETERS = frozenset({"model", "weights", "mask", "input"})
_OUTPUT = "output_dir"
_WEB = ("http:", "https:")  # texts that a flow downloads itself, as an item
# Folders that flows scan for input; with a manifest, "videos_dir" is not scanned.
_SCANNED = frozenset({"input", "videos_dir", "light_curves"})
_VARIABLE = re.compile(r"\$\w|\$\{")
_GLOB = re.compile(r"[*?]")


def find_path_problems(parameters: Mapping[str, Any]) -> list[Problem]:
    """Return the problems of the paths and URLs among a flow's parameters.

    Refused: URLs that no store has; shell syntax (``~``, ``$HOME``, ``*``) and blanks around names, unless such a file
    exists; control and hidden characters; bytes that are not UTF-8; an output folder that is scanned for input.
    """
    problems = [
        _find_problem(f"--{name.replace('_', '-')}", path, name == _OUTPUT) for name, path in _find_paths(parameters)
    ]
    return [*(problem for problem in problems if problem), *_find_scanned_output(parameters)]


def _find_paths(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in parameters.items():
        if isinstance(value, Path) or (
            name in TEXT_PARAMETERS and isinstance(value, str) and _is_store_text(name, value)
        ):
            yield name, str(value)


def _is_store_text(name: str, text: str) -> bool:
    return is_location(text) and not (name == "input" and text.lower().startswith(_WEB))


def find_location_problem(option: str, given: str, writable: bool) -> Problem | None:
    """Return the problem of a URL; None if it can be used. ``writable``: the location must take outputs."""
    if get_local_path(given) is not None:
        return None
    try:
        parse_location(given, writable)
    except LocationError as error:
        return Problem(option, error.given, error.allowed, error.advice)
    return None


def _find_problem(option: str, path: str, writable: bool) -> Problem | None:
    if is_location(path) and not os.path.lexists(path):
        if problem := find_location_problem(option, path, writable):
            return problem
        if (local := get_local_path(path)) is None:
            return None
        path = local
    if showable(path) != path:
        return Problem(
            option, showable(shorten(path)), "a path in UTF-8 without control or hidden characters", "rename it"
        )
    missing = _find_missing_part(path)
    if missing.startswith("~") and path.startswith("~"):
        reason = "~ is replaced by shells only, and only at the start of a word"
        return _find_shell_syntax(option, path, reason, os.path.expanduser(path))
    if _VARIABLE.search(missing):
        return _find_shell_syntax(option, path, "variables are replaced by shells only", os.path.expandvars(path))
    if _GLOB.search(missing):
        return Problem(option, shorten(path), _ALLOWED, "* and ? are replaced by shells only: name one file or folder")
    if any(part != part.strip() for part in missing.split(os.sep)):
        return Problem(option, shorten(path), "a path without blanks around its names", "remove the blanks")
    return None


def _find_shell_syntax(option: str, path: str, reason: str, meant: str) -> Problem:
    advice = f"{reason}; give the path in full" + (f": {meant}" if meant != path else "")
    return Problem(option, shorten(path), _ALLOWED, advice)


def _find_missing_part(path: str) -> str:
    """Return the part of ``path`` that does not exist, "" if all of it does."""
    parts = Path(path).parts
    for number in range(len(parts), 0, -1):
        if os.path.lexists(os.path.join(*parts[:number])):
            return os.sep.join(parts[number:])
    return path


def _find_scanned_output(parameters: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for each input folder that is also the output folder."""
    output = parameters.get(_OUTPUT)
    if not isinstance(output, Path):
        return
    for name in _SCANNED & parameters.keys():
        folder = parameters[name]
        is_listed = name == "videos_dir" and parameters.get("manifest") is not None
        if isinstance(folder, str | Path) and not is_listed and _is_same_folder(output, Path(folder)):
            option = f"--{name.replace('_', '-')}"
            advice = "name another folder: the next run would take the outputs for inputs"
            yield Problem("--output-dir", f"{shorten(str(output))}, the folder of {option}", "another folder", advice)


def _is_same_folder(output: Path, folder: Path) -> bool:
    if is_location(output) or is_location(folder):
        return _normalize(output) == _normalize(folder)
    return output.is_dir() and folder.is_dir() and output.samefile(folder)


def _normalize(place: Path) -> str:
    """Return a path or a URL in one form; a URL that cannot be used stays as it is."""
    if path := get_local_path(place):
        return path
    try:
        return parse_location(place).url if is_location(place) else str(place.absolute())
    except LocationError:
        return str(place)
