"""The diagnosis of a tape, as used by the measurements, the filter chain and the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FieldOrder = Literal["progressive", "tff", "bff"]
Telecine = Literal["none", "3:2"]


@dataclass(frozen=True)
class Window:
    """A few seconds of a tape, measured separately. Shares are fractions of the window's frames, from 0 to 1."""

    start_seconds: float
    frames: int
    tff_share: float
    bff_share: float
    progressive_share: float
    repeated_field_share: float


@dataclass(frozen=True)
class Borders:
    """Black borders in pixels of the stored frame."""

    left_px: int = 0
    right_px: int = 0
    top_px: int = 0
    bottom_px: int = 0


@dataclass(frozen=True)
class Diagnosis:
    """The condition of a tape, measured over several windows. Plain values: it is stored in a record as JSON.

    width_px, height_px     size of the stored frame
    sample_aspect           width over height of a stored pixel, such as ``16:15``
    fps                     stored frames per second, on average
    field_order             order of most windows; ``progressive`` if the frames are not interlaced. In a mixed or
                            telecined tape, the order of the interlaced part; without motion, the order in the file
    interlaced_share        share of the frames that are interlaced
    is_mixed                windows disagree: part of the tape is interlaced and part is not
    telecine                ``3:2`` if film at 23.976 frames per second is spread over 59.94 fields
    noise_luma, noise_chroma  standard deviation of the noise, in 8-bit codes
    chroma_shift_x_px, chroma_shift_y_px  displacement of chroma to the right and downward, in luma pixels
    head_switching_lines    lines at the bottom that the head switch tears
    borders                 black borders, without those lines
    black_level             8-bit luma code of black; the nominal 16 if no frame shows black
    white_level             8-bit luma code of white, nominally 235; a high percentile of luma if no frame shows white
    audio_channels, audio_rate_hz  of the first audio stream; 0 without one
    silent_channels         the silent channel of two, from 0, if the other one has audio: the recording is mono
    windows                 the measurements per window
    """

    width_px: int
    height_px: int
    sample_aspect: str
    fps: float
    frames: int
    duration_seconds: float
    field_order: FieldOrder
    interlaced_share: float
    is_mixed: bool
    telecine: Telecine
    noise_luma: float
    noise_chroma: float
    chroma_shift_x_px: float
    chroma_shift_y_px: float
    head_switching_lines: int
    borders: Borders
    black_level: float
    white_level: float
    audio_channels: int
    audio_rate_hz: int
    silent_channels: tuple[int, ...]
    windows: tuple[Window, ...]
