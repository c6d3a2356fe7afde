"""The command line of a flow: its options from its signature, every mistake at once, its exit code."""

from __future__ import annotations

import difflib
import gc
import importlib
import inspect
import os
import queue
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import cyclopts
import httpx
from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

from tasks.engine.contract.errors import HeadraceError, InvalidInput, Problem, RunError, RunUnfinished
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.paths import find_path_problems
from tasks.engine.contract.text import showable, showable_lines
from tasks.launcher.api import LocalApi
from tasks.launcher.api_client import bypass_proxies, check_prefect_home, client_settings

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import State
    from prefect.settings.legacy import Setting

EXIT_INVALID = 2
EXIT_ERROR = 1
EXIT_INTERRUPTED = 130
_LAST_WORDS_SECONDS = 5.0
_RETRIES = 2  # of a call to the server, 10 s; with Prefect's five, a run whose server has died takes minutes to end
_NEEDS_NO_API = frozenset({"--help", "-h", "--version", "--dry-run"})


def main(module: str, arguments: Sequence[str] | None = None) -> int:
    """Run the flow of ``module`` (``flows.x`` has the flow ``x``); returns the exit code.

    0 all done, 3 finished with failed items, 2 bad parameters or manifest, 130 interrupted, 1 anything else.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _main(module, arguments)
    except InvalidInput as error:
        return _refuse(error.problems)
    except HeadraceError as error:
        _say(f"error: {error}")
        return EXIT_ERROR
    except KeyboardInterrupt:
        _say("interrupted before the run began; nothing was changed")
        return EXIT_INTERRUPTED


def _main(name: str, arguments: list[str]) -> int:
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # the run speaks for itself
    os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")  # a server that is away: a page for each event
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    with ExitStack() as stack:
        api = None
        if "PREFECT_API_URL" not in os.environ and not _NEEDS_NO_API & set(arguments):
            api = stack.enter_context(LocalApi())
        if message := check_prefect_home(api):
            _say(message)
        module = _import(name)
        flow: Flow[..., Any] = getattr(module, name.rpartition(".")[2])
        command = read_command(flow, module.read_inputs, f"python {name.replace('.', '/')}.py", arguments)
        if command is None:
            return 0
        if command.get("execution", Execution()).dry_run:
            flow.fn(**command)
            return 0
        if api:
            stack.enter_context(_started(api))
        return _run(flow, command)


def _import(name: str) -> ModuleType:
    """Import the flow's module, without looking for garbage among what all stays."""
    gc.disable()
    try:
        with warnings.catch_warnings():
            # Nothing needs that folder: without a server the run has a home of its own.
            warnings.filterwarnings("ignore", "Failed to create the Prefect home directory")
            return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _started(api: LocalApi) -> Iterator[None]:
    """Start ``api`` and point Prefect to it, unless a profile or a settings file names another."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    if PREFECT_API_URL.value():
        yield
        return
    bypass_proxies()
    api.start()
    api.wait()
    _say(f"Prefect UI while this runs: {api.ui_url} (password: {api.password_file})")
    with temporary_settings(client_settings(api)):
        try:
            yield
        finally:
            _send_last_words()


def _send_last_words() -> None:
    """Let Prefect send the logs and events that it still holds, while there is a server to take them."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=_LAST_WORDS_SECONDS)
    EventsWorker.drain_all(timeout=_LAST_WORDS_SECONDS)


def _forget_words() -> None:
    """Drop what Prefect still holds for a server that is gone: it would try every event for seconds before it exits."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    services: list[Any] = [EventsWorker, APILogWorker]  # Prefect has no public way to do this
    for service in [one for kind in services for one in kind._instances.values()]:  # noqa: SLF001
        with suppress(queue.Empty):
            while True:
                service._queue.get_nowait()  # noqa: SLF001


def _patience() -> dict[Setting, Any]:
    """How long Prefect's client repeats a call: what the user says, or a bearable time without a random part."""
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, PREFECT_CLIENT_RETRY_JITTER_FACTOR, get_current_settings

    given = get_current_settings().client.model_fields_set
    own = {
        "max_retries": (PREFECT_CLIENT_MAX_RETRIES, _RETRIES),
        "retry_jitter_factor": (PREFECT_CLIENT_RETRY_JITTER_FACTOR, 0),
    }
    return dict(setting for name, setting in own.items() if name not in given)


