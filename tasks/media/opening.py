"""Opening video files with FFmpeg, restricted to local files and to video containers.

Playlists, concat scripts and image patterns make FFmpeg open other files or hosts. They are not allowed, and neither
are tracks stored in another file. Files that declare a huge size are rejected before memory is allocated for it.
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

# Names of FFmpeg's demuxers. Each of them reads only the given file.
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
# Raw streams of JPEG images: FFmpeg takes them for single images unless the format is given.
_RAW_JPEG_SUFFIXES = frozenset({".mjpeg", ".mjpg"})
_JPEG_START = b"\xff\xd8\xff"
# Maximum pixels of a frame: 8192 x 8192, twice those of 8K television. Such a frame takes 200 MB as BGR, and a
# decoder may hold 16 of them. A GIF of 40 bytes can declare four times as many, which FFmpeg alone would accept.
MAX_PIXELS = 2**26
# These limits also apply to the decoders that FFmpeg opens for probing.
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(CONTAINER_FORMATS),
    "enable_drefs": "0",
    "use_absolute_path": "0",
    "max_pixels": str(MAX_PIXELS),
}
# FFmpeg refuses larger allocations, however much memory is free (av_max_alloc).
_MAX_ALLOCATION_BYTES = 2**31 - 1
# Maximum bytes of a truncated UTF-8 character.
_MAX_PARTIAL_CHARACTER_BYTES = 3
# Transient errors of network and removable file systems.
_TRANSIENT = frozenset({errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE})
# Also transient, but FFmpeg reports them for damaged data too.
_AMBIGUOUS = frozenset({errno.EIO, errno.EAGAIN})


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Open the container at ``path`` for reading.

    Raises BadInput with one line if ``path`` is missing, empty or not an allowed video container, and TransientError if
    the file system failed.
    """
    _check_not_special(path)
    name = f"file:{path.absolute()}"
    # Titles and the like need not be UTF-8.
    with (
        translate_errors(path),
        av.open(name, format=_get_forced_format(path), options=_OPTIONS, metadata_errors="replace") as container,
    ):
        yield container


def _get_forced_format(path: Path) -> str | None:
    """Return the demuxer of a file that FFmpeg would misdetect; None for other files."""
    is_raw_jpeg = path.suffix.lower() in _RAW_JPEG_SUFFIXES and _read_head(path).startswith(_JPEG_START)
    return "mjpeg" if is_raw_jpeg else None


@contextmanager
def open_pipe(file: IO[bytes]) -> Iterator[InputContainer]:
    """Open the NUT stream that one of our ffmpeg processes writes to a pipe. Raises FFmpegError if it is damaged."""
    with av.open(file, "r", format="nut") as container:
        yield container


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Translate FFmpeg's errors inside the block to BadInput or TransientError, with the file's name."""
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, MemoryError):
            if _is_memory_short():
                raise
            raise BadInput(f"{path.name}: is damaged: it asks for more memory than any video needs") from error
        if error.errno in _TRANSIENT or (error.errno in _AMBIGUOUS and not _can_read(path)):
            raise TransientError(f"{path.name}: {error.strerror}") from error
        raise BadInput(f"{path.name}: {_describe_error(path, error)}") from error


def select_video_stream(container: InputContainer, path: Path, index: int | None = None) -> VideoStream:
    """Return the stream that a player would show, or the one at ``index``, set to one decoding thread.

    The demuxer discards all other streams. Raises BadInput if there is no video stream.
    """
    stream = container.streams.best("video") if index is None else container.streams[index]
    if not isinstance(stream, VideoStream) or _is_cover(stream):
        raise BadInput(f"{path.name}: holds no video stream; give a file that has one")
    if stream.codec_context is None:
        raise BadInput(f"{path.name}: its video stream is of a kind that FFmpeg here cannot decode")
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    _configure(stream.codec_context, path)
    stream.thread_type = "NONE"
    return stream


def _configure(context: VideoCodecContext, path: Path) -> None:
    """Set one thread and the limits. Raises BadInput if the frames are too large."""
    if context.width * context.height > MAX_PIXELS:
        size = f"{context.width} x {context.height}"
        raise BadInput(f"{path.name}: its frames are {size}; at most {MAX_PIXELS:,} pixels per frame are read")
    options = {"max_pixels": str(MAX_PIXELS)}
    if context.name == "hevc":  # otherwise it ignores damaged slices silently
        options["err_detect"] = "explode"
    context.options = options
    context.thread_count = 1


def demux_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yield the packets of ``stream`` that hold data, from the current place in ``container``."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except IndexError:  # PyAV 18, at the end of a file in which more streams appeared during reading
            return
        if packet is None:
            return
        if packet.size and packet.stream_index == stream.index:
            yield packet


def _is_cover(stream: VideoStream) -> bool:
    """Return True if the stream is a cover image of an audio file."""
    return bool(stream.disposition & Disposition.attached_pic)


def _describe_error(path: Path, error: av.error.FFmpegError) -> str:
    """Return one clause with the cause and, if there is one, the remedy."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not a video file"
    if isinstance(error, PermissionError):
        return "may not be read; check its permissions"
    if path.is_file() and path.stat().st_size == 0:
        return "is empty (0 bytes); fetch it again"
    head = _read_head(path)
    if head and _is_text(head):
        return "is a text file, not a video"
    return f"is damaged or no video file: {error.strerror or error}"


def _check_not_special(path: Path) -> None:
    """Raise BadInput for a pipe or a device: reading it might never end. FFmpeg reports missing files."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise BadInput(f"{path.name}: is a pipe or a device, not a video file")


def _is_memory_short() -> bool:
    """Return True if the system refuses memory, not a limit of FFmpeg."""
    try:
        mmap.mmap(-1, _MAX_ALLOCATION_BYTES).close()
    except OSError:
        return True
    return False


def _can_read(path: Path) -> bool:
    """Return True if every byte of the file can be read: FFmpeg reports I/O errors for damaged data too."""
    try:
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass
    except OSError:
        return False
    return True


def _read_head(path: Path) -> bytes:
    """Return the first bytes of the file; none if it is not a regular file."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(512)


def _is_text(head: bytes) -> bool:
    """Return True if the bytes are printable UTF-8, except for a truncated character at the end."""
    text = head.decode("utf-8", errors="ignore")
    printable = all(character.isprintable() or character in "\r\n\t" for character in text)
    return printable and len(head) - len(text.encode()) <= _MAX_PARTIAL_CHARACTER_BYTES
