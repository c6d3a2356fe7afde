"""Test that external text cannot control a terminal, forge lines, or add links and HTML to Prefect's pages."""

from __future__ import annotations

import json

import pytest

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.manifest import Row, read_ids
from tasks.engine.contract.text import (
    MAX_MESSAGE_LENGTH,
    json_text,
    markdown,
    one_line,
    short_line,
    showable,
    showable_lines,
)

TITLE = "\x1b]0;pwned\x07"
ORDINARY = (
    *("日本語", "العربية", "e\u0301", "naïve – „quoted“", ""),
    *("\U0001f469\u200d\U0001f52c", "\U0001f3f3\ufe0f\u200d\U0001f308"),  # a scientist and a flag, each of two emoji
    *("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0915\u094d\u200d\u0937"),  # Persian and Hindi
)
HIDDEN = (
    *map(chr, (0xAD, 0x61C, 0x180E, 0xFEFF, 0xFFF9, 0xE0001, 0xE0041, 0xE007F)),
    *map(chr, (*range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070))),
)


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
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert showable(text) == text
    assert one_line(text) == text
    assert json.loads(json_text([text])) == [text]


@pytest.mark.parametrize("sign", HIDDEN, ids=ascii)
def test_hidden_characters_are_escaped(sign: str) -> None:
    text = f"a{sign}b"
    escaped = ascii(text)[1:-1]
    assert showable(text) == escaped
    assert one_line(text) in (escaped, "a b")
    assert showable_lines(text) == escaped
    assert sign not in json_text([text])
    assert json.loads(json_text([text])) == [text]
    table = [Row("row 1", {"id": text}), Row("row 2", {"id": "ab"})]
    ids, problems = read_ids(table)
    assert ids == [None, "ab"]
    assert [problem.where for problem in problems] == ["row 1, id"]


def test_joiners_are_kept_only_between_letters_that_they_join() -> None:
    assert showable("\u0645\u200d") == "\u0645\\u200d"
    assert showable("\u200c\u0645") == "\\u200c\u0645"
    assert showable("\u0645\u200c\u200c\u0645") == "\u0645\\u200c\\u200c\u0645"


def test_messages_are_one_line_of_bounded_length() -> None:
    assert one_line("  first \r\n second\x1b[0m\n") == "first second\\x1b[0m"
    assert len(short_line("x" * 100_000)) == MAX_MESSAGE_LENGTH
    assert short_line("x" * 100_000).endswith(" ...")


def test_markdown_syntax_is_escaped() -> None:
    shown = markdown("[free](http://evil.example) | <img src=x> `a` www.evil.example\n# title")
    expected = r"\[free\]\(http:\/\/evil.example\) \| \<img src=x\> \`a\` www\.evil.example \# title"
    assert shown == expected


def test_json_text_has_no_control_characters() -> None:
    text = json_text([TITLE, "\u202e", "\udcff"])
    assert not any(sign in text for sign in "\x1b\x07\u202e\udcff")
    assert json.loads(text) == [TITLE, "\u202e", "\udcff"]


def test_error_messages_are_escaped() -> None:
    error = InvalidInput([Problem(f"a.csv row 1, {TITLE}", TITLE, "a number", "correct it")])
    assert "\x1b" not in str(error)
    assert "\x07" not in str(error)
    assert str(error).count("\n") == 0
