"""From what is wrong with a tape to what is done about it.

The order is that of people who restore tapes by hand: fields become frames first, for every filter after that looks
at neighbouring lines; noise goes before anything makes more of it; scaling comes last.
Frames whose fields are kept get nothing that mixes lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.restoration.chain import Chain, Step
from tasks.restoration.denoising import denoise_context, denoise_filters
from tasks.restoration.diagnosis import Diagnosis
from tasks.restoration.presets import Deinterlace, Deinterlacer, Preset

HD_LINES = 720
_WORKING = "yuv422p10le"  # rounding to 8 bits after each step costs 0.2 dB
_LEAST_SHIFT_PX = 0.75
_LEAST_LEVELS = 2.0  # 8-bit codes; what is nearer to nominal was perhaps meant so
_TELECINE_CYCLE = 5
_FIELD_CONTEXT = 2  # frames that deinterlacers look at before and after
_NOMINAL_BLACK, _NOMINAL_WHITE = 16, 235


@dataclass(frozen=True)
class _Picture:
    """What the frames are like between two steps: pixels, and samples of ``aspect``."""

    width_px: int
    height_px: int
    aspect: Fraction

    @property
    def shape(self) -> Fraction:
        """Width over height as it is shown."""
        return self.width_px * self.aspect / self.height_px


def build_chain(
    diagnosis: Diagnosis, preset: Preset, height: int | None = None, deinterlace: Deinterlace = "auto"
) -> Chain:
    """The filters for a tape with ``diagnosis``, as ``preset`` wants them, each with its reason.

    ``height`` in square pixels goes before the preset's; with neither the tape's lines are kept. ``deinterlace``
    other than ``auto`` goes before the preset's way. Raises InvalidInput for a way that cannot be gone.
    """
    height = height or preset.height
    way = preset.deinterlace if deinterlace == "auto" else deinterlace
    keeps_fields = way == "none" and diagnosis.field_order != "progressive"
    _check(diagnosis, preset, height, way, keeps_fields)
    picture = _cropped(diagnosis, preset, keeps_fields)
    keeps_samples = keeps_fields or (height is None and not preset.square_samples)
    target = picture if keeps_samples else _scaled(picture, height)
    matrix = "bt709" if target.height_px >= HD_LINES and not keeps_samples else _tape_matrix(diagnosis)
    steps = [*_to_frames(diagnosis, preset, way), *_repairs(diagnosis, preset, keeps_fields)]
    if not keeps_fields:
        steps += [*_denoised(diagnosis, preset), *_sharpened(preset)]
    if not keeps_samples:
        steps += _enlarged(diagnosis, preset, target, matrix)
    steps += _last(diagnosis, preset, target, matrix, keeps_fields)
    return Chain(
        steps=tuple(steps),
        ratio=_ratio(diagnosis, way),
        context_frames=_context(diagnosis, preset, way),
        width_px=target.width_px,
        height_px=target.height_px,
        sample_aspect=f"{target.aspect.numerator}:{target.aspect.denominator}",
        interlaced=keeps_fields,
        pixel_format=preset.pixel_format,
        color_matrix=matrix,
    )


def _check(diagnosis: Diagnosis, preset: Preset, height: int | None, way: Deinterlacer, keeps_fields: bool) -> None:
    """Raises InvalidInput with everything that stands against it."""
    problems = []
    if way == "nnedi" and preset.nnedi_weights is None and _is_bobbed(diagnosis, way):
        advice = "give the key nnedi_weights the path of nnedi3_weights.bin, which FFmpeg does not bring, or use bwdif"
        problems.append(Problem("--deinterlace", "nnedi without its weights", "nnedi with a file of weights", advice))
    if keeps_fields and height not in (None, diagnosis.height_px):
        advice = "leave --height out, or deinterlace: interlaced frames cannot be scaled"
        problems.append(Problem("--height", f"{height} with fields kept", f"{diagnosis.height_px}", advice))
    if problems:
        raise InvalidInput(problems)


def _is_telecined(diagnosis: Diagnosis, way: Deinterlacer) -> bool:
    return diagnosis.telecine == "3:2" and diagnosis.field_order != "progressive" and way != "none"


def _is_bobbed(diagnosis: Diagnosis, way: Deinterlacer) -> bool:
    interlaced = diagnosis.field_order != "progressive" and way != "none"
    return interlaced and not _is_telecined(diagnosis, way)


def _ratio(diagnosis: Diagnosis, way: Deinterlacer) -> Fraction:
    if _is_telecined(diagnosis, way):
        return Fraction(_TELECINE_CYCLE - 1, _TELECINE_CYCLE)
    return Fraction(2 if _is_bobbed(diagnosis, way) else 1)


def _context(diagnosis: Diagnosis, preset: Preset, way: Deinterlacer) -> int:
    """Frames of the tape on both sides; whole cycles where telecine is undone."""
    if diagnosis.field_order != "progressive" and way == "none":
        return 0
    ratio = _ratio(diagnosis, way)
    fields = 0 if diagnosis.field_order == "progressive" else _FIELD_CONTEXT
    frames = fields + -(-denoise_context(preset.denoise) // ratio)
    cycle = _TELECINE_CYCLE if ratio < 1 else 1
    return -(-frames // cycle) * cycle


def _to_frames(diagnosis: Diagnosis, preset: Preset, way: Deinterlacer) -> Iterator[Step]:
    """The steps after which a frame is one instant; none for a tape that is progressive."""
    order = diagnosis.field_order
    if order == "progressive":
        return
    share = f"{diagnosis.interlaced_share:.0%} of the frames are interlaced"
    first = "top" if order == "tff" else "bottom"
    yield Step("setfield", {"mode": order}, f"{share}, {first} field first")
    if _is_telecined(diagnosis, way):
        yield from _untelecined(order)
    elif _is_bobbed(diagnosis, way):
        mixed = "; progressive ones among them become two alike" if diagnosis.is_mixed else ""
        yield Step(way, _bob_options(way, order, preset), f"every field becomes a frame: {share}{mixed}")


def _untelecined(order: str) -> Iterator[Step]:
    """FFmpeg's documentation of ``fieldmatch`` gives these three, in this order."""
    yield Step("fieldmatch", {"order": order, "combmatch": "full"}, "film at 23.976 lies in fields at 59.94 (3:2)")
    leftover = {"mode": "send_frame", "parity": order, "deint": "interlaced"}
    yield Step("bwdif", leftover, "frames whose fields found no match, as at cuts made on video")
    yield Step("decimate", {"cycle": str(_TELECINE_CYCLE)}, "every fifth frame repeats another one")


