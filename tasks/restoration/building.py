"""Build the filter chain for a tape from its diagnosis and a preset.

The order is the usual one of manual restoration. Deinterlacing comes first, because every later filter uses
neighboring lines. Denoising comes before any filter that amplifies noise. Scaling comes last.
If fields are kept, no filter that mixes lines is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.restoration.chain import Chain, Step
from tasks.restoration.denoising import choose_denoisers, count_context_frames
from tasks.restoration.diagnosis import Diagnosis
from tasks.restoration.presets import Deinterlace, Deinterlacer, Preset

HD_LINES = 720
_WORKING_FORMAT = "yuv422p10le"  # rounding to 8 bits after each step costs 0.2 dB
_MIN_SHIFT_PX = 0.75
_MIN_LEVELS = 2.0  # 8-bit codes; smaller deviations may be intended
_TELECINE_CYCLE = 5
_FIELD_CONTEXT = 2  # frames before and after that deinterlacers use
_NOMINAL_BLACK, _NOMINAL_WHITE = 16, 235


@dataclass(frozen=True)
class _FrameSize:
    """The size of frames between two steps, and the aspect of their pixels."""

    width_px: int
    height_px: int
    aspect: Fraction

    @property
    def shape(self) -> Fraction:
        """Width over height on the screen."""
        return self.width_px * self.aspect / self.height_px


def build_chain(
    diagnosis: Diagnosis, preset: Preset, height: int | None = None, deinterlace: Deinterlace = "auto"
) -> Chain:
    """Return the filters of ``preset`` for a tape with ``diagnosis``, each with its reason.

    ``height`` in square pixels overrides the preset's; without either the tape's height is kept. ``deinterlace``
    overrides the preset's deinterlacer unless it is ``auto``. Raises InvalidInput if the options exclude each other.
    """
    height = height or preset.height
    deinterlacer = preset.deinterlace if deinterlace == "auto" else deinterlace
    keeps_fields = deinterlacer == "none" and diagnosis.field_order != "progressive"
    _check_options(diagnosis, preset, height, deinterlacer, keeps_fields)
    size = _crop_size(diagnosis, preset, keeps_fields)
    keeps_samples = keeps_fields or (height is None and not preset.square_samples)
    target = size if keeps_samples else _scale_size(size, height)
    matrix = "bt709" if target.height_px >= HD_LINES and not keeps_samples else _get_tape_matrix(diagnosis)
    steps = [*_deinterlace(diagnosis, preset, deinterlacer), *_repair(diagnosis, preset, keeps_fields)]
    if not keeps_fields:
        steps += [*_denoise(diagnosis, preset), *_sharpen(preset)]
    if not keeps_samples:
        steps += _scale(diagnosis, preset, target, matrix)
    steps += _tag_output(diagnosis, preset, target, matrix, keeps_fields)
    return Chain(
        steps=tuple(steps),
        ratio=_count_ratio(diagnosis, deinterlacer),
        context_frames=_count_context(diagnosis, preset, deinterlacer),
        width_px=target.width_px,
        height_px=target.height_px,
        sample_aspect=f"{target.aspect.numerator}:{target.aspect.denominator}",
        interlaced=keeps_fields,
        pixel_format=preset.pixel_format,
        color_matrix=matrix,
    )


def _check_options(
    diagnosis: Diagnosis, preset: Preset, height: int | None, deinterlacer: Deinterlacer, keeps_fields: bool
) -> None:
    """Raise InvalidInput with every option that does not suit the tape."""
    problems = []
    if deinterlacer == "nnedi" and preset.nnedi_weights is None and _is_bobbed(diagnosis, deinterlacer):
        advice = (
            "set the key nnedi_weights to the path of nnedi3_weights.bin, which is not part of FFmpeg, or use bwdif"
        )
        problems.append(Problem("--deinterlace", "nnedi without its weights", "nnedi with a file of weights", advice))
    if keeps_fields and height not in (None, diagnosis.height_px):
        advice = "leave --height out, or deinterlace: interlaced frames cannot be scaled"
        problems.append(Problem("--height", f"{height} with fields kept", f"{diagnosis.height_px}", advice))
    if problems:
        raise InvalidInput(problems)


def _is_telecined(diagnosis: Diagnosis, deinterlacer: Deinterlacer) -> bool:
    return diagnosis.telecine == "3:2" and diagnosis.field_order != "progressive" and deinterlacer != "none"


def _is_bobbed(diagnosis: Diagnosis, deinterlacer: Deinterlacer) -> bool:
    interlaced = diagnosis.field_order != "progressive" and deinterlacer != "none"
    return interlaced and not _is_telecined(diagnosis, deinterlacer)


def _count_ratio(diagnosis: Diagnosis, deinterlacer: Deinterlacer) -> Fraction:
    if _is_telecined(diagnosis, deinterlacer):
        return Fraction(_TELECINE_CYCLE - 1, _TELECINE_CYCLE)
    return Fraction(2 if _is_bobbed(diagnosis, deinterlacer) else 1)


def _count_context(diagnosis: Diagnosis, preset: Preset, deinterlacer: Deinterlacer) -> int:
    """Return the number of context frames on both sides; whole cycles for inverse telecine."""
    if diagnosis.field_order != "progressive" and deinterlacer == "none":
        return 0
    ratio = _count_ratio(diagnosis, deinterlacer)
    fields = 0 if diagnosis.field_order == "progressive" else _FIELD_CONTEXT
    frames = fields + -(-count_context_frames(preset.denoise) // ratio)
    cycle = _TELECINE_CYCLE if ratio < 1 else 1
    return -(-frames // cycle) * cycle


def _deinterlace(diagnosis: Diagnosis, preset: Preset, deinterlacer: Deinterlacer) -> Iterator[Step]:
    """Yield the steps that turn fields into frames; no steps for a progressive tape."""
    order = diagnosis.field_order
    if order == "progressive":
        return
    share = f"{diagnosis.interlaced_share:.0%} of the frames are interlaced"
    first = "top" if order == "tff" else "bottom"
    yield Step("setfield", {"mode": order}, f"{share}, {first} field first")
    if _is_telecined(diagnosis, deinterlacer):
        yield from _undo_telecine(order)
    elif _is_bobbed(diagnosis, deinterlacer):
        mixed = "; progressive ones among them become two alike" if diagnosis.is_mixed else ""
        yield Step(
            deinterlacer, _get_bob_options(deinterlacer, order, preset), f"every field becomes a frame: {share}{mixed}"
        )


def _undo_telecine(order: str) -> Iterator[Step]:
    """Yield inverse telecine as in FFmpeg's documentation of ``fieldmatch``."""
    yield Step("fieldmatch", {"order": order, "combmatch": "full"}, "film at 23.976 lies in fields at 59.94 (3:2)")
    leftover = {"mode": "send_frame", "parity": order, "deint": "interlaced"}
    yield Step("bwdif", leftover, "frames whose fields found no match, as at cuts made on video")
    yield Step("decimate", {"cycle": str(_TELECINE_CYCLE)}, "every fifth frame repeats another one")


