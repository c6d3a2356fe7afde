"""What the user may choose about a tape: for all of them, and for each one on a line of its own."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.media.segments.settings import Codec

Deinterlace = Literal["auto", "bwdif", "nnedi", "estdif", "none"]
EngineName = Literal["ffmpeg", "neural", "command"]
_MOST_CRF = 51  # of x264 and x265; SVT-AV1 goes to 63
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

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.codec == "ffv1" and self.crf is not None:
            raise ValueError("ffv1 is lossless and has no crf: leave crf out")
        if self.codec in {"x264", "x265"} and self.crf is not None and self.crf > _MOST_CRF:
            raise ValueError(f"crf of {self.codec} is at most {_MOST_CRF}, not {self.crf:g}")
        return self