def _run(flow: Flow[..., Any], parameters: dict[str, Any]) -> int:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    try:
        with temporary_settings(_patience()):
            state: State[Any] = flow(**parameters, return_state=True)  # type: ignore[assignment]
    except (httpx.HTTPError, RuntimeError) as error:
        if not isinstance(error, httpx.HTTPError) and not isinstance(error.__cause__, httpx.HTTPError):
            raise
        _forget_words()
        raise RunError(
            f"the Prefect server at {PREFECT_API_URL.value()} does not answer: {error};"
            " start it and give the same command again: what is done stays done"
        ) from None
    outcome = state.result(raise_on_failure=False)
    if isinstance(outcome, RunUnfinished):  # the run's closing lines have said why
        return outcome.exit_code
    if isinstance(outcome, HeadraceError):
        raise outcome
    if isinstance(outcome, BaseException):
        sys.stderr.write(showable_lines("".join(traceback.format_exception(outcome))))
        return EXIT_ERROR
    return int(outcome.exit_code)


def read_command(
    flow: Flow[..., Any], door: Callable[..., Any], name: str, arguments: Sequence[str]
) -> dict[str, Any] | None:
    """The flow's parameters from ``arguments``; None where only help was asked for.

    ``door`` is the flow's own check of its inputs: it is called with those of the parameters that it names, so that
    what is wrong with the manifest is reported together with what is wrong with the options. Raises InvalidInput.
    """
    if {"--help", "-h"} & set(arguments):
        _app(_flattened(flow.fn), name).help_print([])
        return None
    parameters, problems = _parse(_app(_all_optional(_flattened(flow.fn)), name), list(arguments))
    problems += _missing(flow.fn, parameters, problems)
    problems += find_path_problems(parameters)
    problems += _ask(door, parameters, {problem.where for problem in problems})
    if problems:
        raise InvalidInput(problems)
    return parameters


def _app(command: Callable[..., Any], name: str) -> App:
    app = App(
        name=name,
        version_flags=[],
        help_flags=["--help", "-h"],
        result_action="return_value",
        default_parameter=Parameter(negative_iterable=()),  # no --empty-x beside an option that may be repeated
    )
    app.default(command)
    return app


def _all_optional(command: Callable[..., Any]) -> Callable[..., Any]:
    """``command`` without required options, so that a missing one hides no other mistake."""
    parameters = [
        parameter.replace(default=None, annotation=parameter.annotation | None)
        if parameter.default is inspect.Parameter.empty
        else parameter
        for parameter in inspect.signature(command).parameters.values()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _missing(function: Callable[..., Any], given: dict[str, Any], problems: list[Problem]) -> list[Problem]:
    known = {problem.where for problem in problems}
    required = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is inspect.Parameter.empty
    ]
    options = ["--" + name.replace("_", "-") for name in required if name not in given]
    return [Problem(option, "missing", "a value", "see --help") for option in options if option not in known]


