"""Tables that a JPEG image in a video carries, and those that it takes from earlier images.

Source: ITU-T T.81, annexes B.2 and B.5 (abbreviated formats). FFmpeg's decoder keeps tables from one packet to the next
and begins with the Huffman tables of annex K, so an image may depend on packets before it.
"""

from __future__ import annotations

import re

_SEGMENT = re.compile(rb"\xff[\x02-\xcf\xda-\xfe]")  # a marker with a length; stuffed zeros and restarts have none
_HUFFMAN, _SCAN, _QUANTIZATION = 0xC4, 0xDA, 0xDB
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_HUFFMAN_HEADER_BYTES = 17


class JpegTables:
    """Tells for each image of a stream, in decoding order, whether it can be decoded without those before it."""

    def __init__(self) -> None:
        self._replaced: set[int] = set()  # Huffman tables that earlier images have set

    def is_independent(self, packet: bytes) -> bool:
        """Return True if the image has all its tables; tables of annex K need not be sent. Raises IndexError."""
        quantization: set[int] = set()
        huffman: set[int] = set()
        needed: dict[int, int] = {}  # component -> its quantization table
        is_complete, place, scans = True, 0, 0
        while segment := _SEGMENT.search(packet, place):
            kind, start = packet[segment.start() + 1], segment.end() + 2
            place = segment.end() + int.from_bytes(packet[segment.end() : start], "big")
            body = packet[start:place]
            if kind == _QUANTIZATION:
                quantization |= _list_quantization(body)
            elif kind == _HUFFMAN:
                huffman |= _list_huffman(body)
            elif kind in _FRAMES:
                needed = {body[6 + 3 * number]: body[8 + 3 * number] for number in range(body[5])}
            elif kind == _SCAN:
                scans += 1
                used = {needed.get(body[1 + 2 * number], -1) for number in range(body[0])}
                is_complete &= used <= quantization and not (_list_used(body) - huffman) & self._replaced
        self._replaced |= huffman
        return is_complete and scans > 0


def _list_quantization(body: bytes) -> set[int]:
    """Return the numbers of the quantization tables in a segment."""
    found, place = set(), 0
    while place < len(body):
        found.add(body[place] & 15)
        place += 65 + 64 * (body[place] >> 4)
    return found


def _list_huffman(body: bytes) -> set[int]:
    """Return the Huffman tables in a segment: class (0 for DC, 16 for AC) plus number."""
    found, place = set(), 0
    while place < len(body):
        found.add(body[place])
        place += _HUFFMAN_HEADER_BYTES + sum(body[place + 1 : place + _HUFFMAN_HEADER_BYTES])
    return found


def _list_used(scan: bytes) -> set[int]:
    """Return the Huffman tables that a scan header names. A scan of DC coefficients alone uses no AC table."""
    tables = [scan[2 + 2 * number] for number in range(scan[0])]
    has_ac = scan[2 * scan[0] + 2] > 0
    return {table >> 4 for table in tables} | ({16 + (table & 15) for table in tables} if has_ac else set())
