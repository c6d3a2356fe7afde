"""Text from elsewhere (names, cells, messages of libraries and servers) on its way to terminals, logs and pages."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_MESSAGE_LENGTH = 2000
# What can forge lines, drive a terminal or reverse what is read: control characters (C0, DEL, C1), the line ends of
# Unicode, half characters, and bidirectional embeddings, overrides and isolates. Marks, joiners and all letters stay.
UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u206f\ud800-\udfff]")
_UNSHOWABLE_IN_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u206f\ud800-\udfff]")
_LINE_ENDS = re.compile("[ \t]*[\r\n\v\f\x85\u2028\u2029]+[ \t]*")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+!|~&])")
_IN_JSON = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u206f\ud800-\udfff]")


def showable(text: str) -> str:
    """Return ``text`` with what a terminal would act on as Python would write it (``\\x1b``), newlines too."""
    return UNSHOWABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def showable_lines(text: str) -> str:
    """Return a text of several lines likewise; its newlines and tabs stay."""
    return _UNSHOWABLE_IN_LINES.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str) -> str:
    """Return ``text`` as one line: line ends become spaces, other control characters are shown."""
    return showable(_LINE_ENDS.sub(" ", text.strip()))


def short_line(text: str) -> str:
    """Return ``text`` as one line of at most MAX_MESSAGE_LENGTH characters, its end left out."""
    line = one_line(text)
    return line if len(line) <= MAX_MESSAGE_LENGTH else f"{line[: MAX_MESSAGE_LENGTH - 4]} ..."


def markdown(text: str) -> str:
    """Return ``text`` as one line of Markdown that shows it: no links, no HTML, no cells of a table."""
    return _MARKDOWN.sub(r"\\\1", one_line(text)).replace("://", ":\\/\\/").replace("www.", "www\\.")


def show_values(value: Any) -> Any:
    """Return a value of JSON whose texts, names too, are :func:`showable`."""
    if isinstance(value, str):
        return showable(value)
    if isinstance(value, dict):
        return {showable(str(name)): show_values(inner) for name, inner in value.items()}
    return [show_values(inner) for inner in value] if isinstance(value, list | tuple) else value


def json_text(value: Any) -> str:
    """Return ``value`` as JSON for people and programs: readable letters, the rest as JSON's own escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return _IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
