"""What a program of the user's is given, and what it gives back: a clip, or a folder of pictures.

Both count: a program must make one picture for each that it was given. Of a clip, frames are read by order alone, since
few programs keep times.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from tasks.engine.contract.errors import BadInput
from tasks.media.demuxing import PacketSource
from tasks.media.programs.pictures import made_pictures, read_picture, rgb_format
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.picture import FULL_RANGE, UNSPECIFIED, PictureFormat, picture_format
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.source import survey_video

RGB_MATRIX = 0


@dataclass(frozen=True)
class Made:
    """What a program made: its frames in order, and their format."""

    frames: Iterator[VideoFrame]
    picture: PictureFormat


def is_rgb(picture: PictureFormat) -> bool:
    """Whether its samples are red, green and blue."""
    return picture.pixel_format.startswith(("gbr", "rgb", "bgr"))


@contextmanager
def opened_clip(given: Path, made: Path, who: str) -> Iterator[Made]:
    """The frames of the clip ``made``, which ``who`` made of the clip ``given``.

    Raises SegmentError where there is none, it cannot be read, or it has more or fewer frames.
    """
    if not made.is_file():
        raise SegmentError(f"{who} ended well and wrote no clip: it must write the file that {{output}} stands for")
    with PacketSource(given) as source:  # ours: its packets are its frames
        count, ours = len(source.index), picture_format(source.stream)
    try:
        theirs = survey_video(made)
        _check_count(count, len(theirs.timeline), who)
        with SegmentReader(made, theirs) as reader:
            frames = (read.frame for read in reader.range(0, len(theirs.timeline)))
            yield Made(frames, _as_given(theirs.picture, ours))
    except BadInput as error:
        raise SegmentError(f"the clip that {who} made cannot be read: {error}") from error


@contextmanager
def opened_pictures(given: Path, made: Path, who: str) -> Iterator[Made]:
    """The pictures in the folder ``made``, which ``who`` made of those in ``given``; the same as for clips."""
    files = made_pictures(given, made, who)
    first = read_picture(files[0], who)
    name = rgb_format(first)
    picture = PictureFormat(first.width, first.height, name, matrix=RGB_MATRIX, color_range=FULL_RANGE)
    reformatter = VideoReformatter()
    yield Made((reformatter.reformat(read_picture(file, who), format=name) for file in files), picture)


def _check_count(given: int, made: int, who: str) -> None:
    if made < given:
        raise SegmentError(f"{who} was given {given} frames and made {made}: {given - made} missing")
    if made > given:
        raise SegmentError(f"{who} was given {given} frames and made {made}: {made - given} too many")


def _as_given(theirs: PictureFormat, ours: PictureFormat) -> PictureFormat:
    """``theirs``, with what we know where they say nothing: few programs carry more than pixels."""
    named = {
        name: getattr(ours, name)
        for name in ("primaries", "transfer", "matrix")
        if getattr(theirs, name) == UNSPECIFIED and not is_rgb(theirs)
    }
    return replace(theirs, sample_aspect=ours.sample_aspect, field_order=ours.field_order, **named)
