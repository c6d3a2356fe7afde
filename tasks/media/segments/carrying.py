"""What a file says about itself and its streams: carried from the source to the joined video."""

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

# What speaks of the file that was, of its encoder or of its container, and not of the video.
_OF_THE_FILE = frozenset(
    (
        "major_brand minor_version compatible_brands encoder vendor_id duration bps number_of_bytes number_of_frames "
        "rotate"
    ).split()
)
# Carried where the container has room for it, and missed by nobody where it has not.
_OF_NO_USE = frozenset({"handler_name"})


def about(metadata: dict[str, str]) -> dict[str, str]:
    """Those of a file's or a stream's tags that speak of the video."""
    return {
        name: value
        for name, value in metadata.items()
        if name.lower() not in _OF_THE_FILE and not name.startswith("_STATISTICS") and not name.startswith("BPS-")
    }


def carry_about_file(source: InputContainer, joined: OutputContainer, begin_seconds: Fraction) -> None:
    """Tags, the time of creation among them, and chapters; their times ``begin_seconds`` earlier."""
    joined.metadata.update(_fitting(source.metadata, joined))
    joined.set_chapters([_earlier(chapter, begin_seconds) for chapter in source.chapters()])


def carry_about_stream(source: Stream, joined: Stream) -> None:
    """Tags, the language among them, and dispositions."""
    joined.metadata.update(_fitting(source.metadata, joined.container))
    joined.disposition = source.disposition


def _fitting(metadata: dict[str, str], joined: Container) -> dict[str, str]:
    """What of ``metadata`` may be said in the joined file.

    Of a time code QuickTime makes a track, for which it wants a nominal frame rate that PyAV cannot give a copy.
    """
    is_mov = joined.format.name in {"mp4", "mov"}
    return {name: value for name, value in about(metadata).items() if not (is_mov and name.lower() == "timecode")}


def step_back(joined: Stream) -> None:
    """Let another picture than that of ``joined`` be the one that players show."""
    joined.disposition = joined.disposition & ~Disposition.default


def not_carried(source: InputContainer, joined: InputContainer, streams: Sequence[tuple[int, int]]) -> list[str]:
    """What the container did not take of tags, chapters, languages and dispositions, a line each.

    ``streams`` are pairs of the same stream's index in the source and in the joined video.
    """
    lost = _lost_tags("", source.metadata, joined.metadata)
    if len(source.chapters()) != len(joined.chapters()):
        lost.append(f"{len(source.chapters()) - len(joined.chapters())} of {len(source.chapters())} chapters")
    for before, after in streams:
        ours, theirs = source.streams[before], joined.streams[after]
        lost += _lost_tags(f"stream {before}: ", ours.metadata, theirs.metadata)
        missing = ours.disposition & ~theirs.disposition & ~Disposition.default
        lost += [f"stream {before}: disposition {missing.name}"] if missing else []
    return lost


def _lost_tags(where: str, before: dict[str, str], after: dict[str, str]) -> list[str]:
    found = {name.lower(): value for name, value in after.items()}
    unneeded = _OF_NO_USE | ({"creation_time"} if where else set())  # the file has one, too
    wanted = {name: value for name, value in about(before).items() if name.lower() not in unneeded and value != "und"}
    return [f"{where}tag {name}" for name, value in wanted.items() if found.get(name.lower()) != value]


def carry_attachment(path: Path, stream: Stream, joined: OutputContainer) -> None:
    """A font or a cover of the file at ``path``, into Matroska."""
    if isinstance(stream, AttachmentStream):
        kind = stream.mimetype or "application/octet-stream"
        joined.add_attachment(stream.name or "attachment", kind, stream.data)
        return
    name = stream.codec_context.name
    kind = {"mjpeg": "jpeg"}.get(name, name)
    joined.add_attachment(f"cover.{kind}", f"image/{kind}", _cover(path, stream.index))


def _cover(path: Path, index: int) -> bytes:
    with open_container(path) as container:
        for packet in container.demux(container.streams[index]):
            if packet.size:
                return bytes(packet)
    raise SegmentError(f"{path.name}: its cover is not there any more")


def _earlier(chapter: Chapter, seconds: Fraction) -> Chapter:
    ticks = round(seconds / (chapter["time_base"] or Fraction(1)))
    start, end = max(0, chapter["start"] - ticks), max(0, chapter["end"] - ticks)
    return {**chapter, "start": start, "end": end}
