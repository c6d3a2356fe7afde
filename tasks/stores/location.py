"""Locations in stores: parse a URL, and explain one that cannot be used."""

from __future__ import annotations

import difflib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import urlsplit

from tasks.engine.contract.text import showable

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):(?P<slashes>/*)(?P<rest>.*)", re.DOTALL)
_MAX_SHOWN = 80
# Other names of the schemes, as other programs write them.
_OTHER_NAMES = {"s3a": "s3", "s3n": "s3", "ssh": "sftp", "scp": "sftp"}
_SLASHES = 2
_UNSUPPORTED = frozenset({"gs", "gcs", "az", "abfs", "abfss", "hdfs", "ftp"})


@dataclass(frozen=True)
class Scheme:
    """A kind of store.

    name       before ``://``
    host       name of the part after ``://``
    module     module that the store needs; empty if every installation has it
    extra      extra of Headrace that installs it
    is_writable  True if outputs can be written there
    """

    name: str
    host: str
    module: str = ""
    extra: str = ""
    is_writable: bool = True


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("s3", "BUCKET", "s3fs", "s3"),
        Scheme("sftp", "USER@HOST", "paramiko", "sftp"),
        Scheme("https", "HOST", "requests", is_writable=False),
        Scheme("http", "HOST", "requests", is_writable=False),
    )
}
_READABLE = "a path, or a URL that begins with s3://, sftp://, https:// or file://"
_WRITABLE = "a path, or a URL that begins with s3://, sftp:// or file://"


class LocationError(ValueError):
    """A URL that cannot be used: what was given (without secrets), what is allowed, what to do."""

    def __init__(self, given: str, allowed: str, advice: str) -> None:
        self.given, self.allowed, self.advice = given, allowed, advice
        super().__init__(f"{given}; allowed: {allowed}; {advice}")


@dataclass(frozen=True)
class Location:
    """A place in a store: one object, or the prefix of several ones.

    host  bucket, container, or host with user and port
    path  key without a slash at its beginning or end; empty for the whole bucket
    """

    scheme: str
    host: str
    path: str = ""

    @property
    def url(self) -> str:
        """The location as a URL. It holds no secrets."""
        return f"{self.scheme}://{self.host}/{self.path}".rstrip("/")

    @property
    def name(self) -> str:
        """The last part of the path; the host if there is none."""
        return self.path.rpartition("/")[2] or self.host

    @property
    def parent(self) -> Location:
        """The location one level up."""
        return Location(self.scheme, self.host, self.path.rpartition("/")[0])

    def child(self, path: str) -> Location:
        """Return the location of ``path`` below this one."""
        return Location(self.scheme, self.host, f"{self.path}/{path}".strip("/"))

    def __str__(self) -> str:
        return self.url


def is_location(text: str | PurePath) -> bool:
    """Return True if ``text`` begins like a URL, valid or not. ``C:/`` is a drive."""
    match = _URL.match(str(text))
    return match is not None and (bool(match["slashes"]) or _is_scheme_name(match["scheme"]))


def get_local_path(text: str | PurePath) -> str | None:
    """Return the path that a ``file://`` URL names; None for other text. ``file://localhost/x`` is ``/x``."""
    match = _URL.match(str(text))
    if match is None or match["scheme"].lower() != "file" or not match["slashes"]:
        return None
    rest = match["rest"]
    if len(match["slashes"]) <= _SLASHES and rest.partition("/")[0] == "localhost":
        rest = rest.partition("/")[2]
    return f"/{rest}"


def parse_location(text: str | PurePath, writable: bool = False) -> Location:
    """Return the location that a URL names. ``pathlib`` may have removed one of the slashes after the colon.

    writable  the location must take outputs

    Raises LocationError if it cannot be used.
    """
    allowed = _WRITABLE if writable else _READABLE
    match = _URL.match(str(text))
    if match is None:
        raise LocationError(_shorten(str(text)), allowed, "check it")
    scheme, rest = match["scheme"].lower(), match["slashes"][_SLASHES:] + match["rest"]
    kind = SCHEMES.get(scheme)
    if not match["slashes"]:
        meant = rest or f"{kind.host if kind else 'HOST'}/PATH"
        raise LocationError(_show(scheme, meant, ":"), allowed, f"write {_show(scheme, meant)}")
    if kind is None:
        raise LocationError(f"the URL {_show(scheme, rest)}", allowed, _advise_on_scheme(scheme, rest))
    location = _split(kind, rest, allowed)
    if writable and not kind.is_writable:
        advice = "https:// can only be read: name a bucket or a folder"
        raise LocationError(f"the URL {_show(scheme, rest)}", allowed, advice)
    if kind.module and importlib.util.find_spec(kind.module) is None:
        given = f"the URL {_show(scheme, rest)}, and the extra {kind.extra} is not installed"
        raise LocationError(given, allowed, f"install it: pip install 'headrace[{kind.extra}]'")
    return location


def _split(kind: Scheme, rest: str, allowed: str) -> Location:
    """Return the location ``rest`` of a known kind of store. Raises LocationError if it cannot be used."""
    given = f"the URL {_show(kind.name, rest)}"
    host, _, path = rest.partition("/")
    path = path.strip("/")
    if not host.rpartition("@")[2]:
        example = f"{kind.name}://{kind.host}/PATH"
        raise LocationError(f"{given}, which names no {kind.host.lower()}", allowed, f"write {example}")
    if showable(rest) != rest or any(part in {"", ".", ".."} for part in path.split("/") if path):
        raise LocationError(f"{given} with empty parts, dots or hidden characters", allowed, "write it without them")
    if kind.name in {"http", "https"} and ("?" in rest or "#" in rest):
        advice = "download the file and give its path: queries hold signatures, which would appear in records and logs"
        raise LocationError(f"{given} with a query", allowed, advice)
    user = host.rpartition("@")[0]
    if (user and kind.name != "sftp") or ":" in user:
        advice = "leave it out: credentials come from the environment or the store's own files (docs/stores.md)"
        raise LocationError(f"{given} with a user or a password", allowed, advice)
    return Location(kind.name, host, path)


def _advise_on_scheme(scheme: str, rest: str) -> str:
    other = _OTHER_NAMES.get(scheme)
    similar = [] if scheme in _UNSUPPORTED else difflib.get_close_matches(scheme, [*SCHEMES, "file"], n=1, cutoff=0.5)
    if other or similar:
        return f"did you mean {_show(other or similar[0], rest)}?"
    return "copy the files to one of these, or use a mounted folder"


def _is_scheme_name(scheme: str) -> bool:
    return scheme.lower() in {*SCHEMES, *_OTHER_NAMES, *_UNSUPPORTED, "file"}


def _show(scheme: str, rest: str, colon: str = "://") -> str:
    """Return a URL for a message, without password and query."""
    return _shorten(hide_secrets(f"{scheme}://{rest}").replace("://", colon, 1))


def hide_secrets(url: str) -> str:
    """Return a URL without password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0].partition("@")[2] or url.partition("?")[0]
    user, at, host = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{user.partition(':')[0]}{at}{host}{parts.path}"


def _shorten(text: str) -> str:
    text = showable(text)
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}...")