def _get_bob_options(deinterlacer: Deinterlacer, order: str, preset: Preset) -> dict[str, str]:
    match deinterlacer:
        case "nnedi":
            return {"weights": str(preset.nnedi_weights), "field": "tf" if order == "tff" else "bf"}
        case "estdif":
            return {"mode": "field", "parity": order}
        case _:
            return {"mode": "send_field", "parity": order, "deint": "all"}


def _repair(diagnosis: Diagnosis, preset: Preset, keeps_fields: bool) -> Iterator[Step]:
    """Yield the repairs before denoising: torn lines, chroma shift, borders, levels."""
    yield from _convert_format(_WORKING_FORMAT, "10 bits and all lines of colour until the end", keeps_fields)
    if preset.dedot and not keeps_fields:
        yield Step("dedot", {}, "the preset removes dot crawl and rainbows")
    yield from _repair_torn_lines(diagnosis, preset)  # before chroma is moved up out of them
    if preset.chroma_shift:
        yield from _move_chroma(diagnosis, keeps_fields)
    yield from _crop_borders(diagnosis, preset, keeps_fields)
    if preset.levels:
        yield from _restore_levels(diagnosis, preset)


def _convert_format(pixel_format: str, reason: str, keeps_fields: bool) -> Iterator[Step]:
    """Yield a conversion to another pixel format that does not mix the chroma of kept fields."""
    yield Step("scale", {"interl": str(int(keeps_fields)), "out_range": "tv"}, "limited range; fields not mixed")
    yield Step("format", {"pix_fmts": pixel_format}, reason)


