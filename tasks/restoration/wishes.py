"""What the user wishes for all tapes: presets, changes to them, engines; read, and checked together."""

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
from tasks.restoration.presets import Presets, load_presets, override

_OVERRIDE = "--override"


@dataclass(frozen=True)
class Wishes:
    """Words of the command line, as they were given.

    preset_file  presets of the user's own, over the shipped ones
    override     ``KEY=VALUE``, over those of every preset
    command, command_form, command_results  how a program is called: see CommandTemplate
    weights, device  which network, and where it runs: see EngineChoice
    """

    preset_file: Path | None = None
    override: Sequence[str] = ()
    command: str | None = None
    command_form: Form = "clip"
    command_results: str = ""
    weights: str = DEFAULT_WEIGHTS
    device: Device = "cpu"

    @property
    def engine_choice(self) -> EngineChoice:
        """What the engines are told."""
        command = None
        if self.command is not None:
            command = CommandTemplate(self.command, self.command_form, self.command_results)
        return EngineChoice(command, self.weights, self.device)


def read_presets(wishes: Wishes) -> tuple[Presets, list[Problem]]:
    """All presets; the shipped ones, and problems, where the user's file is not in order."""
    try:
        return load_presets(*([wishes.preset_file] if wishes.preset_file else [])), []
    except InvalidInput as error:
        return load_presets(), list(error.problems)


def read_recipe(
    wishes: Wishes, presets: Presets, engines: Collection[EngineName]
) -> tuple[Recipe, Engines, list[Problem]]:
    """What is the same for all tapes, whose ``engines`` these are, and everything that is wrong with it."""
    chosen, problems = choose_engines(engines, wishes.engine_choice)
    overrides, wrong = _overrides(wishes.override, presets)
    return Recipe(presets, overrides, chosen.identities), chosen, problems + wrong


def _overrides(given: Sequence[str], presets: Presets) -> tuple[dict[str, str], list[Problem]]:
    """The changed keys; what is wrong with them is the same for each preset."""
    problems = [
        Problem(_OVERRIDE, repr(one), "KEY=VALUE, such as denoise_luma=1.2", "give the option once a key")
        for one in given
        if "=" not in one
    ]
    values = dict(one.split("=", 1) for one in given if "=" in one)
    try:
        override(next(iter(presets.presets.values())), values, _OVERRIDE)
    except InvalidInput as error:
        problems += error.problems
    return values, problems
