"""What the user may choose about a tape: for all of them, and for each one on a line of its own."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from tasks.media.segments.settings import Codec

Deinterlace = Literal["auto", "bwdif", "nnedi", "estdif", "none"]
EngineName = Literal["ffmpeg", "command"]
Height: TypeAlias = Annotated[int, Field(ge=120, le=4320, multiple_of=2)]
Crf: TypeAlias = Annotated[float, Field(ge=0, le=63)]
SegmentSeconds: TypeAlias = Annotated[float, Field(ge=2, le=3600)]


class TapeOptions(BaseModel):
    """How one tape is to be restored; what is None is the preset's matter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str = "vhs_standard"
    height: Height | None = None
    crf: Crf | None = None
    codec: Codec | None = None
    engine: EngineName = "ffmpeg"
    deinterlace: Deinterlace = "auto"
    segment_seconds: SegmentSeconds | None = None
