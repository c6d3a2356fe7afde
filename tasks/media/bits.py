"""Reading bit fields and NAL units of video bitstreams. Pure."""

from __future__ import annotations

from collections.abc import Iterator

START_CODE = b"\0\0\1"
# Enough for parameter sets and slice headers; coded pixels are not needed.
_MAX_UNIT_BYTES = 4096


class OutOfBitsError(Exception):
    """The data ends before the end of the requested field."""


class BitReader:
    """Reads fields from bytes, most significant bit first. Raises OutOfBitsError at the end of the data."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, bits: int) -> int:
        """Return the next ``bits`` bits as an unsigned integer."""
        self._left -= bits
        if self._left < 0:
            raise OutOfBitsError
        return (self._value >> self._left) & ((1 << bits) - 1)

    def read_ue(self) -> int:
        """Return the next unsigned Exp-Golomb number: ue(v) of ITU-T H.264, 9.1."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def read_se(self) -> int:
        """Return the next signed Exp-Golomb number: se(v) of ITU-T H.264, 9.1.1."""
        number = self.read_ue()
        return (number + 1) // 2 if number % 2 else -(number // 2)


def split_units(data: bytes, length_bytes: int) -> Iterator[bytes]:
    """Yield the beginnings (4 KiB) of the NAL units in ``data``, without emulation prevention bytes.

    ``length_bytes`` is the size of the length before each unit; 0 means start codes (Annex B of H.264 and H.265).
    """
    ranges = _split_by_length(data, length_bytes) if length_bytes else _split_by_start_code(data)
    for start, end in ranges:
        yield data[start : min(end, start + _MAX_UNIT_BYTES)].rstrip(b"\0").replace(b"\0\0\3", b"\0\0")


def _split_by_length(data: bytes, length_bytes: int) -> Iterator[tuple[int, int]]:
    start = 0
    while start + length_bytes < len(data):
        size = int.from_bytes(data[start : start + length_bytes], "big")
        start += length_bytes
        yield start, start + size
        start += size


def _split_by_start_code(data: bytes) -> Iterator[tuple[int, int]]:
    start = data.find(START_CODE)
    while start >= 0:
        following = data.find(START_CODE, start + 3)
        yield start + 3, len(data) if following < 0 else following
        start = following
