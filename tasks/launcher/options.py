"""Derive the options of a flow from its signature, and parse the command line; report all mistakes together."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import cyclopts
from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.execution import Execution

HELP_FLAGS = ("--help", "-h")


def option_name(parameter: str) -> str:
    """Return the option of a parameter: ``--output-dir`` of ``output_dir``."""
    return "--" + parameter.replace("_", "-")


def build_app(function: Callable[..., Any], name: str, optional: bool = False) -> App:
    """Return a command line called ``name`` whose options are the parameters of ``function``.

    Options of Execution stand among them. ``optional``: no option is required, so that a missing one hides no mistake.
    """
    app = App(
        name=name,
        version_flags=[],
        help_flags=list(HELP_FLAGS),
        result_action="return_value",
        default_parameter=Parameter(negative_iterable=()),  # no --empty-x for repeatable options
    )
    app.default(build_command(function, optional))
    return app


def build_command(function: Callable[..., Any], optional: bool = False) -> Callable[..., dict[str, Any]]:
    """Return a function that returns its arguments; it has the signature of ``function``, with keywords only."""
    parameters = [_option(parameter, optional) for parameter in _signature(function)]

    def command(**arguments: Any) -> dict[str, Any]:
        return arguments

    command.__doc__ = function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _option(parameter: inspect.Parameter, optional: bool) -> inspect.Parameter:
    annotation = parameter.annotation
    if annotation is Execution:
        annotation = Annotated[Execution, Parameter(name="*")]
    if optional and parameter.default is inspect.Parameter.empty:
        parameter, annotation = parameter.replace(default=None), annotation | None
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=annotation)


def parse_options(function: Callable[..., Any], arguments: Sequence[str]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the parameters of ``function`` that ``arguments`` give, and everything that is wrong with them."""
    parameters, problems = _parse(build_app(function, "", optional=True), list(arguments))
    problems += _find_empty_paths(function, arguments)
    return parameters, problems + _missing_options(function, parameters, {problem.where for problem in problems})


def _find_empty_paths(function: Callable[..., Any], arguments: Sequence[str]) -> list[Problem]:
    """Return a problem for each empty path: pathlib would read it as the current folder."""
    paths = {option_name(parameter.name) for parameter in _signature(function) if accepts_path(parameter)}
    problems = []
    for argument, following in zip(arguments, [*arguments[1:], None], strict=True):
        name, equals, value = argument.partition("=")
        if name in paths and (value if equals else following) == "":
            problems.append(Problem(name, "an empty text", "a path on this machine", "use . for the current folder"))
    return problems


def accepts_path(parameter: inspect.Parameter) -> bool:
    """Return True if the parameter's annotation includes Path."""
    return _includes(parameter.annotation, Path)


def _includes(annotation: Any, kind: type) -> bool:
    return annotation is kind or any(_includes(argument, kind) for argument in get_args(annotation))


def _signature(function: Callable[..., Any]) -> Iterable[inspect.Parameter]:
    return inspect.signature(function, eval_str=True).parameters.values()


def _missing_options(function: Callable[..., Any], given: dict[str, Any], wrong: set[str]) -> list[Problem]:
    required = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is inspect.Parameter.empty
    ]
    options = [option_name(name) for name in required if name not in given]
    return [Problem(option, "missing", "a value", "see --help") for option in options if option not in wrong]


@dataclass(frozen=True)
class _Mistake:
    """Problems of one pass over the command line, and the options and words to leave out of the next pass."""

    problems: tuple[Problem, ...]
    options: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def _parse(app: App, arguments: list[str]) -> tuple[dict[str, Any], list[Problem]]:
    """Parse ``arguments``, drop invalid ones and parse again, until all mistakes are found."""
    problems: list[Problem] = []
    while True:
        try:
            command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
            return dict(command(*bound.args, **bound.kwargs)), problems
        except CycloptsError as error:
            mistake = _describe_mistake(error)
        problems += mistake.problems
        shorter = list(_leave_out(arguments, mistake))
        if len(shorter) == len(arguments):  # a missing option cannot be dropped
            return {}, problems
        arguments = shorter


