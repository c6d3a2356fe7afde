"""Overlays on real clips, blended in the components and codes of the clip, with exact ground truth.

A sample of the marked clip is J = round((1 - a) I + a W). The alpha of a chroma sample is the mean over its pixels;
its color is their mean weighted by alpha. Real overlays are compressed after they are burned in, so the marked clip
also has a lossy encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from benchmarks.overlay_truth.clips import Clip, get_shared_folder
from benchmarks.overlay_truth.drawing import Canvas, Mark, Sprite, draw
from tasks.media.segments.clock import Clock, build_clock
from tasks.media.segments.encoding import SegmentEncoder
from tasks.media.segments.picture import FULL_RANGE, PictureFormat
from tasks.media.segments.planes import Plane
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.settings import EncoderSettings
from tasks.media.segments.source import Survey, survey_video
from tasks.overlays.boxes import Box
from tasks.overlays.components import ComponentReader, Shape, average_blocks, get_planar_format, read_shape
from tasks.overlays.overlay import Floats, Layer, Overlay

OPACITIES = (0.3, 0.5, 0.75, 1.0)
_LOSSLESS = EncoderSettings("ffv1")
_LOSSY = EncoderSettings("x264", crf=18, preset="veryfast")
_LOSSY_ODD = EncoderSettings("svtav1", crf=20, preset="10")  # x264 takes no odd sizes
# Shares of red and blue in luma, by the numbers of H.273: BT.709, BT.601 (two names), BT.2020.
_SHARES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


@dataclass(frozen=True)
class Marked:
    """A clip with an overlay, and the ground truth. All three videos have the same clock and frames from 0.

    clean    without it, lossless
    marked   with it, lossless
    lossy    with it, by x264 at CRF 18; odd sizes by SVT-AV1 at 20
    overlays over the clean clip, exact in every sample
    shape    of its components
    frames   number of frames
    """

    clip: Clip
    mark: Mark
    opacity: float
    clean: Path
    marked: Path
    lossy: Path
    overlays: tuple[Overlay, ...]
    picture: PictureFormat
    shape: Shape
    frames: int


def mark_clip(
    clip: Clip, mark: Mark, opacity: float, frames: int | None, folder: Path, source_folder: Path | None = None
) -> Marked:
    """Put ``mark`` at ``opacity``, above 0 to 1, on ``frames`` frames of ``clip`` (None for all), into ``folder``.

    ``source_folder`` contains the clip's file (default: next to the checkout). Raises ValueError for other opacities,
    and BadInput or OSError if the clip cannot be read.
    """
    if not 0 < opacity <= 1:
        raise ValueError(f"opacity is above 0 and at most 1, not {opacity}")
    source = (source_folder or get_shared_folder()) / clip.file
    survey = survey_video(source)
    count = min(frames or clip.frames, len(survey.timeline) - clip.start_frame)
    picture = replace(survey.picture, pixel_format=get_planar_format(survey.picture.pixel_format))
    shape = read_shape(picture.pixel_format)
    clock = build_clock(survey.timeline).part(clip.start_frame, clip.start_frame + count)
    canvas = Canvas(picture.width_px - 2 * clip.bars_px, picture.height_px, count, float(clock.rate))
    sprites = (replace(sprite, left=sprite.left + clip.bars_px) for sprite in draw(mark, canvas))
    overlays = tuple(make_overlay(sprite, opacity, picture, shape) for sprite in sprites)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{clip.name}.{mark.kind}{mark.seed}.{round(opacity * 100):03}"
    clean, marked, lossy = paths = [folder / f"{stem}.{kind}.mp4" for kind in ("clean", "marked", "lossy")]
    with SegmentReader(source, survey) as reader:
        pictures = (read.frame for read in reader.range(clip.start_frame, clip.start_frame + count))
        _write(pictures, overlays, shape, paths, picture, clock)
    return Marked(clip, mark, opacity, clean, marked, lossy, overlays, picture, shape, count)


def cut_clip(clip: Clip, frames: int | None, folder: Path, source_folder: Path) -> Path:
    """Write the first ``frames`` frames of ``clip`` (None for all), unchanged and lossless, to ``folder``."""
    source = source_folder / clip.file
    survey = survey_video(source)
    count = min(frames or clip.frames, len(survey.timeline) - clip.start_frame)
    picture = replace(survey.picture, pixel_format=get_planar_format(survey.picture.pixel_format))
    clock = build_clock(survey.timeline).part(clip.start_frame, clip.start_frame + count)
    path, components = folder / f"{clip.name}.clip.mp4", ComponentReader()
    with SegmentReader(source, survey) as reader, SegmentEncoder(path, _LOSSLESS, picture, clock) as encoder:
        for read in reader.range(clip.start_frame, clip.start_frame + count):
            encoder.write(components.make_planar(read.frame))
    return path


def blend(planes: Sequence[Plane], overlay: Overlay, shape: Shape) -> None:
    """Blend ``overlay`` into a frame's components, in place."""
    for component, (plane, layer) in enumerate(zip(planes, overlay.layers, strict=True)):
        part = plane[shape.get_part(overlay.box, component)]
        value = (1 - layer.alpha) * part + layer.alpha * layer.color
        part[layer.mask] = np.rint(value[layer.mask]).astype(part.dtype)


