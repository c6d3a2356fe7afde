"""The configuration of an external program: its command, and the form of its input and output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Literal, get_args

from pydantic import WithJsonSchema

from tasks.engine.contract.errors import Problem
from tasks.media.programs.template import Template, build_pattern, check_template

Form = Literal["clip", "frames"]

PLACEHOLDERS: Mapping[str, str] = {
    "input": "the clip, or the folder of images, to read",
    "output": "the clip to write (.mkv), or an existing empty folder for images",
    "width": "width of the restored frames, in pixels",
    "height": "height of the restored frames, in pixels",
    "fps": "frames per second, as a decimal number",
}
NEEDED = ("input", "output")
# The patterns make Prefect's form reject other texts at once.
CommandText = Annotated[str, WithJsonSchema({"type": "string", "pattern": build_pattern(NEEDED)})]
ResultsFolder = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"^(?!/)(?!(.*/)?\.\.(/|$))"})]


@dataclass(frozen=True)
class CommandTemplate:
    """The command of a program, and the form of its input and output.

    text     the program and its arguments, with PLACEHOLDERS: see Template
    form     ``clip``: the input is a lossless clip (FFV1 in Matroska), the output a clip that FFmpeg can read.
             ``frames``: the input is a folder of 8-bit RGB images, 00000000.png and so on; the output is one PNG for
             each. Either every output name starts with that of its input, or all have other names and are in order
    results  name of the folder in {output} that the program creates for its images, as GFPGAN does
    """

    text: str
    form: Form = "clip"
    results: str = ""

    @property
    def command(self) -> Template:
        """The template of the command."""
        return Template(self.text, PLACEHOLDERS, NEEDED)


def check_command(template: CommandTemplate, where: str = "command") -> list[Problem]:
    """Return all problems of ``template``; ``where`` is the option or field that it comes from."""
    return [*_check_form(template, where), *check_template(template.command, where)]


def _check_form(template: CommandTemplate, where: str) -> Iterator[Problem]:
    if template.form not in get_args(Form):
        yield Problem(f"{where} form", repr(template.form), " or ".join(get_args(Form)))
    results = PurePosixPath(template.results)
    if template.results and (results.is_absolute() or ".." in results.parts or template.form != "frames"):
        yield Problem(
            f"{where} results", repr(template.results), "a folder within {output}, with --command-form frames only"
        )
