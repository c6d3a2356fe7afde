"""The result of a detector."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.overlays.overlay import Overlay


@dataclass(frozen=True)
class Findings:
    """The overlays that a detector found in one video.

    overlays    to be removed, in order of appearance; empty if the detector abstains
    confidence  that ``overlays`` is right, 0 to 1; without overlays: that the video has none
    reason      one line for the report
    """

    overlays: tuple[Overlay, ...]
    confidence: float
    reason: str
