"""The estimated size of a cleaned video."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.media.segment_stages.size import estimate_video_bytes
from tasks.media.segments.codecs import Codec
from tasks.overlays.work import PlannedVideo

# At the default quality, rather too high than too low.
_BITS_PER_PIXEL: Mapping[Codec, float] = {"x264": 0.4, "x265": 0.3, "svtav1": 0.25}


def estimate_cleaned_bytes(planned: PlannedVideo) -> int:
    """Return the estimated size of the cleaned video, which is also that of all its segments together."""
    picture, path = planned.prepared.picture, planned.prepared.path
    frames = planned.segments[-1].end_frame if planned.segments else 0
    pixels = picture.width_px * picture.height_px * frames
    carried = path.stat().st_size  # audio and whatever else the file holds
    return estimate_video_bytes(planned.work.encoder, pixels, _BITS_PER_PIXEL) + carried
