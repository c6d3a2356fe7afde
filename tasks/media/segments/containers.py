"""Choose the container of a joined video, and find the streams that it cannot hold."""

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
from tasks.media.segments.converting import find_lossless_encoder

# File name extension -> FFmpeg's muxer.
MUXERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}

_SUPPORTED_CODECS: dict[str, frozenset[Codec]] = {
    ".mp4": frozenset({"x264", "x265", "svtav1", "ffv1"}),
    ".mov": frozenset({"x264", "x265"}),
    ".mkv": frozenset({"x264", "x265", "svtav1", "ffv1"}),
    ".webm": frozenset({"svtav1"}),
}
# MP4 can hold them, but few players support it.
_UNUSUAL_IN_MP4 = ("pcm_", "vorbis")


@dataclass(frozen=True)
class ContainerChoice:
    """A container for a joined video.

    suffix     extension of the file name
    lost       streams of the source that it cannot hold, one line each
    converted  audio streams that it cannot hold and that are converted losslessly, one line each
    """

    suffix: str
    lost: tuple[str, ...]
    converted: tuple[str, ...] = ()


def choose_container(source: Path, codec: Codec) -> ContainerChoice:
    """Return the container that loses the fewest streams; of several, the one with the fewest converted streams.

    Matroska stays Matroska and WebM stays WebM. Other sources become MP4, QuickTime or Matroska, the first that holds
    all streams. FFV1 goes to Matroska, where players expect it, unless the source is MP4, because Matroska has no edit
    lists. Raises BadInput if the source is not a video.
    """
    with open_container(source) as container:
        choices = [
            ContainerChoice(suffix, list_lost_streams(container, suffix), _list_converted_streams(container, suffix))
            for suffix in _list_candidates(container, codec)
        ]
    return min(choices, key=lambda choice: (len(choice.lost), len(choice.converted)))


def list_lost_streams(container: InputContainer, suffix: str) -> tuple[str, ...]:
    """Return the streams, other than the video, that a file with this extension cannot hold, one line each."""
    main = container.streams.best("video")
    others = [stream for stream in container.streams if stream is not main and not is_redundant(stream)]
    return tuple(
        _describe_stream(stream)
        for stream in others
        if not can_hold(stream, suffix) and not find_lossless_encoder(stream, suffix)
    )


def _list_converted_streams(container: InputContainer, suffix: str) -> tuple[str, ...]:
    """Return the audio streams that are converted for a file with this extension, one line each."""
    return tuple(
        _describe_stream(stream)
        for stream in container.streams.audio
        if not can_hold(stream, suffix) and find_lossless_encoder(stream, suffix)
    )


def can_hold(stream: Stream, suffix: str) -> bool:
    """Return True if packets of ``stream`` can be copied into a file with this extension."""
    if isinstance(stream, AttachmentStream) or is_cover(stream):
        return suffix == ".mkv" or (is_cover(stream) and suffix == ".mp4")
    if isinstance(stream, DataStream) or stream.codec_context is None:
        return False
    if suffix == ".mp4" and get_codec_name(stream).startswith(_UNUSUAL_IN_MP4):
        return False
    return _is_supported(stream, MUXERS[suffix])


def _is_supported(stream: Stream, muxer: str) -> bool:
    """Return True if the muxer writes a header with such a stream; its own list of codecs is not reliable."""
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
    """Return True if the stream is a cover image."""
    return bool(stream.disposition & Disposition.attached_pic)


def is_redundant(stream: Stream) -> bool:
    """Return True for QuickTime's time codes and chapter titles, which tags and chapters also hold."""
    if not isinstance(stream, DataStream):
        return False
    is_chapters = stream.name == "bin_data" and "SubtitleHandler" in stream.metadata.get("handler_name", "")
    return "timecode" in stream.metadata or (is_chapters and bool(stream.container.chapters()))


def _list_candidates(container: InputContainer, codec: Codec) -> list[str]:
    """Return the extensions to try, best first."""
    source = container.format.name
    if source.startswith("matroska"):
        suffixes = [".webm", ".mkv"] if Path(container.name).suffix.lower() == ".webm" else [".mkv"]
    elif container.metadata.get("major_brand", "").strip() == "qt":
        suffixes = [".mov", ".mp4", ".mkv"]
    elif codec == "ffv1" and not source.startswith("mov,"):
        suffixes = [".mkv"]
    else:
        suffixes = [".mp4", ".mov", ".mkv"]
    return [suffix for suffix in suffixes if codec in _SUPPORTED_CODECS[suffix]]


def _describe_stream(stream: Stream) -> str:
    """Describe a stream for people."""
    language = f", {stream.language}" if stream.language else ""
    return f"stream {stream.index} ({stream.type}, {get_codec_name(stream)}{language})"


def get_codec_name(stream: Stream) -> str:
    """Return FFmpeg's name of the codec, independent of the decoder."""
    context: CodecContext | None = stream.codec_context
    return context.codec.canonical_name if context is not None else stream.name or "unknown"
