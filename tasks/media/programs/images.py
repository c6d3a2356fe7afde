"""The images that an external program wrote for its input images: counted, ordered and read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import av
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.frame import VideoFrame

from tasks.media.segments.errors import SegmentError

IMAGE_NAMES = "%08d.png"


def find_images(given: Path, output: Path, program: str) -> list[Path]:
    """Return the images (.png) that ``program`` wrote into ``output``, one per image in ``given``, in that order.

    Images are matched by names that start with that of the input. If there are no such names, because the program
    numbers in its own way, they are matched in order. If ``output`` has no images, its subfolders are searched.
    Raises SegmentError if images are missing, or if there are too many.
    """
    originals = sorted(given.glob("*.png"))
    files = sorted(output.glob("*.png")) or sorted(output.rglob("*.png"))
    if not files:
        raise SegmentError(f"{program} exited without an error, but wrote no image (.png) into {output.name}")
    length = len(originals[0].stem)
    stems = {file.stem for file in originals}
    if any(file.stem[:length] in stems for file in files):
        return _match_names(originals, files, program)
    if len(files) != len(originals):
        raise SegmentError(f"{program} got {len(originals)} images and wrote {len(files)}, with other names")
    return sorted(files, key=_make_sort_key)


def read_image(file: Path, program: str) -> VideoFrame:
    """Decode an image that ``program`` wrote, in its stored format. Raises SegmentError if it cannot be read."""
    try:
        return _decode(file.read_bytes())
    except (OSError, av.error.FFmpegError, StopIteration) as error:
        raise SegmentError(f"the image {file.name} written by {program} cannot be read: {error}") from error


def choose_rgb_format(picture: VideoFrame) -> str:
    """Return the RGB format for all bits of ``picture``: 8 or 16 bits per sample."""
    return "rgb48le" if max(component.bits for component in picture.format.components) > 8 else "rgb24"


def _match_names(given: Sequence[Path], output: Sequence[Path], program: str) -> list[Path]:
    """Return the output for each of ``given``, in that order, matched by the start of the name."""
    originals = {file.stem for file in given}
    stem_length = len(given[0].stem)
    files: dict[str, Path] = {}
    extra = []
    for file in output:
        stem = file.stem[:stem_length]
        if stem in originals and stem not in files:
            files[stem] = file
        else:
            extra.append(file.name)
    missing = sorted(originals - set(files))
    if missing:
        first = f"the first is {missing[0]}.png"
        raise SegmentError(f"{program} got {len(given)} images and wrote none for {len(missing)}, {first}")
    if extra:
        raise SegmentError(f"{program} wrote too many images: {len(extra)} extra, the first is {extra[0]}")
    return [files[file.stem] for file in given]


def _make_sort_key(file: Path) -> list[tuple[str, int]]:
    """Return a sort key that puts ``2.png`` before ``10.png``."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", str(file))]


def _decode(png: bytes) -> VideoFrame:
    """Decode a PNG without a demuxer. Raises FFmpegError or StopIteration if it is not one."""
    decoder = CodecContext.create("png", "r")
    return next(iter([*decoder.decode(Packet(png)), *decoder.decode(None)]))
