"""Reads ``--input`` (a video, a folder of videos, or a URL) and downloads videos.

A stage downloads each URL as an item; no server is contacted before the run.
"""

from __future__ import annotations

import ipaddress
import os
import re
import uuid
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from av.container import InputContainer
from av.video.stream import VideoStream

from tasks.downloads.cache import Pace, SharedCache
from tasks.downloads.partial import Partial
from tasks.downloads.public_addresses import EVERY_NETWORK, Public
from tasks.downloads.sessions import ANY_HOST, Origin, open_session
from tasks.downloads.transfer import FileRequest, MissingFile, Transfers
from tasks.engine.contract.cache_folder import get_default_cache
from tasks.engine.contract.errors import BadInput, Problem
from tasks.engine.contract.items import make_safe_id
from tasks.engine.contract.manifest import InputFolder, cap_problems, shorten
from tasks.engine.contract.text import showable
from tasks.media.folder import derive_ids
from tasks.media.kinds import VIDEO_SUFFIXES
from tasks.media.opening import open_container, select_video_stream
from tasks.media.scan import scan_videos
from tasks.media.truncation import find_missing_bytes
from tasks.overlays.video_source import VideoSource

_INPUT = "--input"
_ALLOWED = "a video, a folder of videos, or a URL that begins with https:// or http://"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")  # one slash, so that https:/x is a malformed URL
_MAX_URL_LENGTH = 4096
_PAGE_ADVICE = "give the address of the video file itself, not of a page that shows it"
# File name suffixes by FFmpeg's name of the demuxer, for URLs without a suffix.
_SUFFIXES = {
    "mov,mp4,m4a,3gp,3g2,mj2": ".mp4",
    "matroska,webm": ".mkv",
    "mpegts": ".ts",
    "mpeg": ".mpg",
    "avi": ".avi",
    "flv": ".flv",
    "asf": ".wmv",
    "ogg": ".ogv",
    "mxf": ".mxf",
    "yuv4mpegpipe": ".y4m",
}

MAX_BYTES = 20 * 2**30


@dataclass(frozen=True)
class FetchLimits:
    """Limits of downloads.

    max_bytes         maximum size of a video, whatever the server states
    private_networks  private networks to which connections are allowed; see ``ALL_NETWORKS``
    cache             folder of locks for sharing connections between processes; None: this user's
    connections       concurrent downloads of all processes on this host that share that folder
    connect_seconds, stall_seconds
                      timeouts for a connection and for the next byte
    tries             requests per video
    """

    max_bytes: int = MAX_BYTES
    private_networks: tuple[str, ...] = ()
    cache: Path | None = None
    connections: int = 4
    connect_seconds: float = 15.0
    stall_seconds: float = 60.0
    tries: int = 5

    @property
    def origins(self) -> frozenset[Origin]:
        """Any host, by http or https."""
        return frozenset({("http", ANY_HOST), ("https", ANY_HOST)})


ALL_NETWORKS = EVERY_NETWORK  # as ``private_networks``: what ``--allow-private-hosts`` means


def read_sources(
    given: str, limits: FetchLimits | None = None, notes: list[str] | None = None
) -> tuple[list[VideoSource], list[Problem]]:
    """Return the videos of ``--input``, in natural order, and all its problems.

    ``notes`` gets a line about skipped files of a folder.
    """
    if _SCHEME.match(given):
        problem = check_url(given, limits or FetchLimits())
        return ([], [problem]) if problem else ([_make_source(given)], [])
    path = Path(given).expanduser()
    if path.is_dir():
        return _read_folder(path, [] if notes is None else notes)
    if path.is_file():
        return [VideoSource(make_safe_id(path.stem), path.name, path.absolute())], []
    kind = "is a pipe or a device" if path.exists() else "does not exist"
    return [], [Problem(_INPUT, f"{shorten(given)} {kind}", _ALLOWED, "check the path")]


def _read_folder(folder: Path, notes: list[str]) -> tuple[list[VideoSource], list[Problem]]:
    root = InputFolder(folder, _INPUT)
    if problems := root.problems():
        return [], problems
    files, problems = scan_videos(root, notes)
    sources = [
        VideoSource(key, showable(path), None if files[path].refusal else root.root / path, refusal=files[path].refusal)
        for key, path in derive_ids(list(files))
    ]
    return sources, cap_problems(problems)


