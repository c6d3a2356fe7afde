"""Images of 16 bits per channel, whose values often use fewer bits: cameras store 10, 12 or 14 bits in 16."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from tasks.landmarks.sequence import RgbImage

DeepImage = npt.NDArray[np.uint16]

_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH_OFFSET = 24  # of the bit depth in the first chunk, IHDR (ISO/IEC 15948, 11.2.2)
_DEPTHS = (8, 10, 12, 14, 16)
_BAND_PIXELS = 2**20


def is_deep_png(data: bytes) -> bool:
    """Return True for a PNG image of 16 bits per channel."""
    return data.startswith(_PNG) and data[_DEPTH_OFFSET : _DEPTH_OFFSET + 1] == b"\x10"


def decode_deep_png(data: bytes) -> DeepImage | None:
    """Return a PNG image of 16 bits per channel as OpenCV does: grey, BGR or BGRA; None if it is damaged."""
    decoded: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return None if decoded is None or decoded.dtype != np.uint16 else decoded


def read_significant_bits(data: bytes) -> int | None:
    """Return the number of significant bits that a PNG image states in its chunk sBIT; None if it states none."""
    offset = len(_PNG)
    while offset + 12 <= len(data):
        length, kind = int.from_bytes(data[offset : offset + 4], "big"), data[offset + 4 : offset + 8]
        if kind == b"sBIT":
            return max(data[offset + 8 : offset + 8 + min(length, 3)], default=0) or None
        if kind == b"IDAT":
            return None
        offset += 12 + length
    return None


class UsedBits:
    """The bits that the 16-bit images of one sample use: as many as the largest value needs, of 8, 10, 12, 14 or 16.

    ``bits`` never falls, so that equal values stay equal; it is None while no such image was seen.
    """

    def __init__(self) -> None:
        self.bits: int | None = None

    def learn(self, pixels: DeepImage, stated: int | None) -> None:
        """Take the largest value of an image, or the number of bits that the image states."""
        colors = pixels if pixels.ndim == 2 else pixels[..., :3]
        largest = int(colors.max(initial=0)).bit_length()
        needed = next(bits for bits in _DEPTHS if bits >= max(largest, stated or 0))
        self.bits = max(self.bits or 0, needed)

    def scale(self, pixels: DeepImage) -> RgbImage:
        """Return the upper eight of the used bits: uint8, height x width x 3, RGB.

        Grey is copied to all channels, and transparency is blended with black.
        """
        height, width = pixels.shape[:2]
        scaled = np.empty((height, width, 3), np.uint8)
        rows = max(1, _BAND_PIXELS // width)
        for top in range(0, height, rows):  # a band at a time, because copies of a large image need much memory
            band = pixels[top : top + rows]
            upper = (_blend(band) >> ((self.bits or 16) - 8)).astype(np.uint8)
            scaled[top : top + rows] = upper[:, :, None] if upper.ndim == 2 else upper[..., ::-1]
        return scaled


def _blend(pixels: DeepImage) -> DeepImage:
    """Return grey or BGR pixels, blended with black if they are transparent."""
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return pixels
    blended: DeepImage = ((pixels[..., :3] * pixels[..., 3:].astype(np.uint32) + 32767) // 65535).astype(np.uint16)
    return blended
