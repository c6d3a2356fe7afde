"""What a detector says of a video, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.overlays.overlay import Overlay


@dataclass(frozen=True)
class Found:
    """What a detector found in one video.

    overlays    what is to be removed, in the order in which it appears; empty where the detector abstains
    confidence  that ``overlays`` is right, 0 to 1; without overlays: that there is none
    reason      why, in one line, for the report
    """

    overlays: tuple[Overlay, ...]
    confidence: float
    reason: str
