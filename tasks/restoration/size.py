"""How large a restored tape will be."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.media.segments.settings import Codec
from tasks.restoration.planning import PlannedTape

# Bits a pixel of a restored tape at the quality that presets ask for, on the high side.
_BITS_A_PIXEL: Mapping[Codec, float] = {"x264": 0.35, "x265": 0.25, "svtav1": 0.2, "ffv1": 12.0}
_SOUND_BYTES_A_SECOND = 200_000  # as it is, uncompressed


def restored_bytes(planned: PlannedTape) -> int:
    """About how large the restored video will be, and so all of its segments together."""
    chain, codec = planned.work.chain, planned.work.encoder.codec
    pixels = chain.width_px * chain.height_px * planned.frames
    return int(pixels * _BITS_A_PIXEL[codec] / 8 + planned.diagnosed.diagnosis.duration_seconds * _SOUND_BYTES_A_SECOND)
