"""The baseline for comparisons, and the true diagnosis of a synthetic tape."""

from __future__ import annotations

from benchmarks.restoration_truth.clips import FIELD_RATE, SAMPLE_ASPECT, SD_MATRIX, Sample, compute_width
from benchmarks.restoration_truth.degrade import LINES, WIDTH
from tasks.restoration.chain import Chain, Step
from tasks.restoration.diagnosis import Borders, Diagnosis


def make_true_diagnosis(sample: Sample) -> Diagnosis:
    """Return the diagnosis that a perfect measurement would give."""
    tape, clip = sample.tape, sample.clip
    fps = float(FIELD_RATE[clip.standard] / 2)
    return Diagnosis(
        width_px=WIDTH,
        height_px=LINES[clip.standard],
        sample_aspect=SAMPLE_ASPECT[clip.standard, clip.shape],
        fps=fps,
        frames=sample.frames,
        duration_seconds=sample.frames / fps,
        field_order=tape.field_order,
        interlaced_share=1.0,
        is_mixed=False,
        telecine="none",
        noise_luma=tape.noise_luma,
        noise_chroma=tape.noise_chroma,
        chroma_shift_x_px=tape.chroma_shift_x_px,
        chroma_shift_y_px=float(tape.chroma_shift_y_px),
        head_switching_lines=tape.head_switching_lines,
        borders=Borders(),
        black_level=tape.black_level,
        white_level=tape.white_level,
        audio_channels=0,
        audio_rate_hz=0,
        silent_channels=(),
        windows=(),
    )


def build_baseline(sample: Sample) -> str:
    """Return the filters of the usual method: ``yadif`` at field rate, bicubic scaling, the correct color matrix."""
    clip = sample.clip
    source, target = SD_MATRIX[clip.standard], "bt709" if clip.height >= 720 else SD_MATRIX[clip.standard]
    scale = (
        f"scale={compute_width(clip)}:{clip.height}:flags=bicubic:in_color_matrix={source}:out_color_matrix={target}"
    )
    return f"yadif=mode=send_field:parity={sample.tape.field_order},{scale},format=yuv420p"


def format_chain(chain: Chain) -> str:
    """Return ``chain`` as a filter graph for the command line."""
    return ",".join(map(_format_step, chain.steps))


def _format_step(step: Step) -> str:
    options = ":".join(f"{name}='{value}'" for name, value in step.options.items())
    return f"{step.filter}={options}" if options else step.filter
