"""The record of one upload. Everything else about it is in its folder, or in Prefect."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

FlowKey = Literal["overlays", "tapes", "frames"]
Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Pixels = Annotated[int, Field(ge=0, le=1 << 16)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Video(_Record):
    """Properties of a video that was opened; sizes as shown, in pixels."""

    width: int
    height: int
    seconds: float
    frames: int
    suffix: str


class BoxChoice(_Record):
    """A box in the frame as shown, in pixels."""

    x: Pixels
    y: Pixels
    width: Annotated[int, Field(ge=1, le=1 << 16)]
    height: Annotated[int, Field(ge=1, le=1 << 16)]

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width}x{self.height}"


class TimeRange(_Record):
    """Part of a video, in seconds."""

    start: Seconds
    end: Seconds

    def __str__(self) -> str:
        return f"{self.start:g}-{self.end:g}"


class Choice(_Record):
    """Overlays to remove: those that were detected except ``skip``, and the boxes and the mask of the user.

    times   only in these parts; empty for the whole video
    mask    True if the user painted a mask, which is stored beside the video
    """

    skip: Annotated[tuple[BoxChoice, ...], Field(max_length=500)] = ()
    boxes: Annotated[tuple[BoxChoice, ...], Field(max_length=100)] = ()
    times: Annotated[tuple[TimeRange, ...], Field(max_length=100)] = ()
    mask: bool = False


class Upload(_Record):
    """One upload.

    name        as the user calls the file; never a path on this machine
    size_bytes  of the whole file
    video       its properties; None until it is complete and has been opened
    refusal     why it is no video; its data are removed
    changed_at  of the last change by the user, from which the expiry counts
    deleting    it is removed as soon as its run has ended
    """

    id: str
    owner: str
    name: str
    size_bytes: int
    flow: FlowKey
    preset: str
    created_at: float
    changed_at: float
    video: Video | None = None
    refusal: str = ""
    choice: Choice = Choice()
    deleting: bool = False

    @property
    def tag(self) -> str:
        """The tag of its runs in Prefect."""
        return f"upload:{self.id}"
