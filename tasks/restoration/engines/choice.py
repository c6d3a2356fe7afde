"""From the user's words about engines to the engines of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tasks.engine.errors import Problem
from tasks.restoration.engines.base import Engine
from tasks.restoration.engines.command import CommandEngine
from tasks.restoration.engines.ffmpeg import FfmpegEngine
from tasks.restoration.engines.template import CommandTemplate, command_problems
from tasks.restoration.options import EngineName


@dataclass(frozen=True)
class EngineChoice:
    """What the engines beside FFmpeg are told.

    command  how the program is called, None where there is none
    """

    command: CommandTemplate | None = None


@dataclass(frozen=True)
class Engines:
    """The engines of a run.

    identities    of what each works with beside FFmpeg, for the keys of what it makes
    memory_bytes  what each takes beside FFmpeg and the encoder
    most_slots    where one of them has a device to each slot, how many there are
    """

    by_name: Mapping[EngineName, Engine]
    identities: Mapping[EngineName, str]
    memory_bytes: Mapping[EngineName, int] = field(default_factory=dict)
    most_slots: int | None = None


def choose_engines(names: Collection[EngineName], choice: EngineChoice) -> tuple[Engines, list[Problem]]:
    """The engines that are called for by ``names``, and everything that stands against them."""
    by_name: dict[EngineName, Engine] = {"ffmpeg": FfmpegEngine()}
    identities: dict[EngineName, str] = {"ffmpeg": ""}
    problems: list[Problem] = []
    template = choice.command
    if "command" in names and template is None:
        allowed = "a program and its arguments, with {input} and {output}"
        problems.append(Problem("--command", "nothing, with the engine command", allowed, "name the program"))
    if template is not None:
        problems += command_problems(template, "--command")
        by_name["command"] = CommandEngine(template)
        identities["command"] = f"{template.form} {template.results} {template.text}"
    return Engines(by_name, identities), problems