def _describe_mistake(error: CycloptsError) -> _Mistake:
    if isinstance(error, cyclopts.UnknownOptionError):
        return _describe_unknown_option(error)
    if isinstance(error, cyclopts.UnusedCliTokensError):
        words = tuple(error.unused_tokens or ())
        advice = "put the option's name before it"
        problems = tuple(Problem(word, "a word without an option", "options", advice) for word in words)
        return _Mistake(problems, (), words)
    if isinstance(error, cyclopts.RepeatArgumentError):
        option = (error.token.keyword or "command line").partition("=")[0]
        return _Mistake((Problem(option, "given more than once", "once", "leave one of them out"),), (option,))
    if isinstance(error.__cause__, ValidationError):
        return _describe_invalid_values(error, error.__cause__)
    name = error.argument.name if error.argument else "command line"
    if isinstance(error, cyclopts.MissingArgumentError):
        return _Mistake((Problem(name, "given without a value", _allowed_values(error), "see --help"),), (name,))
    token = getattr(error, "token", None)
    given = token.value if token is not None else _given_value(error)
    return _Mistake((Problem(name, repr(given), _allowed_values(error), "see --help"),), (name,))


def _describe_unknown_option(error: cyclopts.UnknownOptionError) -> _Mistake:
    option = error.token.value or error.token.keyword or ""
    names = [name for argument in error.argument_collection for name in argument.names]
    similar = difflib.get_close_matches(option.partition("=")[0], names, n=1)
    advice = f"did you mean {similar[0]}?" if similar else "see --help for the options"
    return _Mistake((Problem(option, "no such option", "the flow's options", advice),), (option.partition("=")[0],))


def _describe_invalid_values(error: CycloptsError, cause: ValidationError) -> _Mistake:
    """Describe what Pydantic refuses: one option, or several execution options."""
    problems = []
    for detail in cause.errors():
        place = option_name("-".join(str(part) for part in detail["loc"]))
        option = place if detail["loc"] else error.argument.name if error.argument else "command line"
        problems.append(
            Problem(option, repr(detail["input"]), _allowed_by(detail["type"], detail["msg"]), "see --help")
        )
    return _Mistake(tuple(problems), tuple(problem.where for problem in problems))


_ALLOWED_TYPES = {
    "byte_size": "a size with a unit, such as 2GiB or 500MB",
    "byte_size_unit": "a size with a unit, such as 2GiB or 500MB",
    "bool_parsing": "true or false",
    "float_parsing": "a number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "string_too_short": "a text that is not empty",
}
_BOUNDS = ("greater than", "less than")


def _allowed_by(kind: str, message: str) -> str:
    """Return what Pydantic's error allows: ``a number greater than 0`` of ``Input should be greater than 0``."""
    if kind in _ALLOWED_TYPES:
        return _ALLOWED_TYPES[kind]
    first = message.partition(", unable")[0]
    for prefix in ("Input should be ", "Value error, ", "use "):
        first = first.removeprefix(prefix)
    return f"a number {first}" if first.startswith(_BOUNDS) else first


def _allowed_values(error: CycloptsError) -> str:
    """Describe the values that the option takes."""
    if error.argument is None:
        return "the options of --help"
    choices = error.argument.get_choices()
    if choices:
        return ", ".join(choices)
    for kind, allowed in _ALLOWED_KINDS.items():
        if _includes(error.argument.hint, kind):
            return allowed
    return "a value"


_ALLOWED_KINDS = {int: "a whole number", float: "a number", bool: "no value", Path: "a path"}


def _given_value(error: CycloptsError) -> str:
    tokens = error.argument.tokens if error.argument else []
    return tokens[0].value if tokens else ""


def _leave_out(arguments: Sequence[str], mistake: _Mistake) -> Iterator[str]:
    """Yield ``arguments`` without the options of ``mistake``, their values, and its words."""
    skipping = False
    for argument in arguments:
        if argument.startswith("--") or argument in mistake.options:
            skipping = argument.partition("=")[0] in mistake.options
            if not skipping:
                yield argument
        elif argument in mistake.words or skipping:
            continue
        else:
            yield argument