def _bob_options(way: Deinterlacer, order: str, preset: Preset) -> dict[str, str]:
    match way:
        case "nnedi":
            return {"weights": str(preset.nnedi_weights), "field": "tf" if order == "tff" else "bf"}
        case "estdif":
            return {"mode": "field", "parity": order}
        case _:
            return {"mode": "send_field", "parity": order, "deint": "all"}


def _repairs(diagnosis: Diagnosis, preset: Preset, keeps_fields: bool) -> Iterator[Step]:
    """What is put right before the noise: torn lines, colour's place, borders, levels."""
    yield from _converted(_WORKING, "10 bits and all lines of colour until the end", keeps_fields)
    if preset.dedot and not keeps_fields:
        yield Step("dedot", {}, "the preset removes dot crawl and rainbows")
    yield from _torn_lines(diagnosis, preset)  # before colour moves up out of them
    if preset.chroma_shift:
        yield from _colour_moved(diagnosis, keeps_fields)
    yield from _borders(diagnosis, preset, keeps_fields)
    if preset.levels:
        yield from _levels(diagnosis, preset)


def _converted(pixel_format: str, reason: str, keeps_fields: bool) -> Iterator[Step]:
    """Frames in another pixel format. The chroma of kept fields must not be mixed on the way."""
    yield Step("scale", {"interl": str(int(keeps_fields)), "out_range": "tv"}, "limited range; fields not mixed")
    yield Step("format", {"pix_fmts": pixel_format}, reason)


def _colour_moved(diagnosis: Diagnosis, keeps_fields: bool) -> Iterator[Step]:
    """Colour back over its picture. 4:2:2 has half as many samples a line, and as many lines."""
    x, y = diagnosis.chroma_shift_x_px, 0.0 if keeps_fields else diagnosis.chroma_shift_y_px
    right = -round(x / 2) if abs(x) >= _LEAST_SHIFT_PX else 0
    down = -round(y) if abs(y) >= _LEAST_SHIFT_PX else 0
    if right or down:
        options = {"cbh": right, "crh": right, "cbv": down, "crv": down}
        reason = f"colour lies {x:+.1f} px right of and {y:+.1f} px below its picture"
        yield Step("chromashift", {name: str(value) for name, value in options.items()}, reason)


def _torn_lines(diagnosis: Diagnosis, preset: Preset) -> Iterator[Step]:
    lines = diagnosis.head_switching_lines
    reason = f"the head switch tears {lines} lines at the bottom"
    if lines == 0 or preset.head_switching == "keep":
        return
    if preset.head_switching == "crop":
        yield Step("crop", {"w": "iw", "h": f"ih-{_even(lines)}", "x": "0", "y": "0"}, reason)
        return
    mode = "smear" if preset.head_switching == "fill" else "fixed"
    yield Step("fillborders", {"bottom": str(lines), "mode": mode}, reason)


def _borders(diagnosis: Diagnosis, preset: Preset, keeps_fields: bool) -> Iterator[Step]:
    sides = diagnosis.borders
    if (
        preset.borders == "keep"
        or keeps_fields
        or not any((sides.left_px, sides.right_px, sides.top_px, sides.bottom_px))
    ):
        return
    picture = _cropped(diagnosis, preset, keeps_fields)
    options = {"w": picture.width_px, "h": picture.height_px, "x": _even(sides.left_px), "y": _even(sides.top_px)}
    yield Step("crop", {name: str(value) for name, value in options.items()}, "black borders around the picture")


