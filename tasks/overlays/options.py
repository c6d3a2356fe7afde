"""The options of overlay_removal."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from tasks.media.programs.template import build_pattern
from tasks.media.segments.codecs import Crf

Detector = Literal["static", "yolo", "mask"]
Method = Literal["auto", "unblend", "temporal", "spatial", "command"]
Device = Literal["cpu", "gpu"]
OutputCodec = Literal["x264", "x265", "svtav1", "lossless"]
COMMAND_PLACEHOLDERS = ("input", "masks", "output")  # required in a command
Segments: TypeAlias = Annotated[int, Field(ge=1, le=10_000)] | Literal["auto"]
SegmentFrames: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)]
Score: TypeAlias = Annotated[float, Field(ge=0.01, le=1)]
Devices: TypeAlias = Annotated[int, Field(ge=1, le=1024)]
# The patterns make Prefect's form reject other texts at once: a box, or a path, which has a dot or a slash.
_NUMBER = r"\s*[0-9]{1,5}\s*"
_BOX = rf"{_NUMBER},{_NUMBER},{_NUMBER}[xX]{_NUMBER}"
MaskText: TypeAlias = Annotated[str, WithJsonSchema({"type": "string", "pattern": rf"^({_BOX}|.*[./].*)$"})]
BoxText: TypeAlias = Annotated[str, WithJsonSchema({"type": "string", "pattern": rf"^{_BOX}$"})]
_SECONDS = r"\s*[0-9]{1,7}(\.[0-9]{1,6})?\s*"
TimesText: TypeAlias = Annotated[str, WithJsonSchema({"type": "string", "pattern": rf"^{_SECONDS}-{_SECONDS}$"})]
ClassName: TypeAlias = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"\S"})]
CommandText: TypeAlias = Annotated[
    str, WithJsonSchema({"type": "string", "pattern": build_pattern(COMMAND_PLACEHOLDERS)})
]


class PrepareParams(BaseModel):
    """Options of the detection.

    mask   a box as the user wrote it; an image is an input of the items
    score  minimum score of a model's box
    skip   boxes of detected overlays that stay in the video
    add    boxes of further overlays; the last ``added_images`` inputs of the items are images of others
    times  parts of the video, as START-END in seconds; empty for all of it
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: Detector = "static"
    mask: str = ""
    score: Score = 0.4
    classes: tuple[str, ...] = ()
    device: Device = "cpu"
    skip: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    added_images: int = 0
    times: tuple[str, ...] = ()


class CleaningOptions(BaseModel):
    """Options of the removal and of the output encoding.

    command  the program of the method ``command`` with its arguments; empty for other methods
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = "auto"
    segments: Segments = "auto"
    min_segment_frames: SegmentFrames = 60
    codec: OutputCodec = "x264"
    crf: Crf | None = None
    command: str = ""
