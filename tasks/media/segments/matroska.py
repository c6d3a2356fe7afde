"""Set the pixel aspect of a finished Matroska file, because PyAV cannot pass it to the muxer.

FFmpeg reserves space after the table of contents (SeekHead). The track descriptions grow into it, so later data does
not move. Elements and their IDs: RFC 9559; their encoding: RFC 8794.
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
# Tracks contain codec headers: usually kilobytes, rarely hundreds of them.
_HEAD_BYTES = 1 << 24


@dataclass(frozen=True)
class _Element:
    """An element in a buffer: it extends from ``begin`` to ``end``, and its content starts at ``data``."""

    id: int
    begin: int
    data: int
    end: int


def set_sample_aspect(path: Path, track: int, size: tuple[int, int], aspect: Fraction) -> None:
    """Set the display size of the video track with number ``track`` in the Matroska or WebM file at ``path``.

    ``size`` is the width and height of its frames, ``aspect`` the width of a pixel over its height. WebM has no ratios,
    so the width is rounded to whole pixels. Raises SegmentError if the file was not written by FFmpeg.
    """
    shown = _encode_display_size(size, aspect, path.suffix == ".webm")
    with path.open("r+b") as file:
        head = file.read(_HEAD_BYTES)
        try:
            offset, data = _rewrite_head(head, track, shown)
        except (IndexError, StopIteration, ValueError) as error:
            raise SegmentError(f"{path.name}: the head of the file is not as FFmpeg writes it") from error
        file.seek(offset)
        file.write(data)


def _encode_display_size(size: tuple[int, int], aspect: Fraction, is_webm: bool) -> bytes:
    """Return the elements for the display size."""
    width = size[0] * aspect
    if width.denominator == 1 or is_webm:
        numbers, unit = (round(width), size[1]), _IN_PIXELS
    else:
        ratio = width / size[1]
        numbers, unit = (ratio.numerator, ratio.denominator), _IN_RATIO
    elements = [_encode_number(_DISPLAY_WIDTH, numbers[0]), _encode_number(_DISPLAY_HEIGHT, numbers[1])]
    return b"".join(elements) + (_encode_number(_DISPLAY_UNIT, unit) if unit else b"")


def _rewrite_head(head: bytes, track: int, shown: bytes) -> tuple[int, bytes]:
    """Return the offset and the new bytes, from the SeekHead to the end of the tracks; their number is unchanged."""
    segment = next(element for element in _read_elements(head, 0, len(head)) if element.id == _SEGMENT)
    within = list(_read_until_tracks(head, segment))
    seek, void, tracks = within[0], within[1], within[-1]
    if (seek.id, void.id) != (_SEEK_HEAD, _VOID) or tracks.end > len(head):
        raise ValueError
    new_tracks = _rewrite_tracks(head, tracks, track, shown)
    more = len(new_tracks) - (tracks.end - tracks.begin)
    room = void.end - void.begin - more
    moved = range(void.end - segment.data, tracks.end - segment.data)
    seeks = _shift_positions(head, seek, moved, more)
    return seek.begin, seeks + _encode_void(room) + head[void.end : tracks.begin] + new_tracks


def _read_until_tracks(head: bytes, segment: _Element) -> Iterator[_Element]:
    for element in _read_elements(head, segment.data, len(head)):
        yield element
        if element.id == _TRACKS:
            return
    raise ValueError


def _rewrite_tracks(head: bytes, tracks: _Element, track: int, shown: bytes) -> bytes:
    """Return the tracks with the display size ``shown`` in one of them."""
    children = list(_read_elements(head, tracks.data, tracks.end))
    entry = [child for child in children if child.id == _TRACK][track]
    video = next(child for child in _read_elements(head, entry.data, entry.end) if child.id == _VIDEO)
    ours = (_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT)
    kept = [child for child in _read_elements(head, video.data, video.end) if child.id not in ours]
    picture = _encode_element(_VIDEO, b"".join(head[child.begin : child.end] for child in kept) + shown)
    inside = _encode_element(_TRACK, head[entry.data : video.begin] + picture + head[video.end : entry.end])
    whole = [inside if child is entry else head[child.begin : child.end] for child in children if child.id != _CRC]
    return _encode_with_checksum(_TRACKS, b"".join(whole))


def _shift_positions(head: bytes, seek: _Element, moved: range, by: int) -> bytes:
    """Return the SeekHead, of unchanged length, with positions in ``moved`` reduced by ``by`` bytes."""
    data = bytearray(head[seek.begin : seek.end])
    for entry in _read_elements(head, seek.data, seek.end):
        for child in _read_elements(head, entry.data, entry.end) if entry.id == _SEEK else ():
            position = int.from_bytes(head[child.data : child.end], "big")
            if child.id == _SEEK_POSITION and position in moved:
                new = (position - by).to_bytes(child.end - child.data, "big")
                data[child.data - seek.begin : child.end - seek.begin] = new
    first = next(_read_elements(head, seek.data, seek.end))
    if first.id == _CRC:
        checksum = zlib.crc32(data[first.end - seek.begin :]).to_bytes(4, "little")
        data[first.data - seek.begin : first.end - seek.begin] = checksum
    return bytes(data)


def _read_elements(data: bytes, begin: int, end: int) -> Iterator[_Element]:
    """Yield the consecutive elements from ``begin`` to ``end``."""
    while begin < end:
        id_bytes, size_bytes = _get_length(data[begin]), _get_length(data[begin + _get_length(data[begin])])
        content = begin + id_bytes + size_bytes
        size = int.from_bytes(data[begin + id_bytes : content], "big") & ((1 << 7 * size_bytes) - 1)
        yield _Element(int.from_bytes(data[begin : begin + id_bytes], "big"), begin, content, content + size)
        begin = content + size


def _get_length(first: int) -> int:
    """Return the length of a number in bytes from its first byte."""
    if first == 0:
        raise ValueError
    return 9 - first.bit_length()


def _encode_void(room: int) -> bytes:
    """Return a void of ``room`` bytes, including its header of 2 or 9. Raises ValueError if there is no room."""
    length = 1 if room < 100 else 8
    content = room - 1 - length
    return bytes([_VOID]) + _encode_size(content, length) + bytes(content)


def _encode_element(name: int, data: bytes) -> bytes:
    """Return an element with the shortest size field, because space is limited."""
    length = next(length for length in range(1, 9) if len(data) < (1 << 7 * length) - 1)
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + _encode_size(len(data), length) + data


def _encode_number(name: int, value: int) -> bytes:
    data = value.to_bytes((value.bit_length() + 7) // 8 or 1, "big")
    return name.to_bytes(2, "big") + _encode_size(len(data), 1) + data


def _encode_size(size: int, length: int) -> bytes:
    """Return ``size`` in ``length`` bytes. Raises ValueError if it does not fit."""
    if not 0 <= size < (1 << 7 * length) - 1:
        raise ValueError
    return ((1 << 7 * length) | size).to_bytes(length, "big")


def _encode_with_checksum(name: int, data: bytes) -> bytes:
    """Return an element with a checksum of its content."""
    return _encode_element(name, bytes([_CRC]) + _encode_size(4, 1) + zlib.crc32(data).to_bytes(4, "little") + data)
