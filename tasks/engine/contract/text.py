"""Text from elsewhere (names, cells, messages of libraries and servers) on its way to terminals, logs and pages."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_MESSAGE_LENGTH = 2000
_CONTROLS = r"\x00-\x1f\x7f-\x9f"
_CONTROLS_IN_LINES = r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # all but newline and tab
# Characters without a glyph: the line ends of Unicode, half characters, bidirectional controls, invisible operators,
# zero-width characters, soft hyphens, byte order marks, annotations and tags.
_HIDDEN = (
    r"\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    r"\U000e0000-\U000e007f"
)
# Scripts that are written with joiners (Arabic, those of South Asia, Khmer, Mongolian), and emoji.
_JOINED = (
    r"\u0620-\u06ff\u0750-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff\u1820-\u18af\ua840-\uabff\ufb50-\ufdff"
    r"\ufe0f\ufe70-\ufefc\u2190-\u21ff\u2300-\u27bf\u2b00-\u2bff\U00011000-\U000116ff\U0001f000-\U0001faff"
)


def _pattern(controls: str) -> re.Pattern[str]:
    """Match ``controls``, hidden characters, and joiners that join nothing."""
    joiner = r"[\u200c\u200d]"
    return re.compile(f"[{controls}{_HIDDEN}]|(?<![{_JOINED}]){joiner}|{joiner}(?![{_JOINED}])")


# The one list of characters that are not shown, since they forge lines, drive a terminal, reverse what is read, or make
# two texts look alike. Marks and all letters stay, and joiners between letters or emoji that need them.
UNSHOWABLE = _pattern(_CONTROLS)
_UNSHOWABLE_IN_LINES = _pattern(_CONTROLS_IN_LINES)
_UNSHOWABLE_IN_JSON = _pattern(r"\x7f-\x9f")  # JSON escapes the others itself
_LINE_ENDS = re.compile("[ \t]*[\r\n\v\f\x85\u2028\u2029]+[ \t]*")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+!|~&])")


def showable(text: str) -> str:
    """Return ``text`` with control characters escaped as in Python (``\\x1b``), including newlines."""
    return UNSHOWABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def showable_lines(text: str) -> str:
    """Return a text of several lines with control characters escaped, except newlines and tabs."""
    return _UNSHOWABLE_IN_LINES.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str) -> str:
    """Return ``text`` as one line: line ends become spaces, other control and hidden characters are escaped."""
    return showable(_LINE_ENDS.sub(" ", text.strip()))


def short_line(text: str) -> str:
    """Return ``text`` as one line of at most MAX_MESSAGE_LENGTH characters, its end left out."""
    line = one_line(text)
    return line if len(line) <= MAX_MESSAGE_LENGTH else f"{line[: MAX_MESSAGE_LENGTH - 4]} ..."


def count_noun(number: int, noun: str) -> str:
    """Return a number with its noun in the right form: ``1 slot``, ``2 slots``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def markdown(text: str) -> str:
    """Return ``text`` as one line of Markdown that shows it: no links, no HTML, no cells of a table."""
    return _MARKDOWN.sub(r"\\\1", one_line(text)).replace("://", ":\\/\\/").replace("www.", "www\\.")


def json_text(value: Any) -> str:
    """Return ``value`` as JSON for people and programs: readable letters, the rest as JSON's own escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return _UNSHOWABLE_IN_JSON.sub(lambda found: json.dumps(found[0])[1:-1], text)
