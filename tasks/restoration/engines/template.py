"""A program of the user's as it is configured: a command with placeholders, checked before anything runs."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from string import Formatter
from typing import Literal, get_args

from tasks.engine.errors import Problem

Form = Literal["clip", "frames"]

PLACEHOLDERS: Mapping[str, str] = {
    "input": "the clip, or the folder of pictures, that the program is given",
    "output": "the clip to write (.mkv), or the folder to write pictures into, which is there and empty",
    "width": "of the restored picture, in pixels",
    "height": "of the restored picture, in pixels",
    "fps": "frames a second, as a decimal number",
}
_NEEDED = ("input", "output")
_ADVICE = "write {{ and }} for braces that are meant"


@dataclass(frozen=True)
class CommandTemplate:
    """How a program is called. No shell sees it: words are told apart by white space, quotes keep them together.

    text     the program and its arguments, with PLACEHOLDERS; it is run in the folder that the flow is run in
    form     ``clip``: a lossless clip (FFV1 in Matroska) goes in, a clip that FFmpeg can read comes out.
             ``frames``: a folder of pictures goes in, 00000000.png and so on, 8-bit RGB; one PNG for each comes out,
             its name beginning as that of its original
    results  for programs that make a folder in {output} for their pictures, as GFPGAN does: its name
    """

    text: str
    form: Form = "clip"
    results: str = ""

    def words(self) -> list[str]:
        """Program and arguments, placeholders not filled in. Raises ValueError where a quote is not closed."""
        return shlex.split(self.text)

    def filled(self, values: Mapping[str, str]) -> list[str]:
        """Program and arguments with ``values`` in the place of the placeholders; a path with spaces is one word."""
        return [word.format_map(values) for word in self.words()]


def command_problems(template: CommandTemplate, where: str = "command") -> list[Problem]:
    """All that is wrong with ``template``; ``where`` says which option or field it comes from."""
    problems = [*_form_problems(template, where)]
    try:
        words = template.words()
    except ValueError as error:
        allowed = "a program and its arguments, every quote closed"
        return [*problems, Problem(where, f"{template.text!r} ({str(error).lower()})", allowed)]
    if not words:
        return [*problems, Problem(where, "no command", "a program and its arguments, with {input} and {output}")]
    return [*problems, *_program_problems(words[0], where), *_placeholder_problems(words, where)]


def _form_problems(template: CommandTemplate, where: str) -> Iterator[Problem]:
    if template.form not in get_args(Form):
        yield Problem(f"{where} form", repr(template.form), " or ".join(get_args(Form)))
    results = PurePosixPath(template.results)
    if template.results and (results.is_absolute() or ".." in results.parts or template.form != "frames"):
        yield Problem(f"{where} results", repr(template.results), "a folder within {output}, and that with frames only")


def _program_problems(program: str, where: str) -> Iterator[Problem]:
    if "{" not in program and shutil.which(program) is None:
        advice = "install it, or give its whole path"
        yield Problem(where, f"{program!r}, which is no program here", "a program that can be run", advice)


def _placeholder_problems(words: list[str], where: str) -> Iterator[Problem]:
    allowed = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    used: set[str] = set()
    for word in words:
        try:
            fields = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(word)]
        except ValueError as error:
            yield Problem(where, f"{word!r} ({error})", allowed, _ADVICE)
            continue
        for name, spec, conversion in fields:
            if name is not None and (name not in PLACEHOLDERS or spec or conversion):
                yield Problem(where, f"the placeholder {_written(name, spec, conversion)}", allowed, _ADVICE)
            used.add(name or "")
    for name in _NEEDED:
        if name not in used:
            yield Problem(where, f"no {{{name}}}", f"a command with {{{name}}}: {PLACEHOLDERS[name]}")


def _written(name: str, spec: str | None, conversion: str | None) -> str:
    return f"{{{name}{f'!{conversion}' if conversion else ''}{f':{spec}' if spec else ''}}}"
