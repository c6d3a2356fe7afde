"""How large a cleaned video will be."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.media.segments.settings import Codec
from tasks.overlays.work import PlannedVideo

# Bits a pixel at the quality that is usual here, on the high side; lossless is told by the options.
_BITS_A_PIXEL: Mapping[Codec, float] = {"x264": 0.4, "x265": 0.3, "svtav1": 0.25, "ffv1": 12.0}
_LOSSLESS_BITS_A_PIXEL = 12.0


def cleaned_bytes(planned: PlannedVideo) -> int:
    """About how large the cleaned video will be, and so all of its segments together."""
    encoder, picture = planned.work.encoder, planned.prepared.picture
    bits = _LOSSLESS_BITS_A_PIXEL if encoder.crf is None else _BITS_A_PIXEL[encoder.codec]
    frames = planned.segments[-1].end_frame if planned.segments else 0
    own = int(picture.width_px * picture.height_px * frames * bits / 8)
    return own + planned.prepared.path.stat().st_size  # whatever else is in the file is carried
