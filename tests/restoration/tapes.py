"""A diagnosis of a tape in fair condition, for tests of plans."""

from tasks.restoration.diagnosis import Borders, Diagnosis

FAIR = Diagnosis(
    width_px=720,
    height_px=576,
    sample_aspect="16:15",
    fps=25.0,
    frames=250,
    duration_seconds=10.0,
    field_order="tff",
    interlaced_share=1.0,
    is_mixed=False,
    telecine="none",
    noise_luma=3.0,
    noise_chroma=5.0,
    chroma_shift_x_px=4.0,
    chroma_shift_y_px=2.0,
    head_switching_lines=8,
    borders=Borders(),
    black_level=22.0,
    white_level=235.0,
    audio_channels=2,
    audio_rate_hz=48000,
    silent_channels=(),
    windows=(),
)
