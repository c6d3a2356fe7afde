"""The request for all tapes: presets, overrides and engines, read and checked together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.restoration.engines.choice import EngineChoice, Engines, choose_engines
from tasks.restoration.engines.neural.weights import DEFAULT_WEIGHTS, Device
from tasks.restoration.engines.template import CommandTemplate, Form
from tasks.restoration.options import EngineName
from tasks.restoration.planning import Recipe
from tasks.restoration.presets import Presets, load_presets, override_preset

_OVERRIDE = "--override"


@dataclass(frozen=True)
class Request:
    """Options of the command line that apply to all tapes.

    preset_file  the user's presets, which override the shipped ones
    override     ``KEY=VALUE`` pairs, which override every preset
    command, command_form, command_results  see CommandTemplate
    weights, device  see EngineChoice
    """

    preset_file: Path | None = None
    override_preset: Sequence[str] = ()
    command: str | None = None
    command_form: Form = "clip"
    command_results: str = ""
    weights: str = DEFAULT_WEIGHTS
    device: Device = "cpu"

    @property
    def engine_choice(self) -> EngineChoice:
        """The options of the engines."""
        command = None
        if self.command is not None:
            command = CommandTemplate(self.command, self.command_form, self.command_results)
        return EngineChoice(command, self.weights, self.device)


def read_presets(request: Request) -> tuple[Presets, list[Problem]]:
    """Return all presets; if the user's file is invalid, the shipped ones and the problems."""
    try:
        return load_presets(*([request.preset_file] if request.preset_file else [])), []
    except InvalidInput as error:
        return load_presets(), list(error.problems)


def read_recipe(
    request: Request, presets: Presets, engines: Collection[EngineName]
) -> tuple[Recipe, Engines, list[Problem]]:
    """Return the recipe for tapes that use ``engines``, these engines, and all problems."""
    chosen, problems = choose_engines(engines, request.engine_choice)
    overrides, more = _read_overrides(request.override_preset, presets)
    return Recipe(presets, overrides, chosen.identities), chosen, problems + more


def _read_overrides(given: Sequence[str], presets: Presets) -> tuple[dict[str, str], list[Problem]]:
    """Return the overridden keys, and their problems, which are the same for each preset."""
    problems = [
        Problem(_OVERRIDE, repr(entry), "KEY=VALUE, such as denoise_luma=1.2", "repeat the option for each key")
        for entry in given
        if "=" not in entry
    ]
    values = dict(entry.split("=", 1) for entry in given if "=" in entry)
    try:
        override_preset(next(iter(presets.presets.values())), values, _OVERRIDE)
    except InvalidInput as error:
        problems += error.problems
    return values, problems
