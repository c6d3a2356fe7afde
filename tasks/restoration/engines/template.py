"""A program that restores, as it is configured: a command, and whether it takes clips or pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, get_args

from tasks.engine.contract.errors import Problem
from tasks.media.programs.template import Template, template_problems

Form = Literal["clip", "frames"]

PLACEHOLDERS: Mapping[str, str] = {
    "input": "the clip, or the folder of pictures, that the program is given",
    "output": "the clip to write (.mkv), or the folder to write pictures into, which is there and empty",
    "width": "of the restored picture, in pixels",
    "height": "of the restored picture, in pixels",
    "fps": "frames a second, as a decimal number",
}
NEEDED = ("input", "output")


@dataclass(frozen=True)
class CommandTemplate:
    """How a program is called, and what it takes and makes.

    text     the program and its arguments, with PLACEHOLDERS: see Template
    form     ``clip``: a lossless clip (FFV1 in Matroska) goes in, a clip that FFmpeg can read comes out.
             ``frames``: a folder of pictures goes in, 00000000.png and so on, 8-bit RGB; one PNG for each comes out,
             its name beginning as that of its original, or all with names of the program's own, in order
    results  for programs that make a folder in {output} for their pictures, as GFPGAN does: its name
    """

    text: str
    form: Form = "clip"
    results: str = ""

    @property
    def command(self) -> Template:
        """The command alone."""
        return Template(self.text, PLACEHOLDERS, NEEDED)


def command_problems(template: CommandTemplate, where: str = "command") -> list[Problem]:
    """All that is wrong with ``template``; ``where`` says which option or field it comes from."""
    return [*_form_problems(template, where), *template_problems(template.command, where)]


def _form_problems(template: CommandTemplate, where: str) -> Iterator[Problem]:
    if template.form not in get_args(Form):
        yield Problem(f"{where} form", repr(template.form), " or ".join(get_args(Form)))
    results = PurePosixPath(template.results)
    if template.results and (results.is_absolute() or ".." in results.parts or template.form != "frames"):
        yield Problem(f"{where} results", repr(template.results), "a folder within {output}, and that with frames only")
