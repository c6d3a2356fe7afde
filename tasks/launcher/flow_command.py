"""Run a flow by its command line: parse the options, read the inputs, then run it in Prefect."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.engine.contract.errors import InvalidInput, Problem, RunError
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.paths import find_path_problems
from tasks.launcher.batch_flow import BatchFlow, Steps
from tasks.launcher.clusters.reading import read_cluster
from tasks.launcher.loading import ExitOnInterrupt
from tasks.launcher.options import HELP_FLAGS, accepts_path, build_app, option_name, parse_options
from tasks.launcher.prefect_home import check_prefect_home
from tasks.launcher.terminal import build_console, report_errors, writing_output

_OUTPUT_DIR = "output_dir"  # the one parameter that inputs never depend on


def run_command_line(module: str, arguments: Sequence[str] | None = None, program: str = "") -> int:
    """Run the flow ``x`` of the module ``flows.x``, called ``program`` in its help; return the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    program = program or f"python {module.replace('.', '/')}.py"
    set_prefect_defaults()  # Prefect reads them during its import, which the flow's module may trigger
    return report_errors(lambda: _run(load_flow(module), program, arguments))


def load_flow(module: str) -> BatchFlow:
    """Import the flow ``x`` of the module ``flows.x``.

    Raises RunError if the module has no such flow, or imports Prefect although its profiles cannot be read.
    """
    name = module.rpartition(".")[2]
    try:
        with ExitOnInterrupt():
            flow = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        flow = None
    except (OSError, ValueError):  # Prefect reads its profiles during its import
        check_prefect_home(None)
        raise
    if type(flow) is not BatchFlow:
        advice = f"the file, the flow function and the argument of main must all be named {name}"
        raise RunError(f"the module {module} has no flow {name}; {advice}")
    return flow


def _run(flow: BatchFlow, program: str, arguments: list[str]) -> int:
    if set(HELP_FLAGS) & set(arguments):
        app = build_app(flow.function, program)
        with writing_output():
            app.help_print([], console=build_console())
        return 0
    parameters, steps = read_command(flow, arguments)
    from tasks.launcher.prefect_run import run_dry, run_in_prefect

    is_dry = parameters.get("execution", Execution()).is_dry
    return run_dry(flow, parameters, steps) if is_dry else run_in_prefect(flow, parameters, steps)


def set_prefect_defaults() -> None:
    """Set how Prefect behaves in a run from the command line, unless the user has."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # the run prints its own lines
    os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")  # if a server is away: a page per event
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    # The folder is not needed: without a server, the run has its own Prefect home.
    warnings.filterwarnings("ignore", "Failed to create the Prefect home directory")


def read_command(flow: BatchFlow, arguments: Sequence[str]) -> tuple[dict[str, Any], Steps]:
    """Return the flow's parameters from ``arguments`` and its steps, for which the inputs are read once.

    Raises InvalidInput with everything that is wrong: options, paths, manifest and inputs.
    """
    parameters, problems = parse_options(flow.function, arguments)
    problems += find_path_problems(parameters)
    problems += _find_cluster_problems(parameters)
    if not problems:
        return parameters, flow.read_inputs(parameters)
    raise InvalidInput([*problems, *_input_problems(flow, parameters, {problem.where for problem in problems})])


def _find_cluster_problems(parameters: Mapping[str, Any]) -> Sequence[Problem]:
    """Return everything that is wrong with the cluster file."""
    try:
        read_cluster(parameters.get("execution", Execution()))
    except InvalidInput as error:
        return error.problems
    return ()


def _input_problems(flow: BatchFlow, parameters: dict[str, Any], wrong: set[str]) -> list[Problem]:
    """Return the problems of the inputs that do not depend on the invalid options ``wrong``.

    Invalid options have their defaults while the inputs are read. If one of them is a path, no input is read.
    """
    declared = flow.signature.parameters.values()
    if any(option_name(parameter.name) in wrong and _locates_inputs(parameter) for parameter in declared):
        return []
    try:
        flow.read_inputs({_OUTPUT_DIR: Path(), **parameters})
    except InvalidInput as error:
        return [problem for problem in error.problems if not _mentions(problem, wrong)]
    except RunError:  # it says that the inputs cannot be read now: the options come first
        return []
    return []


def _locates_inputs(parameter: inspect.Parameter) -> bool:
    """Return True if inputs cannot be read without this parameter."""
    is_required = parameter.default is inspect.Parameter.empty
    return parameter.name != _OUTPUT_DIR and (accepts_path(parameter) or is_required)


def _mentions(problem: Problem, options: Iterable[str]) -> bool:
    return any(re.search(rf"{re.escape(option)}(?![\w-])", str(problem)) for option in options)
