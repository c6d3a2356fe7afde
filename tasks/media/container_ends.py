"""Checking the ends of container files: whether the last part exists and is complete.

Each check returns a clause about the missing part, or an empty string if there is no evidence of one. Files with data
after their end, and files in an unknown form, count as complete.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_TAIL_BYTES = 1 << 20
# Top-level boxes of MP4; other names are probably garbage after the end of the file.
_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"sidx", b"free", b"skip", b"mfra", b"wide", b"uuid"})
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_MXF_KEY = bytes.fromhex("060e2b34")
_MXF_PARTITION = bytes.fromhex("060e2b34020501010d01020101")
_TS_SYNC = 0x47
_FOOTER_OFFSET = 24
_PALETTE = 0x80
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_PLAY_DURATION, _ASF_TICKS = 64, 10_000_000
_DV_FRAME_BYTES = {False: 120_000, True: 144_000}


def find_missing_end(path: Path, kind: str) -> str:
    """Return a clause about the missing end of a file; ``kind`` is the name of its FFmpeg demuxer."""
    check = _CHECKS.get(kind.partition(",")[0])
    if check is None:
        return ""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            return check(file, size)
        except (struct.error, IndexError, ValueError):  # unknown form
            return ""


def has_fragments(path: Path) -> bool:
    """Return True if an MP4 file announces fragments (box ``mvex``), so that its header lists no frames."""
    with path.open("rb") as file:
        return _has_fragments(file)


def read_asf_duration(path: Path) -> float | None:
    """Return the stated duration of an ASF file in seconds, without the preroll, as in FFmpeg; None if it has none."""
    with path.open("rb") as file:
        head = _read(file, 0, 1 << 16)
    place = head.find(_ASF_FILE_PROPERTIES)
    if place < 0:
        return None
    ticks, _, preroll_milliseconds = struct.unpack_from("<QQQ", head, place + _ASF_PLAY_DURATION)
    return round(ticks / _ASF_TICKS - preroll_milliseconds / 1000, 3) or None


def _compare_size(needed: int, size: int) -> str:
    """Return a clause if fewer bytes than ``needed`` exist."""
    return f"it has {size} of at least {needed} bytes" if needed > size else ""


def _check_mov(file: BinaryIO, size: int) -> str:
    """Check that the last top-level box ends within the file (ISO/IEC 14496-12, 4.2)."""
    offset = 0
    while offset + 8 <= size:
        length, name, header = *struct.unpack(">I4s", _read(file, offset, 8)), 8
        if name not in _BOXES:
            return ""
        if length == 1:
            length, header = struct.unpack(">Q", _read(file, offset + 8, 8))[0], 16
        if length < header:  # 0: the box extends to the end of the file
            return ""
        if offset + length > size:
            # The sample table checks samples outside of fragments: an mdat may state too large a size.
            return "" if name == b"mdat" and not _has_fragments(file) else _compare_size(offset + length, size)
        offset += length
    return ""


def _has_fragments(file: BinaryIO) -> bool:
    """Return True if a box ``mvex`` in the header announces fragments."""
    return b"mvex" in _read(file, 0, _TAIL_BYTES)


def _check_matroska(file: BinaryIO, size: int) -> str:
    """Check that the segment, or its last top-level element, ends within the file (RFC 8794, 6)."""
    offset = 0
    while offset < size:
        name, length, header = _read_ebml_element(file, offset)
        if name == _SEGMENT and length is not None:
            return _compare_size(offset + header + length, size)
        is_open = length is None and name in {_SEGMENT, _CLUSTER}  # live streams have unknown sizes
        offset += header if is_open or length is None else header + length
    return _compare_size(offset, size)


def _read_ebml_element(file: BinaryIO, offset: int) -> tuple[int, int | None, int]:
    """Return id, size (None if unknown) and header length of the element at ``offset``.

    Raises IndexError at the end of the file, ValueError if there is no element.
    """
    data = _read(file, offset, 12)
    id_length = 9 - data[0].bit_length()
    size_length = 9 - data[id_length].bit_length()
    if id_length > 4 or size_length > 8:
        raise ValueError("no EBML element")
    name = int.from_bytes(data[:id_length], "big")
    value = int.from_bytes(data[id_length : id_length + size_length], "big") & ((1 << 7 * size_length) - 1)
    is_unknown = value == (1 << 7 * size_length) - 1
    return name, None if is_unknown else value, id_length + size_length


def _check_avi(file: BinaryIO, size: int) -> str:
    """Check that each RIFF chunk ends within the file; OpenDML files have several."""
    offset = 0
    while offset + 12 <= size:
        name, length = struct.unpack("<4sI", _read(file, offset, 8))
        if name != b"RIFF":
            return ""
        if length in {0, 0xFFFFFFFF}:  # not finalized: the frames are in the first list of chunks, movi
            return _check_movi(file, offset + 12, size)
        if offset + 8 + length > size:
            return _compare_size(offset + 8 + length, size)
        offset += 8 + length + length % 2
    return ""


def _check_movi(file: BinaryIO, offset: int, size: int) -> str:
    """Check that the last chunk of an unfinalized AVI file ends within the file."""
    while offset + 8 <= size:
        name, length = struct.unpack("<4sI", _read(file, offset, 8))
        is_movi = name == b"LIST" and _read(file, offset + 8, 4) == b"movi"
        offset += 12 if is_movi else 8 + length + length % 2
    return _compare_size(offset - 1, size)


def _check_flv(file: BinaryIO, size: int) -> str:
    """Check that the last tag is followed by its size, and that size and duration agree with the metadata."""
    last = int.from_bytes(_read(file, size - 4, 4), "big")
    tag = _read(file, size - 4 - last, 11)
    if last < 11 or int.from_bytes(tag[1:4], "big") + 11 != last:
        return "its last tag is incomplete"
    stated = _read_flv_number(file, b"filesize")
    milliseconds = int.from_bytes(tag[7:8] + tag[4:7], "big")
    is_short = _read_flv_number(file, b"duration") * 1000 > milliseconds + 1000
    return _compare_size(int(stated), size) if is_short else ""


def _read_flv_number(file: BinaryIO, name: bytes) -> float:
    """Return a number from onMetaData; 0 if it is missing."""
    head = _read(file, 0, 1 << 16)
    place = head.find(name + b"\x00")
    return float(struct.unpack_from(">d", head, place + len(name) + 1)[0]) if place >= 0 else 0.0


def _check_ts(file: BinaryIO, size: int) -> str:
    """Check that the last packet of 188 bytes (M2TS: 192, with FEC: 204) is complete."""
    head = _read(file, 0, 204 * 8)
    for length in (188, 192, 204):
        for start in range(length):
            if all(start + n * length < len(head) and head[start + n * length] == _TS_SYNC for n in range(5)):
                return _check_ts_packet(file, start, length, size) or _check_pes_packets(file, start, length, size)
    return ""


def _check_pes_packets(file: BinaryIO, start: int, length: int, size: int) -> str:
    """Check the last PES packet of each stream if it states its length (ISO/IEC 13818-1, 2.4.3.6)."""
    first = max(start, size - (size - start) % length - _TAIL_BYTES // length * length)
    tail = _read(file, first, _TAIL_BYTES)
    missing: dict[int, int] = {}
    for offset in range(0, len(tail) - 187, length):
        packet = tail[offset : offset + 188]
        payload = packet[4:] if not packet[3] & 0x20 else packet[5 + packet[4] :]
        if packet[0] != _TS_SYNC or not packet[3] & 0x10:
            continue
        pid = int.from_bytes(packet[1:3], "big") & 0x1FFF
        if packet[1] & 0x40:  # start of a PES packet, or of a table section
            stated = int.from_bytes(payload[4:6], "big") if payload.startswith(b"\x00\x00\x01") else 0
            missing[pid] = stated + 6 if stated else 0
        missing[pid] = missing.get(pid, 0) - len(payload)
    return "its last packet is incomplete" if any(count > 0 for count in missing.values()) else ""


def _check_ts_packet(file: BinaryIO, start: int, length: int, size: int) -> str:
    rest = (size - start) % length
    end = size - rest
    # The four bytes before a packet of M2TS belong to it.
    is_partial = rest > 0 and (rest < length - 188 or _read(file, end, 1)[0] == _TS_SYNC)
    if is_partial and not (length == 192 and rest == length - 4):
        return "its last transport packet is incomplete"
    return ""


def _check_ps(file: BinaryIO, size: int) -> str:
    """Check that the last packet ends within the file (ISO/IEC 13818-1, 2.5.3); start from the last pack."""
    start = max(0, size - _TAIL_BYTES)
    tail = _read(file, start, _TAIL_BYTES)
    offset = _find_first_pack(tail)
    while 0 <= offset < len(tail):
        code, rest = tail[offset : offset + 4], len(tail) - offset
        if code == b"\x00\x00\x01\xb9":
            return ""
        if not code.startswith(b"\x00\x00\x01"[: len(code)]):
            return ""  # other data, or garbage
        length = (
            _get_pack_length(tail, offset)
            if code[3:4] == b"\xba"
            else 6 + int.from_bytes(tail[offset + 4 : offset + 6], "big")
        )
        if rest < 6 or length > rest:
            return "its last packet is incomplete"
        offset += length
    return ""


def _find_first_pack(tail: bytes) -> int:
    """Return the offset of the first pack in ``tail`` that is followed by another packet; -1 if there is none."""
    offset = tail.find(b"\x00\x00\x01\xba")
    while offset >= 0:
        following = offset + _get_pack_length(tail, offset)
        if tail[following : following + 3] == b"\x00\x00\x01":
            return offset
        offset = tail.find(b"\x00\x00\x01\xba", offset + 1)
    return -1


def _get_pack_length(tail: bytes, offset: int) -> int:
    """Return the length of a pack header: 12 bytes in MPEG-1, 14 and stuffing in MPEG-2."""
    kind = tail[offset + 4 : offset + 5]
    if not kind or kind[0] >> 6 != 1:
        return 12
    stuffing = tail[offset + 13 : offset + 14]
    return 14 + (stuffing[0] & 7 if stuffing else 0)


def _check_ogg(file: BinaryIO, size: int) -> str:
    """Check that the last page is complete and ends a logical stream (RFC 3533, 6)."""
    start = max(0, size - _TAIL_BYTES)
    tail = _read(file, start, _TAIL_BYTES)
    offset = tail.find(b"OggS\x00")
    flags = 0
    while tail[offset : offset + 4] == b"OggS" and offset >= 0:
        segments = tail[offset + 27 : offset + 27 + tail[offset + 26]]
        end = offset + 27 + tail[offset + 26] + sum(segments)
        if end > len(tail) or len(segments) < tail[offset + 26]:
            return "its last page is incomplete"
        flags, offset = tail[offset + 5], end
    if 0 < len(tail) - offset < 27 and b"OggS".startswith(tail[offset : offset + 4][:4]):
        return "its last page is incomplete"
    return "" if flags & 4 else "its last page does not end a stream"


def _check_asf(file: BinaryIO, size: int) -> str:
    """Check that the data object ends within the file; broadcasts state a size of 0 or a small one."""
    offset = 0
    while offset + 24 <= size:
        name, length = struct.unpack("<16sQ", _read(file, offset, 24))
        if name == _ASF_DATA:
            return _compare_size(offset + length, size)
        if length < 24:
            return ""
        offset += length
    return ""


def _check_mxf(file: BinaryIO, size: int) -> str:
    """Check that every triplet of key, length and value, and the stated footer, end within the file."""
    offset = 0
    while offset + 17 <= size:
        key, (length, header) = _read(file, offset, 16), _read_ber_length(file, offset + 16)
        if not key.startswith(_MXF_KEY):
            return ""
        if offset == 0 and key.startswith(_MXF_PARTITION):
            footer = int.from_bytes(_read(file, 16 + header + _FOOTER_OFFSET, 8), "big")
            if footer >= size:
                return _compare_size(footer + 1, size)
        offset += 16 + header + length
    return _compare_size(offset, size) if offset > size else ""


def _read_ber_length(file: BinaryIO, offset: int) -> tuple[int, int]:
    """Return a BER length and the number of bytes that encode it."""
    data = _read(file, offset, 9)
    if data[0] < 0x80:
        return data[0], 1
    count = data[0] & 0x7F
    return int.from_bytes(data[1 : 1 + count], "big"), 1 + count


def _check_dv(file: BinaryIO, size: int) -> str:
    """Check that all frames have 120,000 bytes (144,000 in 625-line systems)."""
    frame = _DV_FRAME_BYTES[bool(_read(file, 3, 1)[0] & 0x80)]
    return f"it has {size} bytes, which is not a whole number of frames" if size % frame else ""


def _check_gif(file: BinaryIO, size: int) -> str:
    """Check that the blocks end with a trailer."""
    head = _read(file, 0, 13)
    offset = 13 + (3 << ((head[10] & 7) + 1) if head[10] & _PALETTE else 0)
    while offset < size:
        kind = _read(file, offset, 1)
        if kind == b"\x3b":
            return ""
        if kind == b"\x21":
            offset += 2
        elif kind == b"\x2c":
            flags = _read(file, offset + 9, 1)
            offset += 11 + (3 << ((flags[0] & 7) + 1) if flags and flags[0] & _PALETTE else 0)
        else:
            return ""
        while offset < size and (length := _read(file, offset, 1)[0]):
            offset += 1 + length
        offset += 1
    return "its trailer is missing"


def _check_y4m(file: BinaryIO, size: int) -> str:
    """Check that all frames are complete; their size follows from the offset of the second one."""
    head = _read(file, 0, _TAIL_BYTES * 64)
    start = head.find(b"\nFRAME") + 1
    stride = head.find(b"FRAME", start + 5) - start
    if not start or stride < 0:
        return ""
    rest = (size - start) % stride
    return "its last frame is incomplete" if rest and _read(file, size - rest, 5) == b"FRAME"[:rest] else ""


def _check_ivf(file: BinaryIO, size: int) -> str:
    """Check that all frames end within the file."""
    offset = int.from_bytes(_read(file, 6, 2), "little")
    while offset + 12 <= size:
        offset += 12 + int.from_bytes(_read(file, offset, 4), "little")
    return "" if offset == size else "its last frame is incomplete"


def _read(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(max(0, offset))
    return file.read(count)


_CHECKS: dict[str, Callable[[BinaryIO, int], str]] = {
    "mov": _check_mov,
    "matroska": _check_matroska,
    "avi": _check_avi,
    "flv": _check_flv,
    "mpegts": _check_ts,
    "mpeg": _check_ps,
    "ogg": _check_ogg,
    "asf": _check_asf,
    "mxf": _check_mxf,
    "dv": _check_dv,
    "gif": _check_gif,
    "yuv4mpegpipe": _check_y4m,
    "ivf": _check_ivf,
}
