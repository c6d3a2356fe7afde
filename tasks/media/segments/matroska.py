"""The shape of pixels in Matroska, which its muxer takes from a place that PyAV does not reach.

FFmpeg leaves room behind the file's table of contents (SeekHead). The description of the tracks grows into it; nothing
behind them moves. Elements and their numbers: RFC 9559; how they are written: RFC 8794.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tasks.media.segments.errors import SegmentError

_SEGMENT, _SEEK_HEAD, _SEEK, _TRACKS = 0x18538067, 0x114D9B74, 0x4DBB, 0x1654AE6B
_SEEK_POSITION, _VOID, _CRC = 0x53AC, 0xEC, 0xBF
_TRACK, _VIDEO = 0xAE, 0xE0
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
_IN_PIXELS, _IN_RATIO = 0, 3
# Tracks hold the headers of their codecs: some kilobytes, with the rarest ones some hundred.
_HEAD_BYTES = 1 << 24


@dataclass(frozen=True)
class _Element:
    """An element within some bytes: from ``begin`` to ``end``, what it holds from ``data`` on."""

    id: int
    begin: int
    data: int
    end: int


def set_sample_aspect(path: Path, track: int, size: tuple[int, int], aspect: Fraction) -> None:
    """Let the video track of that rank in the Matroska or WebM file at ``path`` say how its pixels are to be shown.

    ``size`` is the width and height of its pictures, ``aspect`` the width of a pixel by its height. In WebM, which has
    no ratios, the width is rounded to whole pixels. Raises SegmentError where FFmpeg has not written the file.
    """
    shown = _display(size, aspect, path.suffix == ".webm")
    with path.open("r+b") as file:
        head = file.read(_HEAD_BYTES)
        try:
            place, written = _rewritten(head, track, shown)
        except (IndexError, StopIteration, ValueError) as error:
            raise SegmentError(f"{path.name}: the head of the file is not as FFmpeg writes it") from error
        file.seek(place)
        file.write(written)


def _display(size: tuple[int, int], aspect: Fraction, is_webm: bool) -> bytes:
    """The elements for how large pictures are shown."""
    width = size[0] * aspect
    if width.denominator == 1 or is_webm:
        numbers, unit = (round(width), size[1]), _IN_PIXELS
    else:
        ratio = width / size[1]
        numbers, unit = (ratio.numerator, ratio.denominator), _IN_RATIO
    elements = [_number(_DISPLAY_WIDTH, numbers[0]), _number(_DISPLAY_HEIGHT, numbers[1])]
    return b"".join(elements) + (_number(_DISPLAY_UNIT, unit) if unit else b"")


def _rewritten(head: bytes, track: int, shown: bytes) -> tuple[int, bytes]:
    """Where in the file what is to be written, from the SeekHead to the end of the tracks: as many bytes as before."""
    segment = next(element for element in _elements(head, 0, len(head)) if element.id == _SEGMENT)
    within = list(_until_tracks(head, segment))
    seek, void, tracks = within[0], within[1], within[-1]
    if (seek.id, void.id) != (_SEEK_HEAD, _VOID) or tracks.end > len(head):
        raise ValueError
    told = _told(head, tracks, track, shown)
    more = len(told) - (tracks.end - tracks.begin)
    room = void.end - void.begin - more
    moved = range(void.end - segment.data, tracks.end - segment.data)
    seeks = _with_positions(head, seek, moved, more)
    return seek.begin, seeks + _empty(room) + head[void.end : tracks.begin] + told


def _until_tracks(head: bytes, segment: _Element) -> Iterator[_Element]:
    for element in _elements(head, segment.data, len(head)):
        yield element
        if element.id == _TRACKS:
            return
    raise ValueError


def _told(head: bytes, tracks: _Element, track: int, shown: bytes) -> bytes:
    """The tracks, of which one has ``shown`` in its description of the picture."""
    children = list(_elements(head, tracks.data, tracks.end))
    entry = [child for child in children if child.id == _TRACK][track]
    video = next(child for child in _elements(head, entry.data, entry.end) if child.id == _VIDEO)
    ours = (_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT)
    kept = [child for child in _elements(head, video.data, video.end) if child.id not in ours]
    picture = _element(_VIDEO, b"".join(head[child.begin : child.end] for child in kept) + shown)
    inside = _element(_TRACK, head[entry.data : video.begin] + picture + head[video.end : entry.end])
    whole = [inside if child is entry else head[child.begin : child.end] for child in children if child.id != _CRC]
    return _checked(_TRACKS, b"".join(whole))


def _with_positions(head: bytes, seek: _Element, moved: range, by: int) -> bytes:
    """The SeekHead, in which what lies in ``moved`` lies so many bytes earlier; as long as before."""
    data = bytearray(head[seek.begin : seek.end])
    for entry in _elements(head, seek.data, seek.end):
        for child in _elements(head, entry.data, entry.end) if entry.id == _SEEK else ():
            position = int.from_bytes(head[child.data : child.end], "big")
            if child.id == _SEEK_POSITION and position in moved:
                new = (position - by).to_bytes(child.end - child.data, "big")
                data[child.data - seek.begin : child.end - seek.begin] = new
    first = next(_elements(head, seek.data, seek.end))
    if first.id == _CRC:
        sums = zlib.crc32(data[first.end - seek.begin :]).to_bytes(4, "little")
        data[first.data - seek.begin : first.end - seek.begin] = sums
    return bytes(data)


def _elements(data: bytes, begin: int, end: int) -> Iterator[_Element]:
    """The elements that lie side by side from ``begin`` to ``end``."""
    while begin < end:
        id_bytes, size_bytes = _length(data[begin]), _length(data[begin + _length(data[begin])])
        held = begin + id_bytes + size_bytes
        size = int.from_bytes(data[begin + id_bytes : held], "big") & ((1 << 7 * size_bytes) - 1)
        yield _Element(int.from_bytes(data[begin : begin + id_bytes], "big"), begin, held, held + size)
        begin = held + size


def _length(first: int) -> int:
    """How many bytes a number has that begins with this one."""
    if first == 0:
        raise ValueError
    return 9 - first.bit_length()


def _empty(room: int) -> bytes:
    """A void that is so many bytes long, its own two or nine included. Raises ValueError where there is no room."""
    length = 1 if room < 100 else 8
    held = room - 1 - length
    return bytes([_VOID]) + _size(held, length) + bytes(held)


def _element(name: int, data: bytes) -> bytes:
    """With a size that is as short as can be, for there is little room."""
    length = next(length for length in range(1, 9) if len(data) < (1 << 7 * length) - 1)
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + _size(len(data), length) + data


def _number(name: int, value: int) -> bytes:
    data = value.to_bytes((value.bit_length() + 7) // 8 or 1, "big")
    return name.to_bytes(2, "big") + _size(len(data), 1) + data


def _size(size: int, length: int) -> bytes:
    """``size`` in so many bytes. Raises ValueError where it does not fit."""
    if not 0 <= size < (1 << 7 * length) - 1:
        raise ValueError
    return ((1 << 7 * length) | size).to_bytes(length, "big")


def _checked(name: int, data: bytes) -> bytes:
    """An element with a checksum of what it holds."""
    return _element(name, bytes([_CRC]) + _size(4, 1) + zlib.crc32(data).to_bytes(4, "little") + data)
