"""A chain of filters that restores the frames of a tape; each filter has its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Step:
    """An FFmpeg filter. ``reason`` is one clause for people: the measurement or request behind it."""

    filter: str
    options: Mapping[str, str]
    reason: str


@dataclass(frozen=True)
class Chain:
    """The filters in order, and the format of the frames that they write.

    ratio            frames written per frame read: 2 if fields become frames, 4/5 after inverse telecine
    context_frames   extra frames on both sides of a segment, for filters that use neighboring frames
    width_px, height_px  size of the written frames; pixels are square unless ``sample_aspect`` says otherwise
    interlaced       True if fields are kept
    color_matrix     bt709, smpte170m or bt470bg
    """

    steps: tuple[Step, ...]
    ratio: Fraction
    context_frames: int
    width_px: int
    height_px: int
    sample_aspect: str
    interlaced: bool
    pixel_format: str
    color_matrix: str
