"""Model files: the one that the user chose, and where the verified file of it lies on this machine."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tasks.downloads.partial import file_digest
from tasks.engine.contract.errors import InvalidInput, Problem, RunError, TransientError
from tasks.landmarks.models.bundle import NotAModel, bundle_kind
from tasks.landmarks.models.catalogue import CATALOGUE, ModelFile, official
from tasks.landmarks.models.fetching import ModelFetcher, Unavailable
from tasks.landmarks.models.finding import fits, in_folder
from tasks.landmarks.models.settings import folder_problems, settings_from
from tasks.landmarks.points import ModelKind

_WORDS = ", ".join(CATALOGUE)


@dataclass(frozen=True)
class Model:
    """A model by its content.

    file_name  the official name where the content is an official file's, else the user's
    path       the user's own file; None: an official one, found by its digest on each machine
    """

    kind: ModelKind
    file_name: str
    sha256: str
    path: Path | None


def choose_model(option: str) -> tuple[Model | None, list[Problem]]:
    """The model that ``--model`` means: a word of the catalogue, or the path of a bundle, or problems."""
    if file := CATALOGUE.get(option):
        return _official_model(file), []
    path = Path(option).expanduser().absolute()
    if not option or not path.is_file():
        return None, [_no_such_model(option, path)]
    try:
        sha256, kind = file_digest(path), bundle_kind(path)
    except (NotAModel, OSError) as error:
        wrong = str(error) if isinstance(error, NotAModel) else f"cannot be read ({error.strerror or error})"
        return None, [Problem("--model", f"{path} {wrong}", _allowed_paths(), f"or give one of {_WORDS}")]
    known = official(sha256)
    return Model(kind, known[1].file_name if known else path.name, sha256, path), []


def rescue_model() -> Model:
    """The official hand landmarker, which looks for lost hands."""
    return _official_model(CATALOGUE["hands"])


def fetch_models(models: Iterable[Model]) -> list[Problem]:
    """Have each model's file on this machine, downloaded where it must be; a problem for each that cannot be had."""
    wanted = tuple(dict.fromkeys(models))
    try:
        settings = settings_from(os.environ)
    except InvalidInput as error:
        return list(error.problems)
    if problems := folder_problems(settings):
        return problems
    fetcher = ModelFetcher(settings)
    for model in wanted:
        try:
            _verified(model, fetcher)
        except Unavailable as error:
            problems.append(error.problem(_option(model, wanted)))
        except RunError as error:
            problems.append(Problem("--model", str(error), "a file that stays as it is", "run the same command again"))
    return problems


def model_path(model: Model) -> Path:
    """Where the model's file is on this machine, verified now; an official one is downloaded where it is not there.

    Raises TransientError where the network failed, RunError where there is no such file to be had, which no item is to
    blame for, InvalidInput for a variable that cannot be.
    """
    try:
        return _verified(model, ModelFetcher(settings_from(os.environ)))
    except Unavailable as error:
        kind = TransientError if error.passing else RunError
        raise kind(str(error.problem(_option(model, ())))) from error


def _verified(model: Model, fetcher: ModelFetcher) -> Path:
    """The file. Raises Unavailable for an official one, RunError for the user's own."""
    if model.path is not None and fits(model.path, model.sha256):
        return model.path
    if known := official(model.sha256):
        return fetcher.path(known[1])
    if found := in_folder(fetcher.settings.folder, model.file_name, model.sha256):
        return found
    raise RunError(
        f"{model.path} is not on this machine with the content that it had when the command was given (sha256 "
        f"{model.sha256}); put that file there, or into a folder named by HEADRACE_MODEL_DIR, or run the command again"
    )


def _official_model(file: ModelFile) -> Model:
    return Model(file.kind, file.file_name, file.sha256, None)


def _option(model: Model, wanted: tuple[Model, ...]) -> str:
    """The option because of which ``model`` is needed, as far as ``wanted``, the chosen one first, lets tell."""
    if model == rescue_model() and wanted[:1] != (model,):
        return "--rescue-hands" if wanted else "--model hands or --rescue-hands"
    known = official(model.sha256)
    return f"--model {known[0]}" if known and model.path is None else f"--model {model.path}"


def _no_such_model(option: str, path: Path) -> Problem:
    is_folder = bool(option) and path.is_dir()
    given = f"{option!r} is {'a folder' if is_folder else 'neither a model nor a file'}"
    close = difflib.get_close_matches(option.lower(), CATALOGUE, 1)
    advice = f"did you mean {close[0]}?" if close else "check the path"
    return Problem("--model", given, f"{_WORDS}, or {_allowed_paths()}", advice)


def _allowed_paths() -> str:
    return "the path of a .task file of MediaPipe's for holistic, hand, pose or face landmarks"