def _move_chroma(diagnosis: Diagnosis, keeps_fields: bool) -> Iterator[Step]:
    """Yield the filter that moves chroma back over luma. 4:2:2 has half the samples per line, and all lines."""
    x, y = diagnosis.chroma_shift_x_px, 0.0 if keeps_fields else diagnosis.chroma_shift_y_px
    right = -round(x / 2) if abs(x) >= _MIN_SHIFT_PX else 0
    down = -round(y) if abs(y) >= _MIN_SHIFT_PX else 0
    if right or down:
        options = {"cbh": right, "crh": right, "cbv": down, "crv": down}
        reason = f"colour lies {x:+.1f} px right of and {y:+.1f} px below its picture"
        yield Step("chromashift", {name: str(value) for name, value in options.items()}, reason)


def _repair_torn_lines(diagnosis: Diagnosis, preset: Preset) -> Iterator[Step]:
    lines = diagnosis.head_switching_lines
    reason = f"the head switch tears {lines} lines at the bottom"
    if lines == 0 or preset.head_switching == "keep":
        return
    if preset.head_switching == "crop":
        yield Step("crop", {"w": "iw", "h": f"ih-{_round_up_to_even(lines)}", "x": "0", "y": "0"}, reason)
        return
    mode = "smear" if preset.head_switching == "fill" else "fixed"
    yield Step("fillborders", {"bottom": str(lines), "mode": mode}, reason)


def _crop_borders(diagnosis: Diagnosis, preset: Preset, keeps_fields: bool) -> Iterator[Step]:
    sides = diagnosis.borders
    if (
        preset.borders == "keep"
        or keeps_fields
        or not any((sides.left_px, sides.right_px, sides.top_px, sides.bottom_px))
    ):
        return
    size = _crop_size(diagnosis, preset, keeps_fields)
    options = {
        "w": size.width_px,
        "h": size.height_px,
        "x": _round_up_to_even(sides.left_px),
        "y": _round_up_to_even(sides.top_px),
    }
    yield Step("crop", {name: str(value) for name, value in options.items()}, "black borders around the picture")


def _restore_levels(diagnosis: Diagnosis, preset: Preset) -> Iterator[Step]:
    """Yield the filter that restores black and white levels, within the limit of the preset."""
    max_levels = preset.most_levels
    black = min(diagnosis.black_level, _NOMINAL_BLACK + max_levels)
    white = min(diagnosis.white_level, _NOMINAL_WHITE + max_levels)
    black = black if black >= _NOMINAL_BLACK + _MIN_LEVELS else _NOMINAL_BLACK
    white = white if white >= _NOMINAL_WHITE + _MIN_LEVELS else _NOMINAL_WHITE
    if (black, white) == (_NOMINAL_BLACK, _NOMINAL_WHITE):
        return
    gain = (_NOMINAL_WHITE - _NOMINAL_BLACK) / (white - black)
    reason = f"black is at {diagnosis.black_level:.0f} and white at {diagnosis.white_level:.0f}, not at 16 and 235"
    yield Step("lutyuv", {"y": f"(val-{4 * black:.2f})*{gain:.5f}+{4 * _NOMINAL_BLACK}.5"}, reason)  # rounds down


