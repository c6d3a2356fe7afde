"""Finding entries, the packets at which decoding can start, from the headers of the packets.

Keyframe flags of containers may be wrong: in a file without a sync table every packet counts as a keyframe, and some
writers mark every packet. A packet counts as an entry only if its own header proves it: it holds an intra frame, and
no later packet refers to one before it. Streams of codecs that are not listed here are decoded from their beginning.

Sources: ITU-T H.261 to H.266, ISO/IEC 14496-2, 11172-2, 13818-2; RFC 6386 (VP8); the VP9, AV1, Theora and FFV1 (RFC
9043) specifications; for Microsoft's and Sorenson's codecs the headers that FFmpeg's decoders read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tasks.media.bits import START_CODE, BitReader, OutOfBitsError, split_units
from tasks.media.h264 import H264Parser
from tasks.media.jpeg import JpegTables

_HEVC_IRAP = range(16, 22)
_HEVC_PARAMETERS = range(32, 35)
_VVC_IRAP = range(7, 10)
_VVC_PARAMETERS = range(12, 19)
_AV1_SEQUENCE, _AV1_FRAME_HEADER, _AV1_FRAME = 1, 3, 6
_PICTURE, _SEQUENCE, _EXTENSION = b"\0\0\1\0", b"\0\0\1\xb3", b"\0\0\1\xb5"
_SEQUENCE_END = b"\0\0\1\xb7"
_VOP, _VISUAL_END = b"\0\0\1\xb6", b"\0\0\1\xb1"
# DivX and XviD put a P-frame and the B-frames before it into one packet, followed by empty packets.
_PACKED = re.compile(rb"DivX\d+(?:b|Build)\d+p")
_CODING_EXTENSION, _FRAME_STRUCTURE = 8, 3
_FFV1_HALF = 0x7F80
# Codecs that FFmpeg lists as intra-only although a packet may repeat the frame before.
_NOT_INTRA = frozenset({"fraps"})
# Intra-only codecs that FFmpeg does not list as such.
_INTRA = frozenset({"png", "qoi", "jpegxl", "webp"})


@dataclass(frozen=True)
class PacketFacts:
    """Properties of a packet according to its header.

    is_entry         decoding can start at it
    is_intra         it can be decoded alone, but later frames may refer to earlier ones
    is_hidden        it gives no frame to show
    is_field         it holds one field of a frame
    is_second_field  it completes the frame of the packet before
    """

    is_entry: bool = False
    is_intra: bool = False
    is_hidden: bool = False
    is_field: bool = False
    is_second_field: bool = False


PLAIN = PacketFacts()
HIDDEN = PacketFacts(is_hidden=True)
ENTRY = PacketFacts(is_entry=True, is_intra=True)
Inspect = Callable[[bytes], PacketFacts]


class PacketInspector:
    """Inspects the packets of one stream, all of them in decoding order.

    codec      FFmpeg's canonical name
    extradata  the codec's headers from the container
    """

    def __init__(self, codec: str, extradata: bytes, is_intra_only: bool) -> None:
        self._inspect: Inspect | None = _create_inspector(codec, extradata)
        self._default = ENTRY if codec in _INTRA or (is_intra_only and codec not in _NOT_INTRA) else PLAIN
        self._needs_all = codec in _ALWAYS_INSPECTED
        self._small_bytes = _SMALL_BYTES if codec in _WITH_EMPTY_PACKETS else 0

    @property
    def packs_frames(self) -> bool:
        """True if packets hold parts of several frames, so that their times are not frame times."""
        return isinstance(self._inspect, _Mpeg4) and self._inspect.is_packed

    def needs(self, is_keyframe: bool, size: int) -> bool:
        """Return True if the bytes of a packet must be inspected."""
        if self._inspect is None:
            return False
        return is_keyframe or self._needs_all or size <= self._small_bytes or self._has_fields

    @property
    def _has_fields(self) -> bool:
        return isinstance(self._inspect, _H264) and self._inspect.may_have_fields

    def inspect(self, packet: bytes) -> PacketFacts:
        """Return the properties of a packet from its bytes."""
        if self._inspect is None:
            return self._default
        try:
            return self._inspect(packet)
        except (OutOfBitsError, IndexError):
            return PLAIN

    @property
    def default(self) -> PacketFacts:
        """The properties of packets that need no inspection."""
        return self._default


class _Parameters:
    """Detects entries without the parameter sets that were sent in the stream and not in its header."""

    def __init__(self, header_sets: frozenset[bytes]) -> None:
        self._header_sets = header_sets
        self._has_others = not header_sets

    def are_complete(self, carried: frozenset[bytes]) -> bool:
        """Return True if a packet with these sets has all sets that decoding needs."""
        self._has_others = self._has_others or not carried <= self._header_sets
        return bool(carried) or not self._has_others


class _Fields:
    """Pairs packets that hold one field each."""

    def __init__(self) -> None:
        self._open: tuple[int, int] | None = None  # parity and frame number of a first field

    def completes(self, parities: tuple[int, ...], frame_num: int = 0) -> bool:
        """Return True if a packet with fields of these parities completes the one before."""
        if len(parities) != 1:
            self._open = None
            return False
        if self._open == (1 - parities[0], frame_num):
            self._open = None
            return True
        self._open = parities[0], frame_num
        return False


class _H264:
    def __init__(self, extradata: bytes) -> None:
        self._parser = H264Parser(extradata)
        self._parameters = _Parameters(self._parser.parameters)
        self._fields = _Fields()

    @property
    def may_have_fields(self) -> bool:
        return self._parser.may_have_fields

    def __call__(self, packet: bytes) -> PacketFacts:
        picture = self._parser.read(packet)
        if picture.is_empty:
            return HIDDEN
        complete = self._parameters.are_complete(picture.parameters)
        second = self._fields.completes(picture.parities, picture.frame_num)
        return PacketFacts(
            picture.is_entry and complete and not second, picture.is_intra, False, len(picture.parities) == 1, second
        )


class _Layered:
    """HEVC and VVC: random access pictures have separate NAL unit types."""

    def __init__(self, extradata: bytes, is_vvc: bool) -> None:
        self._is_vvc = is_vvc
        self._irap, self._sets = (_VVC_IRAP, _VVC_PARAMETERS) if is_vvc else (_HEVC_IRAP, _HEVC_PARAMETERS)
        self._length_bytes, sets = _parse_vvcc(extradata) if is_vvc else _parse_hvcc(extradata)
        if not self._length_bytes:
            sets = frozenset(unit for unit in split_units(extradata, 0) if self._get_kind(unit) in self._sets)
        self._parameters = _Parameters(sets)

    def _get_kind(self, unit: bytes) -> int:
        """Return the type of a unit of the base layer; -1 for others."""
        if len(unit) < 3:
            return -1
        if self._is_vvc:
            return unit[1] >> 3 if not unit[0] & 63 else -1
        return (unit[0] >> 1) & 63 if not (unit[0] & 1 or unit[1] >> 3) else -1

    def __call__(self, packet: bytes) -> PacketFacts:
        units = [(self._get_kind(unit), unit) for unit in split_units(packet, self._length_bytes)]
        carried = frozenset(unit for kind, unit in units if kind in self._sets)
        complete = self._parameters.are_complete(carried)
        last_coded = 11 if self._is_vvc else 31
        coded = [kind for kind, _ in units if 0 <= kind <= last_coded]
        if units and all(kind > last_coded for kind, _ in units):
            return HIDDEN
        is_random_access = bool(coded) and all(kind in self._irap for kind in coded)
        return PacketFacts(is_entry=is_random_access and complete)


def _parse_hvcc(extradata: bytes) -> tuple[int, frozenset[bytes]]:
    """Return the size of lengths, 0 for Annex B, and the parameter sets of an hvcC box (14496-15, 8.3.3)."""
    if len(extradata) < 23 or extradata[0] != 1:
        return 0, frozenset()
    units, place = set(), 23
    for _ in range(extradata[22]):
        count = int.from_bytes(extradata[place + 1 : place + 3], "big")
        place += 3
        for _ in range(count):
            size = int.from_bytes(extradata[place : place + 2], "big")
            units.add(extradata[place + 2 : place + 2 + size].rstrip(b"\0").replace(b"\0\0\3", b"\0\0"))
            place += 2 + size
    return (extradata[21] & 3) + 1, frozenset(units)


def _parse_vvcc(extradata: bytes) -> tuple[int, frozenset[bytes]]:
    """Return the size of lengths, 0 for Annex B, and a placeholder for the parameter sets of a vvcC box."""
    if not extradata or extradata[:3] in {b"\0\0\0", START_CODE}:
        return 0, frozenset()
    return ((extradata[0] >> 1) & 3) + 1, frozenset({b""})


class _Mpeg12:
    def __init__(self) -> None:
        self._fields = _Fields()

    def __call__(self, packet: bytes) -> PacketFacts:
        picture = packet.find(_PICTURE)
        if picture < 0:
            return HIDDEN if packet.startswith(_SEQUENCE_END) else PLAIN
        is_intra = (packet[picture + 5] >> 3) & 7 == 1
        parities = _read_mpeg2_parities(packet, picture)
        second = self._fields.completes(parities)
        has_sequence = 0 <= packet.find(_SEQUENCE, 0, picture) < picture
        return PacketFacts(is_intra and has_sequence and not second, is_intra, False, bool(parities), second)


def _read_mpeg2_parities(packet: bytes, picture: int) -> tuple[int, ...]:
    """Return the parity of the only field in a packet; empty for a frame or two fields (13818-2, 6.2.3.1)."""
    extension = packet.find(_EXTENSION, picture, picture + 64)
    if extension < 0 or packet[extension + 4] >> 4 != _CODING_EXTENSION:
        return ()
    structure = packet[extension + 6] & 3
    if structure not in {1, 2} or packet.find(_PICTURE, picture + 4) >= 0:
        return ()
    return (structure - 1,)


class _Mpeg4:
    def __init__(self, extradata: bytes) -> None:
        self._layer = _find_layer(extradata)
        self._parameters = _Parameters(frozenset({self._layer} - {b""}))
        self.is_packed = _PACKED.search(extradata) is not None

    def __call__(self, packet: bytes) -> PacketFacts:
        picture = packet.find(_VOP)
        if picture < 0:
            return HIDDEN if packet.startswith(_VISUAL_END) else PLAIN
        layer = _find_layer(packet[:picture])
        complete = self._parameters.are_complete(frozenset({layer} - {b""}))
        self._layer = layer or self._layer
        self.is_packed = self.is_packed or _PACKED.search(packet, 0, picture) is not None
        is_intra = packet[picture + 4] >> 6 == 0
        if not self._is_coded(packet[picture + 4 :]):
            return PLAIN if self.is_packed else HIDDEN
        return PacketFacts(is_entry=is_intra and complete and not self.is_packed)

    def _is_coded(self, picture: bytes) -> bool:
        """Return False for a frame that repeats the one before: vop_coded (14496-2, 6.2.5)."""
        bits = BitReader(picture[:16])
        bits.read(2)
        while bits.read(1):  # modulo_time_base
            pass
        bits.read(1 + _count_time_bits(self._layer) + 1)
        return bool(bits.read(1))


def _find_layer(data: bytes) -> bytes:
    """Return the video object layer header in ``data``; empty if it has none (14496-2, 6.2.3)."""
    place = data.find(START_CODE)
    while place >= 0:
        end = data.find(START_CODE, place + 3)
        if place + 3 < len(data) and data[place + 3] >> 4 == 2:
            return data[place : end if end >= 0 else len(data)]
        place = end
    return b""


def _count_time_bits(layer: bytes) -> int:
    """Return the size of vop_time_increment under a video object layer header."""
    bits = BitReader(layer[4:])
    bits.read(1 + 8)
    version = 1
    if bits.read(1):
        version = bits.read(4)
        bits.read(3)
    if bits.read(4) == 15:  # aspect ratio in full
        bits.read(16)
    if bits.read(1):
        bits.read(3)
        bits.read(79 if bits.read(1) else 0)
    if bits.read(2) == 3 and version != 1:  # grayscale shape
        bits.read(4)
    bits.read(1)
    return max(1, (bits.read(16) - 1).bit_length())


def _inspect_h263(packet: bytes) -> PacketFacts:
    bits = BitReader(packet[:16])
    is_start = bits.read(22) == 0x20
    bits.read(8 + 5)
    if bits.read(3) != 7:  # source format
        return PacketFacts(is_start and not bits.read(1))
    if bits.read(3) != 1:  # without OPPTYPE the frame depends on an earlier one
        return PLAIN
    bits.read(18)
    return PacketFacts(is_start and not bits.read(3))


def _inspect_flv1(packet: bytes) -> PacketFacts:
    bits = BitReader(packet[:16])
    is_start = bits.read(17) == 1
    bits.read(5 + 8)
    bits.read({0: 16, 1: 32}.get(bits.read(3), 0))
    return PacketFacts(is_start and not bits.read(2))


def _inspect_svq1(packet: bytes) -> PacketFacts:
    bits = BitReader(packet[:4])
    bits.read(30)
    return PacketFacts(not bits.read(2))


def _inspect_msmpeg4v1(packet: bytes) -> PacketFacts:
    bits = BitReader(packet[:8])
    is_start = bits.read(32) == 0x100
    bits.read(5)
    return PacketFacts(is_start and not bits.read(2))


def _inspect_vp9(packet: bytes) -> PacketFacts:
    headers = [_read_vp9_header(packet[start:]) for start in _split_vp9_packet(packet)]
    return PacketFacts(is_entry=headers[0][0], is_hidden=not any(shown for _, shown in headers))


def _split_vp9_packet(packet: bytes) -> list[int]:
    """Return the offsets of the frames in a packet: several in a superframe (VP9 bitstream, Annex B)."""
    mark = packet[-1]
    count, size = (mark & 7) + 1, ((mark >> 3) & 3) + 1
    index = len(packet) - 2 - count * size
    if mark >> 5 != 6 or index < 0 or packet[index] != mark:
        return [0]
    starts = [0]
    for number in range(count - 1):
        place = index + 1 + number * size
        starts.append(starts[-1] + int.from_bytes(packet[place : place + size], "little"))
    return [start for start in starts if start < index]


def _read_vp9_header(frame: bytes) -> tuple[bool, bool]:
    """Return (is a keyframe, is shown) of one VP9 frame."""
    bits = BitReader(frame[:2])
    bits.read(2)
    if bits.read(1) + 2 * bits.read(1) == 3:
        bits.read(1)
    if bits.read(1):  # shows an existing frame
        return False, True
    is_key = not bits.read(1)
    return is_key, bool(bits.read(1))


def _inspect_av1(packet: bytes) -> PacketFacts:
    is_still = False
    place = 0
    while place < len(packet):
        header = packet[place]
        place += 2 if header & 4 else 1
        size, place = _read_leb128(packet, place) if header & 2 else (len(packet) - place, place)
        kind = (header >> 3) & 15
        if kind == _AV1_SEQUENCE:
            is_still = bool(packet[place] & 8)
        elif kind in {_AV1_FRAME_HEADER, _AV1_FRAME}:
            # show_existing_frame, frame_type (2 bits, 0 for a keyframe), show_frame
            return PacketFacts(is_entry=is_still or packet[place] >> 4 == 1)
        place += size
    return PLAIN


def _read_leb128(packet: bytes, place: int) -> tuple[int, int]:
    """Return the integer at ``place`` and the place after it (AV1, 4.10.5)."""
    number = 0
    for shift in range(0, 56, 7):
        number |= (packet[place] & 127) << shift
        place += 1
        if packet[place - 1] < 128:
            break
    return number, place


def _inspect_dirac(packet: bytes) -> PacketFacts:
    """Inspect a VC-2 packet: all frames are intra; a sequence header comes first."""
    following = int.from_bytes(packet[5:9], "big")
    if packet[:5] == b"BBCD\x10":
        return HIDDEN
    is_sequence = packet[:5] == b"BBCD\0"
    picture = packet[following : following + 5]
    return PacketFacts(is_entry=is_sequence and picture[:4] == b"BBCD" and picture[4] in {0xE8, 0xC8})


def _accept_if(test: Callable[[bytes], bool]) -> Inspect:
    return lambda packet: ENTRY if test(packet) else PLAIN


# Codecs whose packets are all inspected, because some give no frame or a single field.
_ALWAYS_INSPECTED = frozenset({"vp8", "vp9", "mpeg2video"})
# Codecs with packets without a frame, such as the end marker; these packets are small.
_WITH_EMPTY_PACKETS = frozenset({"h264", "hevc", "vvc", "mpeg1video", "mpeg2video", "mpeg4", "dirac"})
_SMALL_BYTES = 64
_SIMPLE: dict[str, Inspect] = {
    "av1": _inspect_av1,
    "dirac": _inspect_dirac,
    "ffv1": _accept_if(lambda packet: int.from_bytes(packet[:2], "big") >= _FFV1_HALF),
    "flv1": _inspect_flv1,
    "h263": _inspect_h263,
    "h263p": _inspect_h263,
    "msmpeg4v1": _inspect_msmpeg4v1,
    "msmpeg4v2": _accept_if(lambda packet: packet[0] >> 6 == 0),
    "msmpeg4v3": _accept_if(lambda packet: packet[0] >> 6 == 0),
    "svq1": _inspect_svq1,
    "theora": _accept_if(lambda packet: packet[0] & 0xC0 == 0),
    "vp3": _accept_if(lambda packet: packet[0] & 0x80 == 0),
    "vp6": _accept_if(lambda packet: packet[0] & 0x80 == 0),
    "vp6f": _accept_if(lambda packet: packet[0] & 0x80 == 0),
    "vp8": lambda packet: PacketFacts(is_entry=packet[0] & 1 == 0, is_hidden=packet[0] & 16 == 0),
    "vp9": _inspect_vp9,
    "wmv1": _accept_if(lambda packet: packet[0] >> 6 == 0),
    "wmv2": _accept_if(lambda packet: packet[0] >> 7 == 0),
    "zmbv": _accept_if(lambda packet: packet[0] & 1 == 1),
}


def _create_inspector(codec: str, extradata: bytes) -> Inspect | None:
    """Return the inspector for packets of ``codec``; None if there is none."""
    if codec == "h264":
        return _H264(extradata)
    if codec in {"hevc", "vvc"}:
        return _Layered(extradata, codec == "vvc")
    if codec in {"mpeg1video", "mpeg2video"}:
        return _Mpeg12()
    if codec == "mpeg4":
        return _Mpeg4(extradata)
    if codec == "mjpeg":
        return _accept_if(JpegTables().is_independent)
    return _SIMPLE.get(codec)
