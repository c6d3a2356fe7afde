"""The options of a tape: the same for all tapes, or per tape in the settings table."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.media.segments.codecs import MAX_CRF, Codec, Crf
from tasks.restoration.presets import Deinterlace

EngineName = Literal["ffmpeg", "neural", "command"]
Height: TypeAlias = Annotated[int, Field(ge=120, le=4320, multiple_of=2)]
SegmentSeconds: TypeAlias = Annotated[float, Field(ge=2, le=3600)]


class TapeOptions(BaseModel):
    """Options for one tape; None means the preset's value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str = "vhs_standard"
    height: Height | None = None
    crf: Crf | None = None
    codec: Codec | None = None
    engine: EngineName = "ffmpeg"
    deinterlace: Deinterlace = "auto"
    segment_seconds: SegmentSeconds | None = None

    @model_validator(mode="after")
    def _check_crf(self) -> Self:
        if self.codec == "ffv1" and self.crf is not None:
            raise ValueError("ffv1 is lossless and has no crf: leave crf out")
        if self.codec is not None and self.crf is not None and self.crf > MAX_CRF[self.codec]:
            raise ValueError(f"crf of {self.codec} is at most {MAX_CRF[self.codec]}, not {self.crf:g}")
        return self
