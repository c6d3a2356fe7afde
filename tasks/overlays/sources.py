"""What ``--input`` names: a video, a folder of videos, or a URL; and a video fetched from a URL.

A URL is fetched by a stage, as an item like others: nothing is asked of any server before the run.
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
from tasks.downloads.folder import default_cache
from tasks.downloads.partial import Partial
from tasks.downloads.patience import ANY_HOST, Origin, open_session
from tasks.downloads.public import EVERY_NETWORK, Public
from tasks.downloads.transfer import Gone, Transfers, Wanted
from tasks.engine.contract.errors import BadInput, Problem
from tasks.engine.contract.items import make_safe_id
from tasks.engine.contract.manifest import InputFolder, cap_problems, shorten
from tasks.engine.contract.text import showable
from tasks.media.folder import ids_of
from tasks.media.kinds import VIDEO_SUFFIXES
from tasks.media.opening import open_container, video_stream
from tasks.media.scan import scan_videos
from tasks.media.truncation import missing_bytes
from tasks.overlays.video_source import VideoSource

_INPUT = "--input"
_ALLOWED = "a video, a folder of videos, or a URL that begins with https:// or http://"
_SCHEME = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:/"
)  # one slash: so a path like C:\\ is none, and https:/x is told as one
_LONGEST_URL = 4096
_PAGE_ADVICE = "give the address of the video file itself, not of a page that shows it"
# What a container is called whose URL does not say: FFmpeg's name of its demuxer and a suffix.
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

MOST_BYTES = 20 * 2**30


@dataclass(frozen=True)
class FetchLimits:
    """What a download may take, and from where.

    max_bytes         the largest video, whatever the server says its size is
    private_networks  networks that may be connected to although they are not public; see ``ALL_NETWORKS``
    cache             the folder for the locks by which processes share connections; None: this user's
    connections       downloads at a time, over all processes of this host that share that folder
    connect_seconds, stall_seconds
                      longest wait for a connection, and for the next byte
    tries             requests for one video before it is given up
    """

    max_bytes: int = MOST_BYTES
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
    """The videos that ``--input`` names, in natural order, and everything that is wrong with it.

    ``notes`` gets a line about files of a folder that are not read.
    """
    if _SCHEME.match(given):
        problem = url_problem(given, limits or FetchLimits())
        return ([], [problem]) if problem else ([_remote(given)], [])
    path = Path(given).expanduser()
    if path.is_dir():
        return _folder(path, [] if notes is None else notes)
    if path.is_file():
        return [VideoSource(make_safe_id(path.stem), path.name, path.absolute())], []
    what = "is a pipe or a device" if path.exists() else "is not there"
    return [], [Problem(_INPUT, f"{shorten(given)} {what}", _ALLOWED, "check the path")]


def _folder(folder: Path, notes: list[str]) -> tuple[list[VideoSource], list[Problem]]:
    root = InputFolder(folder, _INPUT)
    if problems := root.problems():
        return [], problems
    files, problems = scan_videos(root, notes)
    sources = [
        VideoSource(key, showable(path), None if files[path].refusal else root.root / path, refusal=files[path].refusal)
        for key, path in ids_of(list(files))
    ]
    return sources, cap_problems(problems)


def url_problem(url: str, limits: FetchLimits) -> Problem | None:
    """What is wrong with a URL, as far as that can be said without asking anybody; None where nothing is."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        return _wrong_url(url, str(error), "check it")
    if parts.scheme.lower() not in {"http", "https"}:
        return _wrong_url(url, f"the scheme {parts.scheme}://", "download the video and give its path")
    if not host or not parts.netloc or len(url) > _LONGEST_URL or showable(url) != url or " " in url:
        return _wrong_url(url, "no host, or signs that no URL has", "check it")
    if parts.username is not None or parts.password is not None:
        hidden = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return _wrong_url(hidden, "a user or a password, which logs would show", "fetch the video by other means")
    if _is_private(host, limits):
        return _wrong_url(url, "an address that is not public", "add --allow-private-hosts if it is meant")
    return None


