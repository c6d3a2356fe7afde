"""The commands of ``headrace``: run and serve flows, maintain items of output folders, check the installation."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter, validators

from tasks.engine.contract.errors import InvalidInput, Problem, RunError
from tasks.engine.contract.text import count_noun, one_line
from tasks.launcher import flow_command
from tasks.launcher.batch_flow import BatchFlow
from tasks.launcher.loading import ExitOnInterrupt
from tasks.launcher.options import HELP_FLAGS, build_command
from tasks.launcher.terminal import build_console, print_output, report_errors, writing_output

PROGRAM = "headrace"
_ARGUMENTS = {
    "OUTPUT_DIR": "the output folder of a run",
    "SHELL": "bash or zsh",
    "FOLDER": "a folder for certificates",
    "FILE": "a cluster file",
}
Shell = Literal["bash", "zsh"]
Slots = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=256))]
_SERVE = "deployments.supervision.command"  # loaded by its name: tasks import no deployments
# The script defines a function only: zsh calls it if the file is autoloaded as _headrace, or registers it.
_ZSH_CALL = """
if [[ ${funcstack[1]} == _headrace ]]; then
  _cyclopts_headrace "$@"
else
  compdef _cyclopts_headrace headrace
fi
"""


def run_headrace(words: list[str]) -> int:
    """Run ``headrace`` with the arguments ``words``; return the exit code."""
    if words[:1] == ["run"] and words[1:2] and not words[1].startswith("-"):
        return report_errors(lambda: _run_flow(words[1], words[2:]))
    return report_errors(lambda: _run_command(words))


def _run_flow(flow: str, arguments: list[str]) -> int:
    """Run a flow with its own command line, which reports all mistakes together."""
    name = flow.replace("_", "-")
    if name not in flow_names():
        raise InvalidInput([Problem(flow, "no such flow", ", ".join(flow_names()), "see headrace flows")])
    return flow_command.run_command_line(_module(name), arguments, f"{PROGRAM} run {name}")


def _run_command(words: list[str]) -> int:
    with ExitOnInterrupt():
        app = build_app()
        app.console = build_console()
    try:
        result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        raise InvalidInput([_describe_mistake(error)]) from None
    except OSError as error:
        if error.filename is None:  # of a help text: other lines are printed by print_output
            with writing_output():
                raise
        raise RunError(str(error)) from None
    return result if isinstance(result, int) else 0


def _describe_mistake(error: CycloptsError) -> Problem:
    if isinstance(error, MissingArgumentError) and error.argument:
        name = error.argument.name.lstrip("-").replace("-", "_").upper()  # positional; an option may name it too
        return Problem(name, "missing", _ARGUMENTS.get(name, "a value"), "see --help")
    return Problem(PROGRAM, one_line(str(error)), "the commands and options of --help", "see --help")


def flow_names() -> list[str]:
    """Return the names of the flows, such as ``dataset-prep``."""
    modules = pkgutil.iter_modules(importlib.import_module("flows").__path__)
    return sorted(module.name.replace("_", "-") for module in modules if not module.ispkg)


def load_flow(name: str) -> BatchFlow:
    """Import the flow called ``name``, such as ``dataset-prep``."""
    return flow_command.load_flow(_module(name))


def _module(name: str) -> str:
    return f"flows.{name.replace('-', '_')}"


def build_app() -> App:
    """Return the command line with all flows and their options."""
    from tasks.launcher.clusters.command import app as cluster_app
    from tasks.launcher.doctor import check_installation, fetch_models
    from tasks.launcher.items import app as items_app

    app = App(
        name=PROGRAM,
        help="Run and serve batch flows, maintain the items of their output folders, and check the installation.",
        version=importlib.metadata.version("headrace"),
        help_flags=list(HELP_FLAGS),
    )
    run = App(name="run", help="Run a flow.", version_flags=[])
    for name in flow_names():
        run.command(build_command(load_flow(name).function), name=name, version_flags=[])
    app.command(run)
    app.command(list_flows, name="flows", version_flags=[])
    app.command(importlib.import_module(_SERVE).serve, name="serve", version_flags=[])
    app.command(items_app, name="items")
    app.command(cluster_app, name="cluster")
    app.command(set_slots, name="slots", version_flags=[])
    app.command(check_installation, name="doctor", version_flags=[])
    app.command(fetch_models, name="models", version_flags=[])
    app.command(print_completion, name="completion", version_flags=[])
    return app


def set_slots(output_dir: Path, slots: Slots, /) -> None:
    """Change the number of slots of the run that is active in an output folder. Running items finish.

    Args:
        output_dir: Output folder of the run
        slots: Number of items that may run at a time, 1 to 256
    """
    from tasks.engine.maintenance import open_layout
    from tasks.engine.running.slot_count import request_slots

    run_id = request_slots(open_layout(output_dir), slots)
    print_output(f"run {run_id}: {count_noun(slots, 'slot')} requested")


def list_flows() -> None:
    """List the flows, and the extra that each needs."""
    from tasks.launcher.extras import missing_distributions

    names = flow_names()
    width = max(map(len, names))
    for name in names:
        flow = load_flow(name)
        missing = f" (needs the extra {flow.extra})" if flow.extra and missing_distributions(flow.extra) else ""
        print_output(f"{name:{width}}  {flow.title}{missing}")


def print_completion(shell: Shell, /) -> None:
    """Print the script that completes commands and options.

    Save it for bash as ~/.local/share/bash-completion/completions/headrace, for zsh as _headrace in a folder of $fpath.

    Args:
        shell: The shell
    """
    script = build_app().generate_completion(prog_name=PROGRAM, shell=shell)
    with writing_output():
        print(script + _ZSH_CALL if shell == "zsh" else script)
