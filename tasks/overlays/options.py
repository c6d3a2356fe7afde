"""The options of overlay_removal."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from tasks.media.segments.codecs import Crf

Detector = Literal["static", "yolo", "mask"]
Method = Literal["auto", "unblend", "temporal", "spatial", "command"]
Device = Literal["cpu", "gpu"]
OutputCodec = Literal["x264", "x265", "svtav1", "lossless"]
Segments: TypeAlias = Annotated[int, Field(ge=1, le=10_000)] | Literal["auto"]
Score: TypeAlias = Annotated[float, Field(ge=0.01, le=1)]
Devices: TypeAlias = Annotated[int, Field(ge=1, le=1024)]


class PrepareParams(BaseModel):
    """Options of the detection.

    mask   a box as the user wrote it; an image is an input of the items
    score  minimum score of a model's box
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: Detector = "static"
    mask: str = ""
    score: Score = 0.4
    classes: tuple[str, ...] = ()
    device: Device = "cpu"


class CleaningOptions(BaseModel):
    """Options of the removal and of the output encoding.

    command  the program of the method ``command`` with its arguments; empty for other methods
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = "auto"
    segments: Segments = "auto"
    min_segment_frames: Annotated[int, Field(ge=1, le=1_000_000)] = 60
    codec: OutputCodec = "x264"
    crf: Crf | None = None
    command: str = ""
