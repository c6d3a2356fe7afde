"""Options of the landmarks stage."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from tasks.landmarks.points import ModelKind
from tasks.media.damage import OnDamage

LandmarkFormat = Literal["npy", "npz", "pose", "parquet"]
Normalization = Literal["none", "shoulders"]
Device = Literal["cpu", "gpu"]
FillGaps = Annotated[int, Field(ge=0, le=1000)]
# Prefect's form rejects other texts at once: a path has a dot or a slash.
ModelName = Annotated[
    str, WithJsonSchema({"type": "string", "pattern": f"^({'|'.join(get_args(ModelKind))}|.*[./].*)$"})
]


class LandmarkParams(BaseModel):
    """Parameters that affect the landmarks of a sample; all of them enter its key.

    fill_gaps  maximum number of consecutive frames to fill, per part; 0 fills no gaps
    on_damage  unreadable frames are kept without points ("skip"), or fail the sample
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ModelKind = "holistic"
    format: LandmarkFormat = "npz"
    fill_gaps: FillGaps = 0
    rescue_hands: bool = False
    normalize: Normalization = "none"
    overlay: bool = False
    device: Device = "cpu"
    on_damage: OnDamage = "skip"
