"""A program of the user's as it is configured: a command with placeholders, checked before anything runs."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from tasks.engine.contract.errors import Problem

_ADVICE = "write {{ and }} for braces that are meant"


@dataclass(frozen=True)
class Template:
    """How a program is called. No shell sees it: words are told apart by white space, quotes keep them together.

    text          the program and its arguments, with placeholders; it is run in the folder that the flow is run in
    placeholders  all that may stand in braces, and what each stands for
    needed        those without which no program can do its work
    """

    text: str
    placeholders: Mapping[str, str]
    needed: Sequence[str]

    @property
    def program(self) -> str:
        """The program's name, without the folder that it is in."""
        return Path(self.words()[0]).name

    @property
    def used(self) -> frozenset[str]:
        """The placeholders that stand in it, where nothing is wrong with it."""
        return frozenset(name for word in self.words() for _, name, _, _ in Formatter().parse(word) if name)

    def words(self) -> list[str]:
        """Program and arguments, placeholders not filled in. Raises ValueError where a quote is not closed."""
        return shlex.split(self.text)

    def filled(self, values: Mapping[str, str]) -> list[str]:
        """Program and arguments with ``values`` in the place of the placeholders; a path with spaces is one word."""
        return [word.format_map(values) for word in self.words()]


def template_problems(template: Template, where: str = "command") -> list[Problem]:
    """All that is wrong with ``template``; ``where`` says which option or field it comes from."""
    try:
        words = template.words()
    except ValueError as error:
        allowed = "a program and its arguments, every quote closed"
        return [Problem(where, f"{template.text!r} ({str(error).lower()})", allowed)]
    if not words:
        return [no_command(template.needed, where)]
    return [*_program_problems(words[0], where), *_placeholder_problems(template, words, where)]


def no_command(needed: Sequence[str], where: str, given: str = "no command", advice: str = "") -> Problem:
    """What to say where a command is missing."""
    *others, last = [f"{{{name}}}" for name in needed]
    return Problem(where, given, f"a program and its arguments, with {', '.join(others)} and {last}", advice)


def _program_problems(program: str, where: str) -> Iterator[Problem]:
    if "{" not in program and shutil.which(program) is None:
        advice = "install it, or give its whole path"
        yield Problem(where, f"{program!r}, which is no program here", "a program that can be run", advice)


def _placeholder_problems(template: Template, words: Sequence[str], where: str) -> Iterator[Problem]:
    allowed = ", ".join(f"{{{name}}}" for name in template.placeholders)
    used: set[str] = set()
    for word in words:
        try:
            fields = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(word)]
        except ValueError as error:
            yield Problem(where, f"{word!r} ({error})", allowed, _ADVICE)
            continue
        for name, spec, conversion in fields:
            if name is not None and (name not in template.placeholders or spec or conversion):
                yield Problem(where, f"the placeholder {_written(name, spec, conversion)}", allowed, _ADVICE)
            used.add(name or "")
    for name in template.needed:
        if name not in used:
            yield Problem(where, f"no {{{name}}}", f"a command with {{{name}}}: {template.placeholders[name]}")


def _written(name: str, spec: str | None, conversion: str | None) -> str:
    return f"{{{name}{f'!{conversion}' if conversion else ''}{f':{spec}' if spec else ''}}}"