def check_url(url: str, limits: FetchLimits) -> Problem | None:
    """Return the problem of a URL that is visible without contacting the server; None if there is none."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        return _make_problem(url, str(error), "check it")
    if parts.scheme.lower() not in {"http", "https"}:
        return _make_problem(url, f"the scheme {parts.scheme}://", "download the video and give its path")
    if not host or not parts.netloc or len(url) > _MAX_URL_LENGTH or showable(url) != url or " " in url:
        return _make_problem(url, "no host or invalid characters", "check it")
    if parts.username is not None or parts.password is not None:
        hidden = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return _make_problem(
            hidden, "a user or a password, which would appear in logs", "download the video in another way"
        )
    if _is_private(host, limits):
        return _make_problem(url, "an address that is not public", "add --allow-private-hosts if this is intended")
    return None


def _is_private(host: str, limits: FetchLimits) -> bool:
    """Return True if ``host`` is an address that is not allowed; names are checked when connecting."""
    literal = "127.0.0.1" if host.rstrip(".").lower() == "localhost" else host
    try:
        ipaddress.ip_address(literal)
    except ValueError:
        return False
    return not Public(limits.private_networks).allows(literal)


def _make_problem(url: str, reason: str, advice: str) -> Problem:
    return Problem(_INPUT, f"{shorten(url)} has {reason}", _ALLOWED, advice)


def _make_source(url: str) -> VideoSource:
    name = _read_name(url)
    stem = PurePosixPath(name).stem if PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES else name
    return VideoSource(make_safe_id(stem), name, url=url)


def _read_name(url: str) -> str:
    """Return the file name in ``url``; its host if the path is empty."""
    parts = urlsplit(url)
    name = PurePosixPath(unquote(parts.path, errors="replace")).name
    return showable(name).strip() or parts.hostname or "video"


def fetch_video(url: str, folder: Path, limits: FetchLimits, pace: Pace | None = None) -> Path:
    """Download the video at ``url`` into ``folder`` and verify it.

    Interrupted downloads are resumed if the server confirms that the file is unchanged. Raises BadInput for permanent
    failures: a missing, too large or invalid file, or a refused address. Raises TransientError for temporary ones,
    after ``limits.tries`` tries: a server that stalls, disconnects or is busy. Raises OSError if the disk cannot be
    written.
    """
    if problem := check_url(url, limits):
        raise BadInput(str(problem))
    source = _make_source(url)
    folder.mkdir(parents=True, exist_ok=True)
    partial = Partial(folder / f".{source.id}.{uuid.uuid4().hex}.partial")
    try:
        _transfer(url, source, partial, limits, pace or Pace())
        suffix = _check_video(source, partial)
        path = folder / f"{source.id}{suffix}"
        partial.publish(path)
    finally:
        partial.remove()
    return path


def _transfer(url: str, source: VideoSource, partial: Partial, limits: FetchLimits, pace: Pace) -> None:
    cache = SharedCache(limits.cache or get_default_cache(os.environ, "videos"), limits.connections, pace)
    wanted = FileRequest(
        shorten(source.name), limits.max_bytes, "a video may have (--max-download)", "the URL", _PAGE_ADVICE
    )
    with open_session(limits, Public(limits.private_networks)) as session:
        try:
            Transfers(cache, session, pace, limits.tries).fill(url, wanted, partial)
        except MissingFile as error:
            raise BadInput(f"{url}: the server does not have this file or refuses it; check the URL") from error


def _check_whole(container: InputContainer, stream: VideoStream, path: Path) -> None:
    """Raise BadInput if the transfer ended before the file did."""
    lack = find_missing_bytes(container, stream, path)
    if lack:
        raise BadInput(f"{path.name}: is truncated: {lack}; fetch it again")


def _check_video(source: VideoSource, partial: Partial) -> str:
    """Return the suffix for the file. Raises BadInput if it is not a video."""
    with partial.path.open("rb") as file:
        head = file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html")):
        raise BadInput(f"{source.url} returned a web page; {_PAGE_ADVICE}")
    try:
        with open_container(partial.path) as container:
            stream = select_video_stream(container, partial.path)
            if partial.total_bytes is None:  # otherwise the size was checked
                _check_whole(container, stream, partial.path)
            usual = _SUFFIXES.get(container.format.name, ".mkv")
    except BadInput as error:
        raise BadInput(f"the file from {source.url} {str(error).partition(': ')[2]}") from error
    stated = PurePosixPath(source.name).suffix.lower()
    return stated if stated in VIDEO_SUFFIXES else usual
