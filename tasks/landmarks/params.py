"""What the user may choose about landmarks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.landmarks.points import ModelKind
from tasks.media.damage import OnDamage

LandmarkFormat = Literal["npy", "npz", "pose", "parquet"]
Normalization = Literal["none", "shoulders"]
Device = Literal["cpu", "gpu"]
FillGaps = Annotated[int, Field(ge=0, le=1000)]


class LandmarkParams(BaseModel):
    """Parameters that the landmarks of a sample depend on; all of them enter its key.

    fill_gaps  most frames in a row that are filled in from both sides, per part; 0 fills nothing
    on_damage  frames that cannot be read keep their place without points ("skip"), or fail the sample
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
