"""The estimated size of a restored tape."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.media.segment_stages.size import estimate_video_bytes
from tasks.media.segments.codecs import Codec
from tasks.restoration.planning import PlannedTape

# At the quality of the presets, rather too high than too low.
_BITS_PER_PIXEL: Mapping[Codec, float] = {"x264": 0.35, "x265": 0.25, "svtav1": 0.2}
_AUDIO_BYTES_PER_SECOND = 200_000  # uncompressed


def estimate_tape_bytes(planned: PlannedTape) -> int:
    """Return the estimated size of the restored tape, which is also that of all its segments together."""
    chain = planned.work.chain
    pixels = chain.width_px * chain.height_px * planned.frames
    audio = int(planned.diagnosed.diagnosis.duration_seconds * _AUDIO_BYTES_PER_SECOND)
    return estimate_video_bytes(planned.work.encoder, pixels, _BITS_PER_PIXEL) + audio