def _is_private(host: str, limits: FetchLimits) -> bool:
    """Whether ``host`` is an address, and one that is not allowed; names are judged when they are connected to."""
    literal = "127.0.0.1" if host.rstrip(".").lower() == "localhost" else host
    try:
        ipaddress.ip_address(literal)
    except ValueError:
        return False
    return not Public(limits.private_networks).allows(literal)


def _wrong_url(url: str, reason: str, advice: str) -> Problem:
    return Problem(_INPUT, f"{shorten(url)} has {reason}", _ALLOWED, advice)


def _remote(url: str) -> VideoSource:
    name = _name_in(url)
    stem = PurePosixPath(name).stem if PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES else name
    return VideoSource(make_safe_id(stem), name, url=url)


def _name_in(url: str) -> str:
    """The file's name in ``url``, its host where the path names none."""
    parts = urlsplit(url)
    name = PurePosixPath(unquote(parts.path, errors="replace")).name
    return showable(name).strip() or parts.hostname or "video"


def fetch_video(url: str, folder: Path, limits: FetchLimits, pace: Pace | None = None) -> Path:
    """The video at ``url``, as a file in ``folder``, whole and looked into.

    What has come is gone on with where the connection breaks and the server can tell that the file is still the same.
    Raises BadInput for what can never work: no such file, too large, no video, an address that is refused.
    TransientError for what may pass: a server that stalls, breaks off or is busy, after ``limits.tries`` tries.
    OSError where the disk takes nothing.
    """
    if problem := url_problem(url, limits):
        raise BadInput(str(problem))
    source = _remote(url)
    folder.mkdir(parents=True, exist_ok=True)
    partial = Partial(folder / f".{source.id}.{uuid.uuid4().hex}.partial")
    try:
        _transfer(url, source, partial, limits, pace or Pace())
        suffix = _checked(source, partial)
        path = folder / f"{source.id}{suffix}"
        partial.publish(path)
    finally:
        partial.remove()
    return path


def _transfer(url: str, source: VideoSource, partial: Partial, limits: FetchLimits, pace: Pace) -> None:
    cache = SharedCache(limits.cache or default_cache(os.environ, "videos"), limits.connections, pace)
    wanted = Wanted(
        shorten(source.name), limits.max_bytes, "a video may have (--max-download)", "the URL", _PAGE_ADVICE
    )
    with open_session(limits, Public(limits.private_networks)) as session:
        try:
            Transfers(cache, session, pace, limits.tries).fill(url, wanted, partial)
        except Gone as error:
            raise BadInput(f"{url}: the server has no such file, or does not give it; check the URL") from error


def _check_whole(container: InputContainer, stream: VideoStream, path: Path) -> None:
    """Raise BadInput if the transfer ended before the file did."""
    lack = missing_bytes(container, stream, path)
    if lack:
        raise BadInput(f"{path.name}: is truncated: {lack}; fetch it again")


def _checked(source: VideoSource, partial: Partial) -> str:
    """The suffix that the file should have. Raises BadInput where it is no video."""
    with partial.path.open("rb") as file:
        head = file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html")):
        raise BadInput(f"a web page came from {source.url}; {_PAGE_ADVICE}")
    try:
        with open_container(partial.path) as container:
            stream = video_stream(container, partial.path)
            if partial.total_bytes is None:  # else the server said how much there is, and so much came
                _check_whole(container, stream, partial.path)
            usual = _SUFFIXES.get(container.format.name, ".mkv")
    except BadInput as error:
        raise BadInput(f"what came from {source.url} {str(error).partition(': ')[2]}") from error
    stated = PurePosixPath(source.name).suffix.lower()
    return stated if stated in VIDEO_SUFFIXES else usual
