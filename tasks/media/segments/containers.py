"""Which container a joined video gets, and what of its source that container cannot hold."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
from av.codec.context import CodecContext
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import AttachmentStream, DataStream, Disposition, Stream

from tasks.media.opening import open_container
from tasks.media.segments.codecs import Codec
from tasks.media.segments.converting import lossless_encoder

# File name extension -> FFmpeg's muxer.
MUXERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}

_HOLDS: dict[str, frozenset[Codec]] = {
    ".mp4": frozenset({"x264", "x265", "svtav1", "ffv1"}),
    ".mov": frozenset({"x264", "x265"}),
    ".mkv": frozenset({"x264", "x265", "svtav1", "ffv1"}),
    ".webm": frozenset({"svtav1"}),
}
# MP4 can hold them, and few players know.
_UNUSUAL_IN_MP4 = ("pcm_", "vorbis")


@dataclass(frozen=True)
class ContainerChoice:
    """A container for a joined video.

    suffix     extension of its file name
    lost       streams of the source that it cannot hold, a line each
    converted  streams of sound that it cannot hold as they are, and gets without loss in another codec, a line each
    """

    suffix: str
    lost: tuple[str, ...]
    converted: tuple[str, ...] = ()


def choose_container(source: Path, codec: Codec) -> ContainerChoice:
    """The container like the source's that holds all of its streams as they are; else the one that loses least, and
    of these the one in which the fewest have to be encoded again.

    Matroska stays Matroska and WebM WebM; everything else becomes MP4, QuickTime or Matroska, whichever comes first
    that holds it all. FFV1 goes to Matroska, where players expect it, unless the source is MP4, whose edit lists
    Matroska has not. Raises BadInput where the source is no video.
    """
    with open_container(source) as container:
        choices = [
            ContainerChoice(suffix, lost_streams(container, suffix), _converted_streams(container, suffix))
            for suffix in _candidates(container, codec)
        ]
    return min(choices, key=lambda choice: (len(choice.lost), len(choice.converted)))


def lost_streams(container: InputContainer, suffix: str) -> tuple[str, ...]:
    """The streams beside the video that a file with this extension cannot hold, a line each."""
    main = container.streams.best("video")
    others = [stream for stream in container.streams if stream is not main and not is_carried_otherwise(stream)]
    return tuple(
        _named(stream) for stream in others if not fits(stream, suffix) and not lossless_encoder(stream, suffix)
    )


def _converted_streams(container: InputContainer, suffix: str) -> tuple[str, ...]:
    """The streams of sound that are encoded again for a file with this extension, a line each."""
    return tuple(
        _named(stream)
        for stream in container.streams.audio
        if not fits(stream, suffix) and lossless_encoder(stream, suffix)
    )


def fits(stream: Stream, suffix: str) -> bool:
    """Whether packets of ``stream`` can be copied into a file with this extension."""
    if isinstance(stream, AttachmentStream) or is_cover(stream):
        return suffix == ".mkv" or (is_cover(stream) and suffix == ".mp4")
    if isinstance(stream, DataStream) or stream.codec_context is None:
        return False
    if suffix == ".mp4" and codec_name(stream).startswith(_UNUSUAL_IN_MP4):
        return False
    return _is_taken(stream, MUXERS[suffix])


def _is_taken(stream: Stream, muxer: str) -> bool:
    """Whether that muxer writes its header with such a stream: some of what it says that it takes, it does not."""
    trial = av.open(io.BytesIO(), "w", format=muxer)
    try:
        trial.add_stream_from_template(stream, opaque=True)
        trial.start_encoding()
    except (ValueError, FFmpegError):
        return False
    finally:
        with suppress(FFmpegError):  # there are no packets
            trial.close()
    return True


def is_cover(stream: Stream) -> bool:
    """Whether the stream is a picture that goes with the file."""
    return bool(stream.disposition & Disposition.attached_pic)


def is_carried_otherwise(stream: Stream) -> bool:
    """Whether the stream holds what tags and chapters say, too: QuickTime's time codes and chapter titles."""
    if not isinstance(stream, DataStream):
        return False
    is_chapters = stream.name == "bin_data" and "SubtitleHandler" in stream.metadata.get("handler_name", "")
    return "timecode" in stream.metadata or (is_chapters and bool(stream.container.chapters()))


def _candidates(container: InputContainer, codec: Codec) -> list[str]:
    """Extensions to try, best first."""
    source = container.format.name
    if source.startswith("matroska"):
        wanted = [".webm", ".mkv"] if Path(container.name).suffix.lower() == ".webm" else [".mkv"]
    elif container.metadata.get("major_brand", "").strip() == "qt":
        wanted = [".mov", ".mp4", ".mkv"]
    elif codec == "ffv1" and not source.startswith("mov,"):
        wanted = [".mkv"]
    else:
        wanted = [".mp4", ".mov", ".mkv"]
    return [suffix for suffix in wanted if codec in _HOLDS[suffix]]


def _named(stream: Stream) -> str:
    """A stream as people know it."""
    language = f", {stream.language}" if stream.language else ""
    return f"stream {stream.index} ({stream.type}, {codec_name(stream)}{language})"


def codec_name(stream: Stream) -> str:
    """FFmpeg's name of what the stream holds, whichever decoder there is for it."""
    context: CodecContext | None = stream.codec_context
    return context.codec.canonical_name if context is not None else stream.name or "unknown"