def _levels(diagnosis: Diagnosis, preset: Preset) -> Iterator[Step]:
    """Black and white where they should be; further off than the preset allows, they are the picture's own."""
    most = preset.most_levels
    black = min(diagnosis.black_level, _NOMINAL_BLACK + most)
    white = min(diagnosis.white_level, _NOMINAL_WHITE + most)
    black = black if black >= _NOMINAL_BLACK + _LEAST_LEVELS else _NOMINAL_BLACK
    white = white if white >= _NOMINAL_WHITE + _LEAST_LEVELS else _NOMINAL_WHITE
    if (black, white) == (_NOMINAL_BLACK, _NOMINAL_WHITE):
        return
    gain = (_NOMINAL_WHITE - _NOMINAL_BLACK) / (white - black)
    reason = f"black is at {diagnosis.black_level:.0f} and white at {diagnosis.white_level:.0f}, not at 16 and 235"
    yield Step("lutyuv", {"y": f"(val-{4 * black:.2f})*{gain:.5f}+{4 * _NOMINAL_BLACK}.5"}, reason)  # it cuts off


def _denoised(diagnosis: Diagnosis, preset: Preset) -> Iterator[Step]:
    luma, chroma = diagnosis.noise_luma, diagnosis.noise_chroma
    if preset.denoise == "none" or max(luma, chroma) < preset.least_noise:
        return
    for one in denoise_filters(preset.denoise, luma * preset.denoise_luma, chroma * preset.denoise_chroma):
        yield Step(one.filter, one.options, f"noise of {luma:.1f} codes in luma, {chroma:.1f} in chroma")


def _enlarged(diagnosis: Diagnosis, preset: Preset, target: _Picture, matrix: str) -> Iterator[Step]:
    """Square samples at the height that was asked for, in the colour matrix that players expect there."""
    options = {
        "w": str(target.width_px),
        "h": str(target.height_px),
        "flags": preset.scaler + "+accurate_rnd+full_chroma_int",
        "in_color_matrix": _tape_matrix(diagnosis),
        "out_color_matrix": matrix,
    }
    reason = f"{diagnosis.width_px}x{diagnosis.height_px} of {diagnosis.sample_aspect} samples become square ones"
    yield Step("scale", options, f"{reason}, {matrix}")


def _sharpened(preset: Preset) -> Iterator[Step]:
    """Before scaling: sharper at the same PSNR than after it, and quicker."""
    if preset.sharpen:
        options = {"lx": "5", "ly": "5", "la": f"{preset.sharpen:g}", "ca": "0"}
        yield Step("unsharp", options, "VHS has half the sharpness of SD")


def _last(diagnosis: Diagnosis, preset: Preset, target: _Picture, matrix: str, keeps_fields: bool) -> Iterator[Step]:
    """What players are told."""
    aspect = f"{target.aspect.numerator}/{target.aspect.denominator}"
    yield Step("setsar", {"sar": aspect, "max": "65535"}, "the shape of a sample")
    yield from _converted(preset.pixel_format, f"what {preset.name} is written in", keeps_fields)
    tape = _tape_matrix(diagnosis)  # its name is that of its primaries, too
    transfer = "bt709" if matrix == "bt709" else "smpte170m"
    tags = {"colorspace": matrix, "color_primaries": tape, "color_trc": transfer, "range": "tv"}
    yield Step("setparams", tags, f"{tape} on the tape, {matrix} in the file")


def _tape_matrix(diagnosis: Diagnosis) -> str:
    """bt470bg for 25 frames a second, smpte170m for 29.97: the same numbers, with other primaries. bt709 of HD."""
    if diagnosis.height_px >= HD_LINES:
        return "bt709"
    return "bt470bg" if abs(diagnosis.fps / 25 - round(diagnosis.fps / 25)) < 0.01 else "smpte170m"


def _cropped(diagnosis: Diagnosis, preset: Preset, keeps_fields: bool) -> _Picture:
    """The frames after torn lines and borders are cut off."""
    width, height = diagnosis.width_px, diagnosis.height_px
    if preset.head_switching == "crop":
        height -= _even(diagnosis.head_switching_lines)
    if preset.borders == "crop" and not keeps_fields:
        sides = diagnosis.borders
        width -= _even(sides.left_px) + _even(sides.right_px)
        height -= _even(sides.top_px) + _even(sides.bottom_px)
    return _Picture(width, height, Fraction(diagnosis.sample_aspect.replace(":", "/")))


def _scaled(picture: _Picture, height: int | None) -> _Picture:
    """Square samples, even sides, the shape that ``picture`` is shown in."""
    lines = 2 * round((height or picture.height_px) / 2)
    return _Picture(2 * round(lines * picture.shape / 2), lines, Fraction(1))


def _even(pixels: int) -> int:
    return pixels + pixels % 2
