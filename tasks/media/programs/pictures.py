"""Pictures that a program of the user's made, for those that it was given: counted, put in order, and read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import av
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.frame import VideoFrame

from tasks.media.segments.errors import SegmentError

PICTURE_NAMES = "%08d.png"


def made_pictures(given: Path, made: Path, who: str) -> list[Path]:
    """The pictures (.png) that ``who`` has put into the folder ``made``, one for each in ``given`` and in their order.

    Names that begin as those of the originals say which is which. Where none does, as with programs that number in
    their own way, order says it. They are looked for in folders below where ``made`` itself has none.
    Raises SegmentError where some are missing, or too many.
    """
    originals = sorted(given.glob("*.png"))
    files = sorted(made.glob("*.png")) or sorted(made.rglob("*.png"))
    if not files:
        raise SegmentError(f"{who} ended well and wrote no picture (.png) into {made.name}")
    length = len(originals[0].stem)
    stems = {file.stem for file in originals}
    if any(file.stem[:length] in stems for file in files):
        return _by_name(originals, files, who)
    if len(files) != len(originals):
        raise SegmentError(f"{who} was given {len(originals)} pictures and made {len(files)}, with names of its own")
    return sorted(files, key=_counted)


def read_picture(file: Path, who: str) -> VideoFrame:
    """The picture that ``who`` made, as it is stored. Raises SegmentError where it cannot be read."""
    try:
        return _decoded(file.read_bytes())
    except (OSError, av.error.FFmpegError, StopIteration) as error:
        raise SegmentError(f"the picture {file.name} that {who} made cannot be read: {error}") from error


def rgb_format(picture: VideoFrame) -> str:
    """The RGB that holds all of ``picture``: 8 or 16 bits a sample."""
    return "rgb48le" if max(component.bits for component in picture.format.components) > 8 else "rgb24"


def _by_name(given: Sequence[Path], made: Sequence[Path], who: str) -> list[Path]:
    """What was made of each of ``given``, in that order: names begin alike."""
    originals = {file.stem for file in given}
    stem_length = len(given[0].stem)
    files: dict[str, Path] = {}
    extra = []
    for file in made:
        stem = file.stem[:stem_length]
        if stem in originals and stem not in files:
            files[stem] = file
        else:
            extra.append(file.name)
    missing = sorted(originals - set(files))
    if missing:
        first = f"the first of them {missing[0]}.png"
        raise SegmentError(f"{who} was given {len(given)} pictures and made none of {len(missing)}, {first}")
    if extra:
        raise SegmentError(f"{who} made {len(extra)} pictures too many, the first of them {extra[0]}")
    return [files[file.stem] for file in given]


def _counted(file: Path) -> list[tuple[str, int]]:
    """What sorts ``2.png`` before ``10.png``."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", str(file))]


def _decoded(png: bytes) -> VideoFrame:
    """The picture in a PNG; nothing but the decoder sees it. Raises FFmpegError or StopIteration where it is none."""
    decoder = CodecContext.create("png", "r")
    return next(iter([*decoder.decode(Packet(png)), *decoder.decode(None)]))
