"""Options of the frames stage. All of them enter the key."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from tasks.media.damage import OnDamage

Strategy = Literal["support-then-uniform", "uniform", "support"]
ImageFormat = Literal["jpg", "png", "webp"]
Format = Literal["jsonl", "parquet", "webdataset", "imagefolder"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

MAX_SIDE_PX = 16_384
_RESIZE = re.compile(r"([1-9][0-9]{0,4})(?:x([1-9][0-9]{0,4}))?")
_SHARE = r"\s*[A-Za-z0-9][A-Za-z0-9_]{0,39}\s*=\s*([0-9]+\.?[0-9]*|\.[0-9]+)([eE]-?[0-9]+)?\s*"


def _check_resize(value: object) -> object:
    """Return ``value`` as text if it is a size. Raises ValueError with the allowed forms."""
    text = str(value) if isinstance(value, int) else value
    if not isinstance(text, str):
        return text
    match = _RESIZE.fullmatch(text)
    if match is None or any(int(side) > MAX_SIDE_PX for side in match.groups() if side):
        raise ValueError(
            "use WIDTHxHEIGHT, such as 640x360, or the longest side in pixels, such as 512"
            f" (each from 1 to {MAX_SIDE_PX})"
        )
    return text


# The patterns make Prefect's form reject other texts at once. The flow checks more, such as the sum of the shares.
Resize = Annotated[
    str, BeforeValidator(_check_resize), WithJsonSchema({"type": "string", "pattern": f"^{_RESIZE.pattern}$"})
]
SplitShares = Annotated[str, WithJsonSchema({"type": "string", "pattern": rf"^(\s*|{_SHARE}(,{_SHARE})*)$"})]


class FramesParams(BaseModel):
    """Options for selecting frames and for their image files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_frames: Annotated[int, Field(ge=1, description="Maximum frames per sample")] = 8
    strategy: Annotated[
        Strategy,
        Field(description="Frames at support timestamps, then evenly spaced frames, or one of the two"),
    ] = "support-then-uniform"
    image_format: Annotated[ImageFormat, Field(description="Image format of the frames")] = "jpg"
    quality: Annotated[int, Field(ge=1, le=100, description="Quality of jpg and webp; png is lossless")] = 90
    resize: Annotated[
        Resize | None,
        Field(description="WIDTHxHEIGHT, or the longest side in pixels (never enlarges); by default the video's size"),
    ] = None
    on_damage: Annotated[
        OnDamage, Field(description="How to handle damaged or missing frames: skip and report them, or fail the video")
    ] = "skip"
    verify_frames: Annotated[Share, Field(description="Share of frames to compare with a full decode of the video")] = (
        0.0
    )
