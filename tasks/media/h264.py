"""Parsing the headers of H.264 packets (ITU-T H.264, 7.3): fields, and pictures at which decoding can start."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.media.bits import BitReader, OutOfBitsError, split_units

_SLICE, _IDR, _SEI, _SPS, _PPS = 1, 5, 6, 7, 8
_PARTITION_A = 2
_NO_PICTURE = frozenset(range(6, 13))
_RECOVERY_POINT = 6
_CHROMA_444 = 3
_INTRA_SLICES = frozenset({2, 4, 7, 9})
_WITH_CHROMA_FORMAT = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


@dataclass(frozen=True)
class SequenceParameters:
    """The part of a sequence parameter set that slice headers depend on."""

    may_have_fields: bool
    has_color_planes: bool
    frame_num_bits: int


@dataclass(frozen=True)
class CodedPicture:
    """The picture, or pictures, of one packet.

    is_entry     decoding can start here: an IDR picture, or an exact recovery point at an intra picture
    is_intra     all slices of its first field or frame are intra slices
    parities     parities of its fields (0 top, 1 bottom); empty for a frame
    frame_num    as in its first slice header; -1 if unknown
    parameters   the parameter sets that it carries
    is_empty     the packet holds no coded picture
    """

    is_entry: bool
    is_intra: bool
    parities: tuple[int, ...]
    frame_num: int
    parameters: frozenset[bytes]
    is_empty: bool


class H264Parser:
    """Reads the headers of the packets of one stream, in decoding order."""

    def __init__(self, extradata: bytes) -> None:
        self.length_bytes = (extradata[4] & 3) + 1 if len(extradata) > 6 and extradata[0] == 1 else 0
        self._sequences: dict[int, SequenceParameters] = {}
        self._sequence_of: dict[int, int] = {}
        units = _split_avcc(extradata) if self.length_bytes else list(split_units(extradata, 0))
        self.parameters = frozenset(unit for unit in units if self._read_parameters(unit))

    @property
    def may_have_fields(self) -> bool:
        """True if a sequence so far may code fields separately."""
        return any(sequence.may_have_fields for sequence in self._sequences.values())

    def read(self, packet: bytes) -> CodedPicture:
        """Return the coded picture in ``packet``. Ignores damaged headers."""
        slices: list[tuple[bool, bool, int, int]] = []
        parameters: set[bytes] = set()
        is_recovery_point = False
        is_empty = bool(packet)
        for unit in split_units(packet, self.length_bytes):
            kind = unit[0] & 31 if unit else 0
            is_empty = is_empty and kind in _NO_PICTURE
            if kind in {_SPS, _PPS} and self._read_parameters(unit):
                parameters.add(unit)
            elif kind == _SEI:
                is_recovery_point = is_recovery_point or is_exact_recovery_point(unit)
            elif kind in {_SLICE, _IDR, _PARTITION_A}:
                slices.append((kind == _IDR, *self._read_slice(unit)))
        first = [piece for piece in slices if piece[2] == slices[0][2]]
        is_intra = bool(first) and all(piece[1] for piece in first)
        parities = tuple(dict.fromkeys(piece[2] for piece in slices if piece[2] >= 0))
        is_entry = is_intra and (first[0][0] or is_recovery_point)
        frame_num = slices[0][3] if slices else -1
        return CodedPicture(is_entry, is_intra, parities, frame_num, frozenset(parameters), is_empty)

    def _read_parameters(self, unit: bytes) -> bool:
        """Store a parameter set; return False if the unit is not one, or is damaged."""
        try:
            if unit and unit[0] & 31 == _SPS:
                number, parameters = _read_sps(unit)
                self._sequences[number] = parameters
            elif unit and unit[0] & 31 == _PPS:
                bits = BitReader(unit[1:16])
                self._sequence_of[bits.read_ue()] = bits.read_ue()
            else:
                return False
        except OutOfBitsError:
            return False
        return True

    def _read_slice(self, unit: bytes) -> tuple[bool, int, int]:
        """Return (is intra, parity or -1 for a frame, frame_num or -1)."""
        bits = BitReader(unit[1:32])
        try:
            bits.read_ue()  # first_mb_in_slice
            is_intra = bits.read_ue() in _INTRA_SLICES
            sequence = self._sequences.get(self._sequence_of.get(bits.read_ue(), -1))
            if sequence is None:
                return is_intra, -1, -1
            if sequence.has_color_planes:
                bits.read(2)
            frame_num = bits.read(sequence.frame_num_bits)
            is_field = sequence.may_have_fields and bits.read(1)
            return is_intra, bits.read(1) if is_field else -1, frame_num
        except OutOfBitsError:
            return False, -1, -1


def is_exact_recovery_point(unit: bytes) -> bool:
    """Return True if an SEI unit states that decoding is exact from its packet on (D.2.8)."""
    place = 1
    while place + 2 < len(unit):
        kind, place = _read_sei_number(unit, place)
        size, place = _read_sei_number(unit, place)
        if kind == _RECOVERY_POINT:
            bits = BitReader(unit[place : place + size])
            try:
                return bits.read_ue() == 0 and bool(bits.read(1))
            except OutOfBitsError:
                return False
        place += size
    return False


def _read_sei_number(unit: bytes, place: int) -> tuple[int, int]:
    """Return a payload type or size, and the place after it."""
    number = 0
    while place < len(unit) and unit[place] == 255:
        number, place = number + 255, place + 1
    return number + (unit[place] if place < len(unit) else 0), place + 1


def _split_avcc(extradata: bytes) -> list[bytes]:
    """Return the parameter sets of an avcC box (ISO/IEC 14496-15, 5.3.3.1)."""
    units = []
    place = 5
    for mask in (31, 255):
        count = extradata[place] & mask if place < len(extradata) else 0
        place += 1
        for _ in range(count):
            size = int.from_bytes(extradata[place : place + 2], "big")
            units.append(extradata[place + 2 : place + 2 + size].rstrip(b"\0").replace(b"\0\0\3", b"\0\0"))
            place += 2 + size
    return units


def _read_sps(unit: bytes) -> tuple[int, SequenceParameters]:
    """Return the id and the parameters of a sequence parameter set (7.3.2.1.1)."""
    bits = BitReader(unit[1:])
    profile = bits.read(8)
    bits.read(16)  # constraints, level
    number = bits.read_ue()
    has_color_planes = profile in _WITH_CHROMA_FORMAT and _skip_chroma_format(bits)
    frame_num_bits = bits.read_ue() + 4
    _skip_picture_order(bits)
    bits.read_ue()  # max_num_ref_frames
    bits.read(1)
    bits.read_ue()  # width
    bits.read_ue()  # height
    return number, SequenceParameters(not bits.read(1), has_color_planes, frame_num_bits)


def _skip_chroma_format(bits: BitReader) -> bool:
    """Skip the fields of high profiles; return True if color planes are coded separately."""
    chroma = bits.read_ue()
    has_color_planes = chroma == _CHROMA_444 and bool(bits.read(1))
    bits.read_ue()
    bits.read_ue()
    bits.read(1)
    if bits.read(1):  # scaling matrices
        for number in range(12 if chroma == _CHROMA_444 else 8):
            if bits.read(1):
                _skip_scaling_list(bits, 16 if number < 6 else 64)
    return has_color_planes


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.read_se()) % 256
        last = following or last


def _skip_picture_order(bits: BitReader) -> None:
    kind = bits.read_ue()
    if kind == 0:
        bits.read_ue()
    elif kind == 1:
        bits.read(1)
        bits.read_se()
        bits.read_se()
        for _ in range(bits.read_ue()):
            bits.read_se()
