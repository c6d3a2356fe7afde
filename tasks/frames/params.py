"""What the user may choose about frames. All of it enters the key."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tasks.media.damage import OnDamage

Strategy = Literal["support-then-uniform", "uniform", "support"]
ImageFormat = Literal["jpg", "png", "webp"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

MAX_SIDE_PX = 16_384
_RESIZE = re.compile(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?")


def _checked_resize(value: object) -> object:
    """``value`` as text where it names a size, else a ValueError that says what may stand there."""
    text = str(value) if isinstance(value, int) else value
    if not isinstance(text, str):
        return text
    match = _RESIZE.fullmatch(text)
    if match is None or any(int(side) > MAX_SIDE_PX for side in match.groups() if side):
        raise ValueError(
            f"{text!r} is no size: give WIDTHxHEIGHT such as 640x360, or the longest side in pixels such as 512,"
            f" each from 1 to {MAX_SIDE_PX}"
        )
    return text


Resize = Annotated[str, BeforeValidator(_checked_resize)]


class FramesParams(BaseModel):
    """Which frames are taken of each video, and how they are stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_frames: Annotated[int, Field(ge=1, description="Frames a sample, at most")] = 8
    strategy: Annotated[
        Strategy,
        Field(description="Frames at the support timestamps first and evenly spaced ones after, or one kind alone"),
    ] = "support-then-uniform"
    image_format: Annotated[ImageFormat, Field(description="How frames are stored")] = "jpg"
    quality: Annotated[int, Field(ge=1, le=100, description="Quality of jpg and webp; png has no loss")] = 90
    resize: Annotated[
        Resize | None,
        Field(description="WIDTHxHEIGHT, or the longest side in pixels (smaller pictures stay); by default as filmed"),
    ] = None
    on_damage: Annotated[
        OnDamage, Field(description="Damaged or missing frames: skip and report them, or fail the video")
    ] = "skip"
    verify_frames: Annotated[
        Share, Field(description="Share of a video's frames that are compared with a decode of the whole video")
    ] = 0.0
