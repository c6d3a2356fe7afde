"""Users of the service and their tokens."""

from __future__ import annotations

import hashlib
import hmac
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from tasks.engine.contract.errors import Problem

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_MIN_TOKEN = 16
_ALLOWED = f"NAME:TOKEN, the name of lower-case letters, digits, - and _, the token of {_MIN_TOKEN} or more characters"


@dataclass(frozen=True)
class Users:
    """The sha256 of each user's token, by name. A user's name is also the name of the user's folder."""

    digests: dict[str, bytes] = field(repr=False)

    def check(self, name: str, token: str) -> bool:
        """Return True if ``token`` is the token of the user ``name``; takes the same time for all names."""
        digest = self.digests.get(name, b"")
        return hmac.compare_digest(digest, hash_token(token)) and bool(digest)

    def find(self, token: str) -> str | None:
        """Return the name of the user with ``token``."""
        given = hash_token(token)
        names = [name for name, digest in self.digests.items() if hmac.compare_digest(digest, given)]
        return names[0] if names else None


def hash_token(token: str) -> bytes:
    """Return the sha256 of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def read_users(pairs: str, file: str) -> tuple[Users, list[Problem]]:
    """Return the users of ``pairs``, separated by commas, and of the lines of ``file``, and all problems."""
    lines = [pair.strip() for pair in pairs.split(",") if pair.strip()]
    problems = []
    if file:
        path = Path(file).expanduser()
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                problems.append(_make_problem(file, "can be read by others", "a file with mode 0600"))
            lines += [
                line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()[:1] not in ("", "#")
            ]
        except (OSError, UnicodeDecodeError) as error:
            problems.append(_make_problem(file, f"cannot be read: {getattr(error, 'strerror', error)}", "a text file"))
    digests: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        name, _, token = line.partition(":")
        if not _NAME.fullmatch(name) or len(token) < _MIN_TOKEN or hash_token(token) in digests.values():
            problems.append(_make_problem(f"entry {number}", "is invalid, or repeats a token", _ALLOWED))
        elif name in digests:
            problems.append(_make_problem(f"entry {number}", f"names {name} again", _ALLOWED))
        digests[name] = hash_token(token)
    if not lines and not problems:
        problems.append(_make_problem("", "no users", _ALLOWED))
    return Users(digests), problems


def _make_problem(place: str, given: str, allowed: str) -> Problem:
    return Problem("HEADRACE_WEB_USERS, HEADRACE_WEB_USERS_FILE", f"{place} {given}".strip(), allowed, "correct it")