def make_overlay(sprite: Sprite, opacity: float, picture: PictureFormat, shape: Shape) -> Overlay:
    """Return ``sprite`` in the components of that format, with edges at even pixels."""
    height, width = sprite.coverage.shape
    alpha = sprite.coverage * np.float32(opacity)
    colors = convert_colors(sprite.color, picture, shape)
    layers = tuple(_make_layer(alpha, color, divisor) for color, divisor in zip(colors, shape.divisors, strict=True))
    return Overlay(Box(sprite.left, sprite.top, width, height), layers, sprite.ranges, "mask", 1.0)


def convert_colors(color: Floats, picture: PictureFormat, shape: Shape) -> list[Floats]:
    """Return R'G'B' from 0 to 1 (height x width x 3) in codes of each component, by H.273, 8.3."""
    red, green, blue = (color[..., number] for number in range(3))
    top = float(2**shape.bits - 1)
    if shape.is_rgb:
        return [green * top, blue * top, red * top]
    share_red, share_blue = _SHARES.get(picture.matrix, _SHARES[1 if picture.height_px >= 720 else 6])
    luma = share_red * red + (1 - share_red - share_blue) * green + share_blue * blue
    differences = [(blue - luma) / (2 - 2 * share_blue), (red - luma) / (2 - 2 * share_red)]
    unit = float(2 ** (shape.bits - 8))
    full = picture.color_range == FULL_RANGE
    scaled = [luma * top if full else (16 + 219 * luma) * unit]
    scaled += [128 * unit + difference * (top if full else 224 * unit) for difference in differences]
    return scaled[: len(shape.divisors)]


def _make_layer(alpha: Floats, color: Floats, divisor: tuple[int, int]) -> Layer:
    small, weighted = average_blocks(alpha, divisor), average_blocks(alpha * color, divisor)
    mask = small > 0
    own = np.divide(weighted, small, out=np.full_like(small, np.nan), where=mask)
    return Layer(mask, small, own)


def _write(
    frames: Iterator[VideoFrame],
    overlays: tuple[Overlay, ...],
    shape: Shape,
    paths: Sequence[Path],
    picture: PictureFormat,
    clock: Clock,
) -> None:
    """Write the three videos of ``frames``."""
    reader = ComponentReader()
    with ExitStack() as stack:
        odd = picture.width_px % shape.step[0] or picture.height_px % shape.step[1]
        settings = (_LOSSLESS, _LOSSLESS, _LOSSY_ODD if odd else _LOSSY)
        clean, *others = [
            stack.enter_context(SegmentEncoder(path, setting, picture, clock))
            for path, setting in zip(paths, settings, strict=True)
        ]
        for index, given in enumerate(frames):
            frame = reader.make_planar(given)
            clean.write(frame)
            for overlay in overlays:
                if overlay.is_shown(index):
                    frame.make_writable()  # an encoder may still hold it
                    blend(reader.get_components(frame), overlay, shape)
            for encoder in others:
                encoder.write(frame)


def read_frames(path: Path, survey: Survey | None = None) -> Iterator[tuple[Plane, ...]]:
    """Yield the components of each frame of the video at ``path``: views that are valid until the next one."""
    survey = survey or survey_video(path)
    components = ComponentReader()
    with SegmentReader(path, survey) as reader:
        for read in reader.range(0, len(survey.timeline)):
            yield components.get_components(components.make_planar(read.frame))