def _flattened(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command whose options are the function's parameters, those of Execution flattened among them."""
    hints = get_type_hints(function, include_extras=True)
    parameters = [
        parameter.replace(
            kind=inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[Execution, Parameter(name="*")]
            if hints[parameter.name] is Execution
            else hints[parameter.name],
        )
        for parameter in inspect.signature(function).parameters.values()
    ]

    def command(**arguments: Any) -> dict[str, Any]:
        return arguments

    command.__doc__ = function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


@dataclass(frozen=True)
class _Mistake:
    """Problems that one reading of the command line found, and what to leave out of the next reading."""

    problems: tuple[Problem, ...]
    options: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def _parse(app: App, arguments: list[str]) -> tuple[dict[str, Any], list[Problem]]:
    """Read ``arguments``, leave out what is wrong and read again, until all that is wrong is known."""
    problems: list[Problem] = []
    while True:
        try:
            command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
            return dict(command(*bound.args, **bound.kwargs)), problems
        except CycloptsError as error:
            mistake = _mistake(error)
        problems += mistake.problems
        shorter = list(_without(arguments, mistake))
        if len(shorter) == len(arguments):  # a missing option: there is nothing to leave out
            return {}, problems
        arguments = shorter


def _mistake(error: CycloptsError) -> _Mistake:
    if isinstance(error, cyclopts.UnknownOptionError):
        option = error.token.value or error.token.keyword or ""
        known = [name for argument in error.argument_collection for name in argument.names]
        meant = difflib.get_close_matches(option.partition("=")[0], known, n=1)
        advice = f"did you mean {meant[0]}?" if meant else "see --help for the options"
        return _Mistake((Problem(option, "no such option", "the flow's options", advice),), (option.partition("=")[0],))
    if isinstance(error, cyclopts.UnusedCliTokensError):
        words = tuple(error.unused_tokens or ())
        advice = "put the option's name before it"
        return _Mistake(
            tuple(Problem(word, "a word without an option", "options", advice) for word in words), (), words
        )
    if isinstance(error, cyclopts.RepeatArgumentError):
        option = (error.token.keyword or "command line").partition("=")[0]
        return _Mistake((Problem(option, "given more than once", "once", "leave one of them out"),), (option,))
    if isinstance(error.__cause__, ValidationError):
        return _invalid_values(error, error.__cause__)
    name = error.argument.name if error.argument else "command line"
    if isinstance(error, cyclopts.MissingArgumentError):
        return _Mistake((Problem(name, "given without a value", _allowed(error), "see --help"),), (name,))
    token = getattr(error, "token", None)
    given = token.value if token is not None else _given(error)
    return _Mistake((Problem(name, repr(given), _allowed(error), "see --help"),), (name,))


def _invalid_values(error: CycloptsError, cause: ValidationError) -> _Mistake:
    """What Pydantic refuses: of one option, or of several of Execution's at once."""
    problems = []
    for detail in cause.errors():
        place = "--" + "-".join(str(part) for part in detail["loc"]).replace("_", "-")
        option = place if detail["loc"] else error.argument.name if error.argument else "command line"
        problems.append(Problem(option, repr(detail["input"]), _rule(detail["msg"]), "see --help"))
    return _Mistake(tuple(problems), tuple(problem.where for problem in problems))


def _rule(message: str) -> str:
    """Pydantic's ``Input should be greater than 0`` as what is allowed: ``greater than 0``."""
    first = message.partition(", unable")[0]
    return first.removeprefix("Input should be ").removeprefix("Value error, ")


def _allowed(error: CycloptsError) -> str:
    """What the option takes, in words."""
    if error.argument is None:
        return "what --help lists"
    choices = error.argument.get_choices()
    if choices:
        return ", ".join(choices)
    hint = error.argument.hint
    return {int: "a whole number", float: "a number", bool: "no value", Path: "a path"}.get(hint, "a value")


def _given(error: CycloptsError) -> str:
    tokens = error.argument.tokens if error.argument else []
    return tokens[0].value if tokens else ""


def _without(arguments: Sequence[str], mistake: _Mistake) -> Iterator[str]:
    """``arguments`` less the options that were wrong, with their values, and less the stray words."""
    skipping = False
    for argument in arguments:
        if argument.startswith("--"):
            skipping = argument.partition("=")[0] in mistake.options
            if not skipping:
                yield argument
        elif argument in mistake.words or skipping:
            continue
        else:
            yield argument


def _ask(door: Callable[..., Any], parameters: dict[str, Any], known_wrong: set[str]) -> list[Problem]:
    """What the flow's own check finds, where all that it looks at could be read."""
    names = inspect.signature(door).parameters
    options = {"--" + name.replace("_", "-") for name in names}
    required = {name for name, parameter in names.items() if parameter.default is inspect.Parameter.empty}
    if options & known_wrong or not required <= set(parameters):
        return []
    try:
        door(**{name: parameters[name] for name in names if name in parameters})
    except InvalidInput as error:
        return list(error.problems)
    return []


def _refuse(problems: Sequence[Problem]) -> int:
    for problem in problems:
        _say(f"error: {problem}")
    return EXIT_INVALID


def _say(line: str) -> None:
    print(showable(line), file=sys.stderr)
