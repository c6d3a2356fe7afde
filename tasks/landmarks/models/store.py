"""The model that the user chose, and the path of its verified file on this machine."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tasks.downloads.partial import compute_file_digest
from tasks.engine.contract.errors import InvalidInput, Problem, RunError, TransientError
from tasks.landmarks.models.bundle import NotAModel, detect_bundle_kind
from tasks.landmarks.models.catalogue import CATALOGUE, ModelFile, find_official
from tasks.landmarks.models.fetching import ModelFetcher, Unavailable
from tasks.landmarks.models.finding import find_in_folder, has_content
from tasks.landmarks.models.settings import check_folder, read_settings
from tasks.landmarks.points import ModelKind

_MODEL_NAMES = ", ".join(CATALOGUE)


@dataclass(frozen=True)
class Model:
    """A model identified by its content.

    file_name  official name if the content is an official file's, else the user's file name
    path       path of the user's file; None: an official file, found by its digest on each machine
    """

    kind: ModelKind
    file_name: str
    sha256: str
    path: Path | None


def choose_model(option: str) -> tuple[Model | None, list[Problem]]:
    """Return the model for ``--model`` (a name in the catalogue or the path of a bundle), or problems."""
    if file := CATALOGUE.get(option):
        return _create_official_model(file), []
    path = Path(option).expanduser().absolute()
    if not option or not path.is_file():
        return None, [_describe_unknown_model(option, path)]
    try:
        sha256, kind = compute_file_digest(path), detect_bundle_kind(path)
    except (NotAModel, OSError) as error:
        reason = str(error) if isinstance(error, NotAModel) else f"cannot be read ({error.strerror or error})"
        return None, [Problem("--model", f"{path} {reason}", _describe_paths(), f"or use one of {_MODEL_NAMES}")]
    match = find_official(sha256)
    return Model(kind, match[1].file_name if match else path.name, sha256, path), []


def get_rescue_model() -> Model:
    """Return the official hand landmarker, which the hand rescue uses."""
    return _create_official_model(CATALOGUE["hands"])


def fetch_models(models: Iterable[Model]) -> list[Problem]:
    """Get each model's file onto this machine, downloading if needed; return a problem for each unavailable file."""
    requested = tuple(dict.fromkeys(models))
    try:
        settings = read_settings(os.environ)
    except InvalidInput as error:
        return list(error.problems)
    if problems := check_folder(settings):
        return problems
    fetcher = ModelFetcher(settings)
    for model in requested:
        try:
            _find_verified(model, fetcher)
        except Unavailable as error:
            problems.append(error.describe(_find_option(model, requested)))
        except RunError as error:
            problems.append(
                Problem(
                    "--model", str(error), "a file that does not change during the run", "run the same command again"
                )
            )
    return problems


def locate_model(model: Model) -> Path:
    """Return the verified path of the model's file on this machine; download an official file if it is missing.

    Raises TransientError if the network failed, RunError if the file is not available (no item is at fault), and
    InvalidInput for an invalid variable.
    """
    try:
        return _find_verified(model, ModelFetcher(read_settings(os.environ)))
    except Unavailable as error:
        kind = TransientError if error.is_transient else RunError
        raise kind(str(error.describe(_find_option(model, ())))) from error


def _find_verified(model: Model, fetcher: ModelFetcher) -> Path:
    """Return the file's path. Raises Unavailable for an official file, RunError for the user's file."""
    if model.path is not None and has_content(model.path, model.sha256):
        return model.path
    if match := find_official(model.sha256):
        return fetcher.fetch(match[1])
    if path := find_in_folder(fetcher.settings.folder, model.file_name, model.sha256):
        return path
    raise RunError(
        f"{model.path} is not on this machine with its content at the start of the run (sha256 "
        f"{model.sha256}); restore that file, or put it into the folder in HEADRACE_MODEL_DIR, or run the command again"
    )


def _create_official_model(file: ModelFile) -> Model:
    return Model(file.kind, file.file_name, file.sha256, None)


def _find_option(model: Model, requested: tuple[Model, ...]) -> str:
    """Return the option that requires ``model``. ``requested`` has the chosen model first; () if unknown."""
    if model == get_rescue_model() and requested[:1] != (model,):
        return "--rescue-hands" if requested else "--model hands or --rescue-hands"
    match = find_official(model.sha256)
    return f"--model {match[0]}" if match and model.path is None else f"--model {model.path}"


def _describe_unknown_model(option: str, path: Path) -> Problem:
    is_folder = bool(option) and path.is_dir()
    given = f"{option!r} is {'a folder' if is_folder else 'neither a model name nor a file'}"
    close = difflib.get_close_matches(option.lower(), CATALOGUE, 1)
    advice = f"did you mean {close[0]}?" if close else "check the path"
    return Problem("--model", given, f"{_MODEL_NAMES}, or {_describe_paths()}", advice)


def _describe_paths() -> str:
    return "the path of a MediaPipe .task file for holistic, hand, pose or face landmarks"
