"""Text from elsewhere cannot drive a terminal, forge lines, or put links and HTML into Prefect's pages."""

from __future__ import annotations

import json

import pytest

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.text import (
    MAX_MESSAGE_LENGTH,
    json_text,
    markdown,
    one_line,
    short_line,
    show_values,
    showable,
)

TITLE = "\x1b]0;pwned\x07"
ORDINARY = ("日本語", "العربية", "e\u0301", "👩‍🔬", "naïve – „quoted“", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (TITLE, "\\x1b]0;pwned\\x07"),
        ("\x1b[2J\x1b[1;31m", "\\x1b[2J\\x1b[1;31m"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("\u2066a\u2069", "\\u2066a\\u2069"),
        ("a\u2028b", "a\\u2028b"),
        ("bad\udcff.mp4", "bad\\udcff.mp4"),
        ("\x7f\x00", "\\x7f\\x00"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert showable(text) == shown


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert showable(text) == text
    assert one_line(text) == text
    assert json.loads(json_text([text])) == [text]


def test_messages_are_one_line_of_bounded_length() -> None:
    assert one_line("  first \r\n second\x1b[0m\n") == "first second\\x1b[0m"
    assert len(short_line("x" * 100_000)) == MAX_MESSAGE_LENGTH
    assert short_line("x" * 100_000).endswith(" ...")


def test_markdown_shows_what_it_would_act_on() -> None:
    shown = markdown("[free](http://evil.example) | <img src=x> `a` www.evil.example\n# title")
    expected = r"\[free\]\(http:\/\/evil.example\) \| \<img src=x\> \`a\` www\.evil.example \# title"
    assert shown == expected


def test_values_are_escaped_with_their_names() -> None:
    assert show_values({TITLE: [TITLE, 1, None]}) == {"\\x1b]0;pwned\\x07": ["\\x1b]0;pwned\\x07", 1, None]}


def test_json_holds_the_text_and_no_control_characters() -> None:
    text = json_text([TITLE, "\u202e", "\udcff"])
    assert not any(sign in text for sign in "\x1b\x07\u202e\udcff")
    assert json.loads(text) == [TITLE, "\u202e", "\udcff"]


def test_errors_are_shown_escaped() -> None:
    error = InvalidInput([Problem(f"a.csv row 1, {TITLE}", TITLE, "a number", "correct it")])
    assert "\x1b" not in str(error)
    assert "\x07" not in str(error)
    assert str(error).count("\n") == 0
