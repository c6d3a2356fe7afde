"""From the user's words about engines to the engines of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.media.programs.template import no_command
from tasks.restoration.engines.base import Engine
from tasks.restoration.engines.command import CommandEngine
from tasks.restoration.engines.ffmpeg import FfmpegEngine
from tasks.restoration.engines.neural.engine import NeuralEngine
from tasks.restoration.engines.neural.weights import DEFAULT_WEIGHTS, Device, find_weights, gpu_count, gpu_problems
from tasks.restoration.engines.template import NEEDED, CommandTemplate, command_problems
from tasks.restoration.options import EngineName


@dataclass(frozen=True)
class EngineChoice:
    """What the engines beside FFmpeg are told.

    command  how the program is called, None where there is none
    weights  which network: a known name, or the path of a .param file
    device   where the network runs
    """

    command: CommandTemplate | None = None
    weights: str = DEFAULT_WEIGHTS
    device: Device = "cpu"


@dataclass(frozen=True)
class Engines:
    """The engines of a run.

    identities    of what each works with beside FFmpeg, for the keys of what it makes
    memory_bytes  what each takes beside FFmpeg and the encoder
    max_slots    where one of them has a device to each slot, how many there are
    """

    by_name: Mapping[EngineName, Engine]
    identities: Mapping[EngineName, str]
    memory_bytes: Mapping[EngineName, int] = field(default_factory=dict)
    max_slots: int | None = None


def choose_engines(names: Collection[EngineName], choice: EngineChoice) -> tuple[Engines, list[Problem]]:
    """The engines that are called for by ``names``, and everything that stands against them."""
    chosen, problems = Engines({"ffmpeg": FfmpegEngine()}, {"ffmpeg": ""}), list[Problem]()
    if choice.command is not None:
        problems += command_problems(choice.command, "--command")
        chosen = _with_command(chosen, choice.command)
    elif "command" in names:
        given = "nothing, with the engine command"
        problems.append(no_command(NEEDED, "--command", given, "name the program"))
    if "neural" in names:
        problems += gpu_problems(choice.device, "--device")
        try:
            chosen = _with_network(chosen, choice)
        except InvalidInput as error:
            problems += error.problems
    return chosen, problems


def _with_command(engines: Engines, template: CommandTemplate) -> Engines:
    return replace(
        engines,
        by_name={**engines.by_name, "command": CommandEngine(template)},
        identities={**engines.identities, "command": f"{template.form} {template.results} {template.text}"},
    )


def _with_network(engines: Engines, choice: EngineChoice) -> Engines:
    """Raises InvalidInput where the weights cannot be used."""
    weights = find_weights(choice.weights, "--weights")
    engine = NeuralEngine(weights, choice.device)
    identity = f"{weights.digest} {choice.device} ncnn {version('ncnn')}"
    return Engines(
        by_name={**engines.by_name, "neural": engine},
        identities={**engines.identities, "neural": identity},
        memory_bytes={**engines.memory_bytes, "neural": engine.memory_bytes},
        max_slots=max(gpu_count(), 1) if choice.device == "vulkan" else None,
    )
