"""The command of an external program, with placeholders, checked before the run."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from tasks.engine.contract.errors import Problem

_ADVICE = "write {{ and }} for literal braces"


@dataclass(frozen=True)
class Template:
    """The command of a program. No shell is used; white space separates words, and quotes group them.

    text          the program and its arguments, with placeholders; it runs in the working folder of the flow
    placeholders  the allowed placeholders and their meanings
    needed        the required placeholders
    """

    text: str
    placeholders: Mapping[str, str]
    needed: Sequence[str]

    @property
    def program(self) -> str:
        """Name of the program, without its folder."""
        return Path(self.split_words()[0]).name

    @property
    def used(self) -> frozenset[str]:
        """The placeholders in a valid template."""
        return frozenset(name for word in self.split_words() for _, name, _, _ in Formatter().parse(word) if name)

    def split_words(self) -> list[str]:
        """Return the program and its arguments with placeholders. Raises ValueError if a quote is not closed."""
        return shlex.split(self.text)

    def fill(self, values: Mapping[str, str]) -> list[str]:
        """Return the program and its arguments with ``values`` for placeholders; a path with spaces stays one word."""
        return [word.format_map(values) for word in self.split_words()]


def build_pattern(needed: Sequence[str]) -> str:
    """Return a regular expression for commands that name the placeholders ``needed``."""
    return "^" + "".join(rf"(?=[\s\S]*\{{{name}\}})" for name in needed)


def check_template(template: Template, where: str = "command") -> list[Problem]:
    """Return all problems of ``template``; ``where`` is the option or field that it comes from."""
    try:
        words = template.split_words()
    except ValueError as error:
        allowed = "a program and its arguments, every quote closed"
        return [Problem(where, f"{template.text!r} ({str(error).lower()})", allowed)]
    if not words:
        return [describe_missing_command(template.needed, where)]
    return [*_check_program(words[0], where), *_check_placeholders(template, words, where)]


def describe_missing_command(needed: Sequence[str], where: str, given: str = "no command", advice: str = "") -> Problem:
    """Return the problem of a missing command."""
    *others, last = [f"{{{name}}}" for name in needed]
    return Problem(where, given, f"a program and its arguments, with {', '.join(others)} and {last}", advice)


def _check_program(program: str, where: str) -> Iterator[Problem]:
    if "{" not in program and shutil.which(program) is None:
        advice = "install it, or give its full path"
        yield Problem(where, f"{program!r}, which is not an installed program", "a program that can be run", advice)


def _check_placeholders(template: Template, words: Sequence[str], where: str) -> Iterator[Problem]:
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
                yield Problem(where, f"the placeholder {_format_placeholder(name, spec, conversion)}", allowed, _ADVICE)
            used.add(name or "")
    for name in template.needed:
        if name not in used:
            yield Problem(where, f"no {{{name}}}", f"a command with {{{name}}}: {template.placeholders[name]}")


def _format_placeholder(name: str, spec: str | None, conversion: str | None) -> str:
    return f"{{{name}{f'!{conversion}' if conversion else ''}{f':{spec}' if spec else ''}}}"
