"""Commands of the user's are checked at the door, against the placeholders that their users name."""

from __future__ import annotations

import pytest

from tasks.media.programs.template import Template, check_template, describe_missing_command

PLACEHOLDERS = {"input": "what is given", "output": "what to write", "width": "in pixels", "fps": "frames a second"}


def template(text: str) -> Template:
    return Template(text, PLACEHOLDERS, ("input", "output"))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("cat {input} {output} {{width}}", []),
        ("", ["command: no command; allowed: a program and its arguments, with {input} and {output}"]),
        ("cat '{input} {output}", ['command: "cat \'{input} {output}" (no closing quotation); allowed: ']),
        (
            "no-such-program {input} {output}",
            ["command: 'no-such-program', which is not an installed program; allowed: "],
        ),
        ("cat {input}", ["command: no {output}; allowed: a command with {output}: what to write"]),
        ("cat", ["command: no {input}; ", "command: no {output}; "]),
        ("cat {input} {output} {heigth}", ["command: the placeholder {heigth}; allowed: {input}, {output}, {width}"]),
        ("cat {input} {output} {}", ["command: the placeholder {}; allowed: {input}"]),
        ("cat {input} {output} {width:05}", ["command: the placeholder {width:05}; allowed: {input}"]),
        ("cat {input} {output} {fps!r}", ["command: the placeholder {fps!r}; allowed: {input}"]),
        ("cat {input} {output} {width", ["command: '{width' ("]),
        ("nope {what} {input}", ["'nope', which is no", "placeholder {what}", "no {output}"]),
    ],
)
def test_invalid_templates_are_reported(text: str, lines: list[str]) -> None:
    problems = [str(problem) for problem in check_template(template(text))]
    assert len(problems) == len(lines)
    assert all(line in problem for line, problem in zip(lines, problems, strict=True))


def test_values_with_spaces_stay_one_word() -> None:
    one = template("/opt/my\\ tools/paint -i {input} --size={width}x '{output} {{as}} is' $HOME;")
    values = {"input": "a b", "output": "c'd", "width": "8", "fps": "25"}
    assert one.fill(values) == ["/opt/my tools/paint", "-i", "a b", "--size=8x", "c'd {as} is", "$HOME;"]
    assert one.program == "paint"
    assert one.used == {"input", "width", "output"}


def test_missing_command_names_the_required_placeholders() -> None:
    problem = describe_missing_command(("input", "masks", "output"), "--command")
    assert str(problem).endswith("no command; allowed: a program and its arguments, with {input}, {masks} and {output}")
