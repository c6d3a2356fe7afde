"""The input and output of an external program: a clip, or a folder of images.

A program must write one frame per frame that it gets. Frames of a clip are read in order, since few programs keep the
times.
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
from tasks.media.programs.images import choose_rgb_format, find_images, read_image
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.picture import FULL_RANGE, UNSPECIFIED, PictureFormat, read_frame_format
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.source import survey_video

RGB_MATRIX = 0


@dataclass(frozen=True)
class ProgramOutput:
    """The output of a program: its frames in order, and their format."""

    frames: Iterator[VideoFrame]
    picture: PictureFormat


def is_rgb(picture: PictureFormat) -> bool:
    """Return True if the samples are red, green and blue."""
    return picture.pixel_format.startswith(("gbr", "rgb", "bgr"))


@contextmanager
def open_clip(given: Path, output: Path, program: str) -> Iterator[ProgramOutput]:
    """Open the clip ``output``, which ``program`` wrote for the clip ``given``.

    Raises SegmentError if it is missing, cannot be read, or has more or fewer frames.
    """
    if not output.is_file():
        raise SegmentError(f"{program} exited without an error, but wrote no clip: it must write the file {{output}}")
    with PacketSource(given) as source:  # each packet is a frame
        count, ours = len(source.index), read_frame_format(source.stream)
    try:
        theirs = survey_video(output)
        _check_count(count, len(theirs.timeline), program)
        with SegmentReader(output, theirs) as reader:
            frames = (read.frame for read in reader.range(0, len(theirs.timeline)))
            yield ProgramOutput(frames, _complete_format(theirs.picture, ours))
    except BadInput as error:
        raise SegmentError(f"the clip written by {program} cannot be read: {error}") from error


@contextmanager
def open_images(given: Path, output: Path, program: str) -> Iterator[ProgramOutput]:
    """Open the images in the folder ``output``, which ``program`` wrote for those in ``given``; errors as for clips."""
    files = find_images(given, output, program)
    first = read_image(files[0], program)
    name = choose_rgb_format(first)
    picture = PictureFormat(first.width, first.height, name, matrix=RGB_MATRIX, color_range=FULL_RANGE)
    reformatter = VideoReformatter()
    yield ProgramOutput((reformatter.reformat(read_image(file, program), format=name) for file in files), picture)


def _check_count(given: int, written: int, program: str) -> None:
    if written < given:
        raise SegmentError(f"{program} got {given} frames and wrote {written}: {given - written} missing")
    if written > given:
        raise SegmentError(f"{program} got {given} frames and wrote {written}: {written - given} too many")


def _complete_format(theirs: PictureFormat, ours: PictureFormat) -> PictureFormat:
    """Return the format ``theirs``, completed from ``ours``: few programs keep more than the pixels."""
    tags = {
        name: getattr(ours, name)
        for name in ("primaries", "transfer", "matrix")
        if getattr(theirs, name) == UNSPECIFIED and not is_rgb(theirs)
    }
    return replace(theirs, sample_aspect=ours.sample_aspect, field_order=ours.field_order, **tags)
