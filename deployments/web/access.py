"""Who sends a request, and whether a page of this service sent it.

Browsers use HTTP basic auth and send it with every request, so a request that changes something must also hold a token
that only pages of this service know. Programs send ``Authorization: Bearer TOKEN``, which no other site can add.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from deployments.web.errors import WebError
from deployments.web.users import Users

CSRF_HEADER = "X-CSRF-Token"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="Headrace uploads", charset="UTF-8"'}


class Gate:
    """Recognizes users by their tokens, and pages of this service by theirs."""

    def __init__(self, users: Users, secret: bytes) -> None:
        self._users = users
        self._secret = secret

    def identify(self, request: Request) -> str:
        """Return the user. Raises WebError 401 without valid credentials, 403 for a request of another site."""
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        user = None
        if kind.lower() == "bearer":
            user = self._users.find(given.strip())
        elif kind.lower() == "basic":
            user = self._read_basic(given)
        if user is None:
            raise WebError(401, "Sign in with your user name, and your token as the password.", _CHALLENGE)
        if kind.lower() == "basic" and request.method not in _SAFE:
            self._check_page(request, user)
        return user

    def make_page_token(self, user: str) -> str:
        """Return the token that pages of ``user`` send with every change."""
        return hmac.new(self._secret, user.encode(), hashlib.sha256).hexdigest()

    def _read_basic(self, given: str) -> str | None:
        try:
            name, _, token = base64.b64decode(given, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return name if self._users.check(name, token) else None

    def _check_page(self, request: Request, user: str) -> None:
        given = request.headers.get(CSRF_HEADER, "").encode()
        if not hmac.compare_digest(given, self.make_page_token(user).encode()):
            raise WebError(403, "This request does not come from a page of this service: reload the page.")


def read_secret(root: Path) -> bytes:
    """Return the secret of the pages' tokens, which is created once per folder."""
    path = root / ".secret"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if secret := path.read_bytes():
            return secret
        descriptor = os.open(path, os.O_WRONLY)
    secret = secrets.token_bytes(32)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
    return secret


def _identify(request: Request) -> str:
    gate: Gate = request.app.state.gate
    user = gate.identify(request)
    request.state.user = user
    return user


SIGNED_IN = Depends(_identify)
User = Annotated[str, SIGNED_IN]
