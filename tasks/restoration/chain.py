"""What is done to a tape's frames: a chain of filters, each with the reason for which it is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Step:
    """One of FFmpeg's filters. ``reason`` is one clause for people: what was measured or asked for."""

    filter: str
    options: Mapping[str, str]
    reason: str


@dataclass(frozen=True)
class Chain:
    """The filters in order, and what comes out of them.

    ratio            frames written for each frame read: 2 where fields become frames, 4/5 where telecine is undone
    context_frames   frames on both sides of a segment that filters which look around need
    width_px, height_px  of the written frames; their samples are square unless ``sample_aspect`` says otherwise
    interlaced       whether fields are kept
    pixel_format     of the written frames
    color_matrix     bt709 or smpte170m or bt470bg, of the written frames
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
