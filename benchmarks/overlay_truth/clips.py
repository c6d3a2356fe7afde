"""The clips for overlays: real ones, of many scenes, of one, and nearly without motion."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Clip:
    """A part of a clean video: ``frames`` of ``file`` from ``start_frame`` on.

    diverse   the background at a corner changes enough to distinguish it from an overlay
    bars_px   width of the black bar at each side, even; overlays are placed between them
    """

    name: str
    file: str
    start_frame: int
    frames: int
    diverse: bool = True
    bars_px: int = 0


CLIPS = (
    Clip("bikes", "skv_bikes.mp4", 0, 250),  # seven cuts
    Clip("city", "kivy_cityCC0.mpg", 0, 190),  # 720x405: an odd number of lines; one cut
    Clip("nasa", "nasa_13013.mp4", 0, 240),  # 320x180, one cut
    Clip("nasa10", "nasa_13013_hdr.mp4", 0, 240),  # the same in 10 bits
    Clip("chaplin", "mpy_chaplin.mp4", 0, 200, bars_px=74),  # gray, a static camera
    Clip("road", "dash_solidWhiteRight.mp4", 0, 200),  # one shot from a driving car
    Clip("bunny", "skv_bigbuckbunny.mp4", 0, 132),  # 1280x720, drawn, moves slowly
    Clip("box", "cv_box.mp4", 0, 240, diverse=False),  # a table, a hand
    Clip("slides", "v2d_test_video.mp4", 480, 120, diverse=False),  # 1920x1080, hardly any motion
)


def get_clip(name: str) -> Clip:
    """Return the clip of that name. Raises KeyError if it does not exist."""
    return {clip.name: clip for clip in CLIPS}[name]


def get_shared_folder() -> Path:
    """Return the folder of the clips: next to the checkout, or HEADRACE_SHARED."""
    beside = Path(__file__).resolve().parents[2].parent / "shared"
    return Path(os.environ.get("HEADRACE_SHARED") or beside) / "data/video"
