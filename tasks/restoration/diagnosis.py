"""What is wrong with a tape: the words that measuring it, choosing a chain and the report share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FieldOrder = Literal["progressive", "tff", "bff"]
Telecine = Literal["none", "3:2"]


@dataclass(frozen=True)
class Window:
    """A few seconds of a tape, looked at by themselves. Shares are of the window's frames, from 0 to 1."""

    start_seconds: float
    frames: int
    tff_share: float
    bff_share: float
    progressive_share: float
    repeated_field_share: float


@dataclass(frozen=True)
class Borders:
    """Black borders of the picture, in pixels of the frame as it is stored."""

    left_px: int = 0
    right_px: int = 0
    top_px: int = 0
    bottom_px: int = 0


@dataclass(frozen=True)
class Diagnosis:
    """A tape's condition, as measured over several windows. Plain values: it goes through a record as JSON.

    width_px, height_px     of the frame as it is stored
    sample_aspect           width over height of a stored pixel, as ``16:15``
    fps                     stored frames a second, on average
    field_order             of most windows; ``progressive`` where the frames are not interlaced. In a mixed or
                            telecined tape the order of what holds fields; where nothing moves, what the file says
    interlaced_share        share of the frames that are interlaced
    is_mixed                windows disagree: some of the tape is interlaced and some is not
    telecine                ``3:2`` where 23.976 film frames a second are spread over 59.94 fields
    noise_luma, noise_chroma  standard deviation of the noise, in 8-bit codes
    chroma_shift_x_px, chroma_shift_y_px  how far the colour lies right of and below its picture, in luma pixels
    head_switching_lines    lines at the bottom that are torn by the head switch
    borders                 black borders, without those lines
    black_level             the luma code of 8 bits that black is played at; the nominal 16 where no picture shows black
    white_level             that of white, nominally 235; where none shows white, what nearly all pixels are darker than
    audio_channels, audio_rate_hz  of the first audio stream; 0 without one
    silent_channels         the one of two, from 0, in which nothing is heard while the other has sound: it is mono
    windows                 what was seen, window by window
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
