"""A tape as its file describes it, for those who would rather say themselves what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from tasks.media.segments.source import Survey
from tasks.restoration.diagnosis import Borders, Diagnosis, FieldOrder
from tasks.restoration.measuring.levels import NOMINAL_BLACK, NOMINAL_WHITE
from tasks.restoration.measuring.sound import listen

# Standard deviations in 8-bit codes: what a home recording in fair condition has.
TYPICAL_NOISE_LUMA, TYPICAL_NOISE_CHROMA = 3.0, 5.0


def stated_diagnosis(path: Path, found: Survey) -> Diagnosis:
    """The tape at ``path``, of which ``found`` is the survey: nothing but its sound is looked at.

    Fields are as the file says, progressive where it does not say; noise is that of a usual tape; nothing else is
    taken to be wrong. Raises BadInput where the file cannot be opened.
    """
    picture, timeline = found.picture, found.timeline
    orders: dict[str, FieldOrder] = {"tff": "tff", "bff": "bff"}
    order: FieldOrder = orders.get(picture.field_order, "progressive")
    sound = listen(path, [])
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
        audio_channels=sound.channels,
        audio_rate_hz=sound.rate_hz,
        silent_channels=sound.silent_channels,
        windows=(),
    )
