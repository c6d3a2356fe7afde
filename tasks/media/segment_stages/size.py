"""The estimated size of an encoded video."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.media.segments.codecs import Codec
from tasks.media.segments.settings import EncoderSettings

_LOSSLESS_BITS_PER_PIXEL = 12.0


def estimate_video_bytes(settings: EncoderSettings, pixels: int, bits_per_pixel: Mapping[Codec, float]) -> int:
    """Return the estimated size of ``pixels`` encoded pixels, all frames counted; more rather than less.

    ``bits_per_pixel`` holds the codecs' values at the usual quality; without a CRF the video is lossless.
    """
    bits = _LOSSLESS_BITS_PER_PIXEL if settings.crf is None else bits_per_pixel[settings.codec]
    return int(pixels * bits / 8)
