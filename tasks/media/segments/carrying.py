"""Tags, chapters, dispositions and attachments, carried from the source to the joined video."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from av.container import Container, InputContainer, OutputContainer
from av.stream import AttachmentStream, Disposition, Stream

from tasks.media.opening import open_container
from tasks.media.segments.errors import SegmentError

if TYPE_CHECKING:
    from av.container.core import Chapter  # a name of PyAV's stubs alone

# Tags about the source file, its encoder or its container, not about the video.
_FILE_TAGS = frozenset(
    (
        "major_brand minor_version compatible_brands encoder vendor_id duration bps number_of_bytes number_of_frames "
        "rotate"
    ).split()
)
# Carried if the container supports it; not reported as lost otherwise.
_OPTIONAL_TAGS = frozenset({"handler_name"})


def select_tags(metadata: dict[str, str]) -> dict[str, str]:
    """Return the tags of a file or a stream that are about the video."""
    return {
        name: value
        for name, value in metadata.items()
        if name.lower() not in _FILE_TAGS and not name.startswith("_STATISTICS") and not name.startswith("BPS-")
    }


def carry_file_metadata(source: InputContainer, joined: OutputContainer, begin_seconds: Fraction) -> None:
    """Carry tags, including the creation time, and chapters, shifted ``begin_seconds`` earlier."""
    joined.metadata.update(_select_supported(source.metadata, joined))
    joined.set_chapters([_shift_chapter(chapter, begin_seconds) for chapter in source.chapters()])


def carry_stream_metadata(source: Stream, joined: Stream) -> None:
    """Carry tags, including the language, and dispositions."""
    joined.metadata.update(_select_supported(source.metadata, joined.container))
    joined.disposition = source.disposition


def _select_supported(metadata: dict[str, str], joined: Container) -> dict[str, str]:
    """Return the tags that the joined file can hold.

    QuickTime turns a time code into a track with a nominal frame rate, which PyAV cannot set for a copied stream.
    """
    is_mov = joined.format.name in {"mp4", "mov"}
    return {name: value for name, value in select_tags(metadata).items() if not (is_mov and name.lower() == "timecode")}


def clear_default(joined: Stream) -> None:
    """Clear the default flag, so that players prefer another video stream."""
    joined.disposition = joined.disposition & ~Disposition.default


def list_lost_metadata(source: InputContainer, joined: InputContainer, streams: Sequence[tuple[int, int]]) -> list[str]:
    """Return a line per tag, chapter, language and disposition that the container did not keep.

    ``streams`` are pairs of indices of the same stream in the source and in the joined video.
    """
    lost = _list_lost_tags("", source.metadata, joined.metadata)
    if len(source.chapters()) != len(joined.chapters()):
        lost.append(f"{len(source.chapters()) - len(joined.chapters())} of {len(source.chapters())} chapters")
    for before, after in streams:
        ours, theirs = source.streams[before], joined.streams[after]
        lost += _list_lost_tags(f"stream {before}: ", ours.metadata, theirs.metadata)
        missing = ours.disposition & ~theirs.disposition & ~Disposition.default
        lost += [f"stream {before}: disposition {missing.name}"] if missing else []
    return lost


def _list_lost_tags(where: str, before: dict[str, str], after: dict[str, str]) -> list[str]:
    kept = {name.lower(): value for name, value in after.items()}
    unneeded = _OPTIONAL_TAGS | ({"creation_time"} if where else set())  # the file has one
    tags = {
        name: value for name, value in select_tags(before).items() if name.lower() not in unneeded and value != "und"
    }
    return [f"{where}tag {name}" for name, value in tags.items() if kept.get(name.lower()) != value]


def carry_attachment(path: Path, stream: Stream, joined: OutputContainer) -> None:
    """Attach a font or a cover of the file at ``path`` to a Matroska file."""
    if isinstance(stream, AttachmentStream):
        kind = stream.mimetype or "application/octet-stream"
        joined.add_attachment(stream.name or "attachment", kind, stream.data)
        return
    name = stream.codec_context.name
    kind = {"mjpeg": "jpeg"}.get(name, name)
    joined.add_attachment(f"cover.{kind}", f"image/{kind}", _read_cover(path, stream.index))


def _read_cover(path: Path, index: int) -> bytes:
    with open_container(path) as container:
        for packet in container.demux(container.streams[index]):
            if packet.size:
                return bytes(packet)
    raise SegmentError(f"{path.name}: its cover is missing")


def _shift_chapter(chapter: Chapter, seconds: Fraction) -> Chapter:
    ticks = round(seconds / (chapter["time_base"] or Fraction(1)))
    start, end = max(0, chapter["start"] - ticks), max(0, chapter["end"] - ticks)
    return {**chapter, "start": start, "end": end}
