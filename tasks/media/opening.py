"""Opening a video file with FFmpeg's demuxers, and nothing but a file with nothing but video containers.

A playlist, a concat script or an image pattern makes FFmpeg open further files, or hosts; none of them is allowed, nor
is a track that lies in another file. What says of itself that it is huge is refused before memory is taken for it.
"""

from __future__ import annotations

import errno
import mmap
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from tasks.engine.contract.errors import BadInput, TransientError

# Names of FFmpeg's demuxers. All of them read the file that they are given and no other.
CONTAINER_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska,webm",
    "avi",
    "mpeg",
    "mpegts",
    "mpegvideo",
    "flv",
    "ogg",
    "asf",
    "nut",
    "mxf",
    "ivf",
    "dv",
    "gif",
    "h264",
    "hevc",
    "m4v",
    "yuv4mpegpipe",
    "mjpeg",
    "obu",
    "rm",
    "swf",
    "gxf",
    "wtv",
)
# A raw stream of JPEG images: FFmpeg takes it for a single image unless it is told.
_RAW_JPEG_SUFFIXES = frozenset({".mjpeg", ".mjpg"})
_JPEG_START = b"\xff\xd8\xff"
# Pixels of a picture: 8192 x 8192, twice what 8K television has. A picture of so many takes 200 MB as BGR, and a
# decoder may hold 16 of them; a GIF of 40 bytes can ask for four times as much, which FFmpeg alone would grant.
MAX_PIXELS = 2**26
# The decoders that FFmpeg opens while it probes take their limits from here too.
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(CONTAINER_FORMATS),
    "enable_drefs": "0",
    "use_absolute_path": "0",
    "max_pixels": str(MAX_PIXELS),
}
# FFmpeg refuses to allocate more than that in one piece, however much memory there is (av_max_alloc).
_LARGEST_PIECE_BYTES = 2**31 - 1
# A character of UTF-8 that a cut has shortened.
_LONGEST_CUT = 3
# What a network or removable file system says when it is not at fault itself: worth another try.
_PASSING = frozenset({errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE})
# The same, but FFmpeg says it of damaged data too.
_DOUBTFUL = frozenset({errno.EIO, errno.EAGAIN})


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """The container at ``path``, open for reading.

    Raises BadInput with one line where ``path`` is missing, empty, or no video container that is allowed,
    TransientError where the file system failed.
    """
    _check_plain(path)
    name = f"file:{path.absolute()}"
    # Titles and the like need not be UTF-8.
    with (
        reading(path),
        av.open(name, format=_known_format(path), options=_OPTIONS, metadata_errors="replace") as container,
    ):
        yield container


def _known_format(path: Path) -> str | None:
    """Return the demuxer of a file that FFmpeg would take for something else."""
    is_raw_jpeg = path.suffix.lower() in _RAW_JPEG_SUFFIXES and _head(path).startswith(_JPEG_START)
    return "mjpeg" if is_raw_jpeg else None


@contextmanager
def open_pipe(file: IO[bytes]) -> Iterator[InputContainer]:
    """What an ffmpeg of ours writes into a pipe, in the form NUT and no other. Raises FFmpegError where that breaks."""
    with av.open(file, "r", format="nut") as container:
        yield container


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what FFmpeg raises inside the block into BadInput or TransientError, with the file's name."""
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, MemoryError):
            if _memory_is_short():
                raise
            raise BadInput(f"{path.name}: is damaged: it asks for more memory than any video needs") from error
        if error.errno in _PASSING or (error.errno in _DOUBTFUL and not _can_be_read(path)):
            raise TransientError(f"{path.name}: {error.strerror}") from error
        raise BadInput(f"{path.name}: {_what_is_wrong(path, error)}") from error


def video_stream(container: InputContainer, path: Path, index: int | None = None) -> VideoStream:
    """The stream that a player would show, or the one at ``index``, set to one decoding thread.

    Every other stream is not even read. Raises BadInput where there is none.
    """
    stream = container.streams.best("video") if index is None else container.streams[index]
    if not isinstance(stream, VideoStream) or _is_cover(stream):
        raise BadInput(f"{path.name}: holds no video stream; give a file that has one")
    if stream.codec_context is None:
        raise BadInput(f"{path.name}: its video stream is of a kind that FFmpeg here cannot decode")
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    _set_up(stream.codec_context, path)
    stream.thread_type = "NONE"
    return stream


def _set_up(context: VideoCodecContext, path: Path) -> None:
    """One thread, and the limits. Raises BadInput where the pictures are too large."""
    if context.width * context.height > MAX_PIXELS:
        size = f"{context.width} x {context.height}"
        raise BadInput(f"{path.name}: its pictures are {size}; at most {MAX_PIXELS:,} pixels a picture are read")
    options = {"max_pixels": str(MAX_PIXELS)}
    if context.name == "hevc":  # else it passes over damaged slices without a word
        options["err_detect"] = "explode"
    context.options = options
    context.thread_count = 1


def demuxed(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets of ``stream`` that hold anything, from where ``container`` stands."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except IndexError:  # PyAV 18, at the end of a file in which further streams turned up while it was read
            return
        if packet is None:
            return
        if packet.size and packet.stream_index == stream.index:
            yield packet


def _is_cover(stream: VideoStream) -> bool:
    """Whether the stream is a picture that goes with music."""
    return bool(stream.disposition & Disposition.attached_pic)


def _what_is_wrong(path: Path, error: av.error.FFmpegError) -> str:
    """One clause that says what is wrong with the file and, where it can be known, what to do."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not a video file"
    if isinstance(error, PermissionError):
        return "may not be read; check its permissions"
    if path.is_file() and path.stat().st_size == 0:
        return "is empty (0 bytes); fetch it again"
    head = _head(path)
    if head and _is_text(head):
        return "is a text file, not a video"
    return f"is damaged or no video file: {error.strerror or error}"


def _check_plain(path: Path) -> None:
    """Raises BadInput for a pipe or a device: reading it might never end. What is not there, FFmpeg tells."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise BadInput(f"{path.name}: is a pipe or a device, not a video file")


def _memory_is_short() -> bool:
    """Whether the system, and not a limit of FFmpeg's, refuses memory."""
    try:
        mmap.mmap(-1, _LARGEST_PIECE_BYTES).close()
    except OSError:
        return True
    return False


def _can_be_read(path: Path) -> bool:
    """Whether the file system gives every byte of the file: FFmpeg says "input/output error" of damaged data too."""
    try:
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass
    except OSError:
        return False
    return True


def _head(path: Path) -> bytes:
    """The first bytes of the file, none where it cannot be read."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(512)


def _is_text(head: bytes) -> bool:
    """Whether the bytes are printable UTF-8, but for a character cut at the end."""
    text = head.decode("utf-8", errors="ignore")
    printable = all(character.isprintable() or character in "\r\n\t" for character in text)
    return printable and len(head) - len(text.encode()) <= _LONGEST_CUT