def _denoise(diagnosis: Diagnosis, preset: Preset) -> Iterator[Step]:
    luma, chroma = diagnosis.noise_luma, diagnosis.noise_chroma
    if preset.denoise == "none" or max(luma, chroma) < preset.least_noise:
        return
    for denoiser in choose_denoisers(preset.denoise, luma * preset.denoise_luma, chroma * preset.denoise_chroma):
        yield Step(denoiser.filter, denoiser.options, f"noise of {luma:.1f} codes in luma, {chroma:.1f} in chroma")


def _scale(diagnosis: Diagnosis, preset: Preset, target: _FrameSize, matrix: str) -> Iterator[Step]:
    """Yield the scaling to square pixels at the requested height, in the color matrix that players expect there."""
    options = {
        "w": str(target.width_px),
        "h": str(target.height_px),
        "flags": preset.scaler + "+accurate_rnd+full_chroma_int",
        "in_color_matrix": _get_tape_matrix(diagnosis),
        "out_color_matrix": matrix,
    }
    reason = f"{diagnosis.width_px}x{diagnosis.height_px} of {diagnosis.sample_aspect} samples become square ones"
    yield Step("scale", options, f"{reason}, {matrix}")


def _sharpen(preset: Preset) -> Iterator[Step]:
    """Yield the sharpening. Before scaling it is faster, and sharper at the same PSNR."""
    if preset.sharpen:
        options = {"lx": "5", "ly": "5", "la": f"{preset.sharpen:g}", "ca": "0"}
        yield Step("unsharp", options, "VHS has half the sharpness of SD")


def _tag_output(
    diagnosis: Diagnosis, preset: Preset, target: _FrameSize, matrix: str, keeps_fields: bool
) -> Iterator[Step]:
    """Yield the output format and the tags that players read."""
    aspect = f"{target.aspect.numerator}/{target.aspect.denominator}"
    yield Step("setsar", {"sar": aspect, "max": "65535"}, "the shape of a sample")
    yield from _convert_format(preset.pixel_format, f"what {preset.name} is written in", keeps_fields)
    tape = _get_tape_matrix(diagnosis)  # also the name of its primaries
    transfer = "bt709" if matrix == "bt709" else "smpte170m"
    tags = {"colorspace": matrix, "color_primaries": tape, "color_trc": transfer, "range": "tv"}
    yield Step("setparams", tags, f"{tape} on the tape, {matrix} in the file")


def _get_tape_matrix(diagnosis: Diagnosis) -> str:
    """Return bt470bg for 25 frames per second, smpte170m for 29.97 (equal except for the primaries), bt709 for HD."""
    if diagnosis.height_px >= HD_LINES:
        return "bt709"
    return "bt470bg" if abs(diagnosis.fps / 25 - round(diagnosis.fps / 25)) < 0.01 else "smpte170m"


def _crop_size(diagnosis: Diagnosis, preset: Preset, keeps_fields: bool) -> _FrameSize:
    """Return the frame size after torn lines and borders are cropped."""
    width, height = diagnosis.width_px, diagnosis.height_px
    if preset.head_switching == "crop":
        height -= _round_up_to_even(diagnosis.head_switching_lines)
    if preset.borders == "crop" and not keeps_fields:
        sides = diagnosis.borders
        width -= _round_up_to_even(sides.left_px) + _round_up_to_even(sides.right_px)
        height -= _round_up_to_even(sides.top_px) + _round_up_to_even(sides.bottom_px)
    return _FrameSize(width, height, Fraction(diagnosis.sample_aspect.replace(":", "/")))


def _scale_size(size: _FrameSize, height: int | None) -> _FrameSize:
    """Return the size with square pixels, even sides and the display aspect of ``size``."""
    lines = 2 * round((height or size.height_px) / 2)
    return _FrameSize(2 * round(lines * size.shape / 2), lines, Fraction(1))


def _round_up_to_even(pixels: int) -> int:
    return pixels + pixels % 2
