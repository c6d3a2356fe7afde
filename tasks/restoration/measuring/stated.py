"""The diagnosis of a tape from the tags of its file, without measurements."""

from __future__ import annotations

from pathlib import Path

from tasks.media.segments.source import Survey
from tasks.restoration.diagnosis import Borders, Diagnosis, FieldOrder
from tasks.restoration.measuring.audio import measure_audio
from tasks.restoration.measuring.levels import NOMINAL_BLACK, NOMINAL_WHITE

# Standard deviations in 8-bit codes, as in a home recording in fair condition.
TYPICAL_NOISE_LUMA, TYPICAL_NOISE_CHROMA = 3.0, 5.0


def read_stated_diagnosis(path: Path, survey: Survey) -> Diagnosis:
    """Return the diagnosis of the tape at ``path`` from its survey and its audio stream.

    The field order is that of the file (default: progressive), the noise that of a typical tape; no other defect is
    assumed. Raises BadInput if the file cannot be opened.
    """
    picture, timeline = survey.picture, survey.timeline
    orders: dict[str, FieldOrder] = {"tff": "tff", "bff": "bff"}
    order: FieldOrder = orders.get(picture.field_order, "progressive")
    audio = measure_audio(path, [])
    return Diagnosis(
        width_px=picture.width_px,
        height_px=picture.height_px,
        sample_aspect=f"{picture.sample_aspect.numerator}:{picture.sample_aspect.denominator}",
        fps=round(len(timeline) / timeline.duration_seconds, 6) if timeline.duration_seconds else 0.0,
        frames=len(timeline),
        duration_seconds=timeline.duration_seconds,
        field_order=order,
        interlaced_share=float(order != "progressive"),
        is_mixed=False,
        telecine="none",
        noise_luma=TYPICAL_NOISE_LUMA,
        noise_chroma=TYPICAL_NOISE_CHROMA,
        chroma_shift_x_px=0.0,
        chroma_shift_y_px=0.0,
        head_switching_lines=0,
        borders=Borders(),
        black_level=NOMINAL_BLACK,
        white_level=NOMINAL_WHITE,
        audio_channels=audio.channels,
        audio_rate_hz=audio.rate_hz,
        silent_channels=audio.silent_channels,
        windows=(),
    )
