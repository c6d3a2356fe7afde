"""Choose the engines of a run from the user's options."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.media.programs.template import describe_missing_command
from tasks.restoration.engines.base import Engine
from tasks.restoration.engines.command import CommandEngine
from tasks.restoration.engines.ffmpeg import FfmpegEngine
from tasks.restoration.engines.neural.engine import NeuralEngine
from tasks.restoration.engines.neural.weights import DEFAULT_WEIGHTS, Device, check_device, count_gpus, find_weights
from tasks.restoration.engines.template import NEEDED, CommandTemplate, check_command
from tasks.restoration.options import EngineName


@dataclass(frozen=True)
class EngineChoice:
    """Options of the engines other than FFmpeg.

    command  the command of the external program, if there is one
    weights  the network: a known name, or the path of a .param file
    device   the device of the network
    """

    command: CommandTemplate | None = None
    weights: str = DEFAULT_WEIGHTS
    device: Device = "cpu"


@dataclass(frozen=True)
class Engines:
    """The engines of a run.

    identities    per engine: the command or network that it uses besides FFmpeg, for the keys
    memory_bytes  per engine: memory besides FFmpeg and the encoder
    max_slots     number of devices, if an engine needs one per slot
    """

    by_name: Mapping[EngineName, Engine]
    identities: Mapping[EngineName, str]
    memory_bytes: Mapping[EngineName, int] = field(default_factory=dict)
    max_slots: int | None = None


def choose_engines(names: Collection[EngineName], choice: EngineChoice) -> tuple[Engines, list[Problem]]:
    """Return the engines in ``names``, and all problems."""
    engines, problems = Engines({"ffmpeg": FfmpegEngine()}, {"ffmpeg": ""}), list[Problem]()
    if choice.command is not None:
        problems += check_command(choice.command, "--command")
        engines = _add_command(engines, choice.command)
    elif "command" in names:
        given = "none, with --engine command"
        problems.append(describe_missing_command(NEEDED, "--command", given, "name the program"))
    if "neural" in names:
        problems += check_device(choice.device, "--device")
        try:
            engines = _add_network(engines, choice)
        except InvalidInput as error:
            problems += error.problems
    return engines, problems


def _add_command(engines: Engines, template: CommandTemplate) -> Engines:
    return replace(
        engines,
        by_name={**engines.by_name, "command": CommandEngine(template)},
        identities={**engines.identities, "command": f"{template.form} {template.results} {template.text}"},
    )


def _add_network(engines: Engines, choice: EngineChoice) -> Engines:
    """Return ``engines`` with the neural engine. Raises InvalidInput if the weights cannot be used."""
    weights = find_weights(choice.weights, "--weights")
    engine = NeuralEngine(weights, choice.device)
    identity = f"{weights.digest} {choice.device} ncnn {version('ncnn')}"
    return Engines(
        by_name={**engines.by_name, "neural": engine},
        identities={**engines.identities, "neural": identity},
        memory_bytes={**engines.memory_bytes, "neural": engine.memory_bytes},
        max_slots=max(count_gpus(), 1) if choice.device == "vulkan" else None,
    )
