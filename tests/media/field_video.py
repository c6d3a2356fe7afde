"""Write tiny H.264 and MPEG-2 videos whose frames are coded as two separate fields.

No free encoder does this. H.264: raw macroblocks (I_PCM), and skipped ones that repeat the previous field. MPEG-2:
intra fields of uniform gray, and skipped ones.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet

WIDTH_PX, HEIGHT_PX = 32, 32
RATE = 25
_START = b"\0\0\0\1"


class Bits:
    """Writes bit fields, most significant bit first; u and ue are the descriptors of the standards."""

    def __init__(self) -> None:
        self.text = ""

    def u(self, bits: int, value: int) -> Bits:
        self.text += format(value, f"0{bits}b")
        return self

    def ue(self, *values: int) -> Bits:
        for value in values:
            code = format(value + 1, "b")
            self.text += "0" * (len(code) - 1) + code
        return self

    def align(self, bit: str = "0") -> Bits:
        self.text += bit * (-len(self.text) % 8)
        return self

    def data(self) -> bytes:
        return int(self.text, 2).to_bytes(len(self.text) // 8, "big")


def encode_h264_fields(
    frames: int, group: int, seed: int = 0, recovery: bool = False, disposable: bool = False
) -> list[bytes]:
    """Return the fields of ``frames`` frames, top first, with an IDR frame every ``group`` frames.

    ``recovery`` codes these, except the first, as intra frames with a recovery point instead. ``disposable`` makes
    every second frame unreferenced.
    """
    rng = random.Random(seed)
    fields = []
    number, was_reference = 0, False
    for frame in range(frames):
        is_first = frame % group == 0
        is_idr = is_first and (frame == 0 or not recovery)
        number = 0 if is_idr else number + was_reference
        was_reference = not (disposable and frame % 2)
        raw = [bytes(rng.randrange(256) for _ in range(384)) for _ in range(2)]
        head = (_make_unit(7, _make_sps()) + _make_unit(8, _make_pps())) if is_first else b""
        head += _make_unit(6, b"\6\1\xc4\x80") if is_first and not is_idr else b""
        fields.append(head + _make_slice(number, False, is_first, is_idr, raw, was_reference))
        fields.append(_make_slice(number, True, False, False, raw[::-1] if is_first else None, was_reference))
    return fields


def _make_unit(kind: int, payload: bytes, is_reference: bool = True) -> bytes:
    escaped = bytearray()
    for byte in payload:
        if byte <= 3 and escaped[-2:] == b"\0\0":
            escaped.append(3)
        escaped.append(byte)
    return _START + bytes([(0x60 if is_reference and kind != 6 else 0) | kind]) + bytes(escaped)


def _make_sps() -> bytes:
    bits = Bits().u(8, 77).u(8, 0).u(8, 30).ue(0, 0, 2, 2).u(1, 0)  # Main; frame_num of 4 bits; order as decoded
    bits.ue(WIDTH_PX // 16 - 1, HEIGHT_PX // 32 - 1).u(1, 0).u(1, 0).u(1, 1).u(1, 0).u(1, 0)
    return bits.u(1, 1).align().data()


def _make_pps() -> bytes:
    bits = Bits().ue(0, 0).u(2, 0).ue(0, 0, 0).u(3, 0).ue(0, 0, 0).u(3, 0b100)
    return bits.u(1, 1).align().data()


def _make_slice(
    number: int, is_bottom: bool, is_intra: bool, is_idr: bool, raw: Sequence[bytes] | None, is_reference: bool
) -> bytes:
    """Return a field: raw macroblocks or, with None, skipped ones."""
    bits = Bits().ue(0, 7 if is_intra else 5, 0).u(4, number % 16).u(1, 1).u(1, is_bottom)
    if is_idr:
        bits.ue(0)
    if not is_intra:
        bits.u(1, 0).u(1, 0)
    if is_reference:
        bits.u(2 if is_idr else 1, 0)
    bits.ue(0, 1)  # quantizer, no deblocking
    for pixels in raw or ():
        if not is_intra:
            bits.ue(0)
        bits.ue(25 if is_intra else 30).align()
        bits.text += "".join(format(pixel, "08b") for pixel in pixels)
    if raw is None:
        bits.ue(2)
    return _make_unit(5 if is_idr else 1, bits.u(1, 1).align().data(), is_reference)


def encode_mpeg2_fields(frames: int, group: int, seed: int = 0) -> list[bytes]:
    """Return the fields of ``frames`` frames, top first, with a sequence header and an intra field every ``group``.

    The top fields of other frames are intra fields too; the bottom fields repeat the one before.
    """
    rng = random.Random(seed)
    fields = []
    for frame in range(frames):
        is_first = frame % group == 0
        grays = [rng.choice([-1, 1]) * rng.randrange(1, 60) for _ in range(2)]
        head = _make_mpeg2_sequence() if is_first else b""
        fields.append(head + _make_mpeg2_field(frame % group, 1, is_first, grays[0]))
        fields.append(_make_mpeg2_field(frame % group, 2, False, grays[1] if is_first else None))
    return fields


def _make_mpeg2_sequence() -> bytes:
    size = Bits().u(12, WIDTH_PX).u(12, HEIGHT_PX).u(4, 1).u(4, 3).u(18, 5000).u(1, 1).u(10, 20).u(3, 0)
    extension = Bits().u(4, 1).u(8, 0x48).u(1, 0).u(2, 1).u(4, 0).u(12, 0).u(1, 1).u(8, 0).u(1, 0).u(7, 0).align()
    return b"\0\0\1\xb3" + size.data() + b"\0\0\1\xb5" + extension.data()


def _make_mpeg2_field(number: int, structure: int, is_intra: bool, gray: int | None) -> bytes:
    """Return a uniform field; ``gray`` is an offset from 128, None repeats the previous field."""
    header = Bits().u(10, number).u(3, 1 if is_intra else 2).u(16, 0xFFFF)
    if not is_intra:
        header.u(1, 0).u(3, 7)
    coding = Bits().u(4, 8).u(8, 0xFF if is_intra else 0x11).u(8, 0xFF).u(2, 0).u(2, structure)
    coding.u(10, 0).u(2, 0).align()
    cells = Bits().u(5, 8).u(1, 0)
    for cell in range(WIDTH_PX // 16):
        cells.u(1, 1)  # the next macroblock
        if gray is None:
            cells.u(3, 1).u(2, 1).u(1, structure - 1).u(2, 3)  # not coded, field motion from the same parity, 0
            continue
        cells.u(1, 1) if is_intra else cells.u(5, 3)
        for block in range(6):
            if block == cell == 0:
                _write_dc(cells, gray)
            else:
                cells.u(3, 4) if block < 4 else cells.u(2, 0)
            cells.u(2, 2)
    return (
        b"\0\0\1\0" + header.u(1, 0).align().data() + b"\0\0\1\xb5" + coding.data() + b"\0\0\1\1" + cells.align().data()
    )


def _write_dc(cells: Bits, difference: int) -> None:
    """Write the size and the value of a luma difference of 1 to 63 (13818-2, tables B.12 and 7.2.1)."""
    size = max(1, abs(difference).bit_length())
    code = {1: "00", 2: "01", 3: "101", 4: "110", 5: "1110", 6: "11110"}[size]
    cells.text += code
    cells.u(size, difference if difference > 0 else difference + (1 << size) - 1)


def write_fields(path: Path, fields: Sequence[bytes], keyframes: set[int], codec: str = "h264") -> Path:
    """Write each of ``fields`` as a packet, those at ``keyframes`` flagged; the two of a frame 20 ms apart."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec if codec != "h264" else "libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        for number, field in enumerate(fields):
            packet = Packet(field)
            packet.stream, packet.time_base = stream, Fraction(1, 2 * RATE)
            packet.pts = packet.dts = number
            packet.duration = 1
            packet.is_keyframe = number in keyframes
            container.mux(packet)
    return path
