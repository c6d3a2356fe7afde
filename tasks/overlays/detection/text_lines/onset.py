"""The opacity and color of a text line from the frames just before and after its first and last one.

Between neighboring frames the scene hardly changes; its motion is measured around the line and extrapolated below it.
So J - I = a (W - I) is visible pixel by pixel, which gives the mask. At the core of the line, a and W are constant: J
depends on I with the slope 1 - a, from pixel to pixel and, if the scene has changed when the line ends, at each pixel
over time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tasks.media.segments.planes import Plane
from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box, grow_box, slice_box
from tasks.overlays.components import Shape, get_planar_format, read_shape, upsample_plane
from tasks.overlays.detection.fitting.blending import estimate_variance, solve_blending
from tasks.overlays.detection.fitting.error_ratios import estimate_noise
from tasks.overlays.detection.fitting.filling import Filler
from tasks.overlays.detection.fitting.overlay_fit import Fit, fit_edges
from tasks.overlays.detection.sampling import Samples, read_frames, stack_frames
from tasks.overlays.detection.text_lines.ends import Line
from tasks.overlays.masks import fill_enclosed, grow_mask, keep_connected
from tasks.overlays.overlay import Floats, Mask
from tasks.overlays.removal.motion import FlowFrame, make_flow_hole, measure_flow

# Number of sampled frames in which a line shows, and the minimum.
_SAMPLES_INSIDE, _MIN_SAMPLES = 12, 4
# Number of frames before and after each end.
_PAIRS = 3
# Margin that the optical flow needs around a line, in pixels.
_ROOM_PX = 24
# Width of soft edges beyond the detected ones, and of the gap between text and outline.
_SOFT_PX, _GAP_PX = 4, 5
# Averaging window of errors around the line, its minimum share outside the line, and coding noise.
_AROUND_PX, _MIN_OUTSIDE, _NOISE = 25, 0.02, 1.0
# A pixel is touched if it changes by this share of the maximum nearby, this many 8-bit codes, and standard errors.
_MIN_SHARE, _MIN_CODES, _SURE = 0.06, 1.2, 3.0
# Pixels that change too little to detect, and would disturb the filling.
_FAINT_RIM = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
# Below this many standard errors at the median pixel, the scene changes too much between frames.
_CLEAR = 5.0
# The core of letters: its depth, and its change relative to the maximum nearby.
_CORE_PX, _CORE_SHARE, _CORE_AROUND_PX, _MIN_CORE_PX = 1.5, 0.8, 5, 40
# Errors of neighboring pixels are correlated: this many count as one. Lower bound of the error of slopes.
_CORRELATED_PX, _MIN_ERROR = 60, 0.03
# Share of the variance between pairs attributed to the background, the minimum that remains, and the error
# if it does not.
_OWN_SHARE, _MIN_SPREAD, _UNKNOWN_ERROR = 0.5, 3.0, 10.0
# Below this depth the change may be small; otherwise colors differ from the background by at least this much.
_DEEP_PX, _MIN_REACH = 3.0, 12.0
_OPAQUE, _MIN_ALPHA = 0.93, 0.02
# Brighter and darker than the background.
_SIGNS = (1, -1)
# Range of luma in 8-bit codes, with some overshoot by compression.
_POSSIBLE = (4.0, 248.0)
# Less of the background cannot be distinguished from noise.
_MIN_VISIBLE = 0.2
# With a larger standard error, the opacity is unknown.
_MAX_ERROR = 0.15


@dataclass(frozen=True)
class _Pair:
    """Two frames, one with the line and one without.

    seen      float32, components x height x width, in 8-bit codes
    beneath   float32, components x height x width: the other frame, moved like the surroundings
    variance  float32, height x width: of ``beneath`` in the first component, in squared codes
    """

    seen: Floats
    beneath: Floats
    variance: Floats


@dataclass(frozen=True)
class _Change:
    """The change by the line over all pairs, within its box.

    offset  float32, components x height x width, in 8-bit codes
    under   float32, components x height x width: without the line
    error   float32, height x width: standard error of ``offset`` in the first component
    """

    offset: Floats
    under: Floats
    error: Floats


def fit_line(path: Path, survey: Survey, line: Line) -> tuple[Samples, Fit] | None:
    """Return the fit of ``line`` and sampled frames in which it shows; None if it is only noise."""
    inside = np.unique(np.linspace(line.start, line.end - 1, _SAMPLES_INSIDE).round().astype(int)).tolist()
    pairs = _choose_pairs(line, len(survey.timeline))
    taken = dict(read_frames(path, survey, sorted({*inside, *(index for pair in pairs for index in pair)})))
    shape = read_shape(get_planar_format(survey.picture.pixel_format))
    shown = [index for index in inside if index in taken]
    if len(shown) < _MIN_SAMPLES:
        return None
    stacks = tuple(stack_frames([taken[index][number] for index in shown]) for number in range(len(shape.divisors)))
    samples = Samples(shape, tuple(shown), stacks, np.arange(len(shown)))
    box = grow_box(line.box, max(_ROOM_PX, line.box.height // 2), stacks[0].shape[1:])
    edges, others = np.zeros((box.height, box.width), np.bool_), np.zeros(stacks[0].shape[1:], np.bool_)
    edges[slice_box(line.box, box)] = line.edges
    others[box.part] = edges
    usual = fit_edges(samples, box, edges, others)
    if usual is None:
        return None
    crops = [tuple(_crop(taken[index], shape, box) for index in pair) for pair in pairs if {*pair} <= {*taken}]
    within = np.stack([_crop(taken[index], shape, box) for index in shown], axis=1)
    return samples, _fit_onset(usual, edges, [(without, seen) for without, seen in crops], within, shape) or usual


def _choose_pairs(line: Line, frames: int) -> list[tuple[int, int]]:
    """Return pairs of frames without and with the line, if the scene continues as it comes or goes."""
    away = range(_PAIRS)
    comes = [(line.start - 1 - far, line.start + far) for far in away if line.comes and line.start > far]
    goes = [(line.end + far, line.end - 1 - far) for far in away if line.goes and line.end + far < frames]
    return [pair for pair in comes + goes if line.start <= pair[1] < line.end]


def _fit_onset(
    usual: Fit, edges: Mask, crops: Sequence[tuple[Floats, Floats]], inside: Floats, shape: Shape
) -> Fit | None:
    """Return ``usual`` refined by the frames around the line's ends; None if they are uninformative."""
    region = grow_mask(fill_enclosed(edges), _SOFT_PX)
    if region.all() or not crops:
        return None
    pairs = list(_align_pairs(crops, region))
    change = _average_change(pairs)
    mask = _select_touched(change, region, edges)
    luma = np.abs(change.offset[0])
    if not mask.any() or float(np.median((luma / change.error)[mask])) < _CLEAR:
        return None
    opacity, error = _estimate_opacity(pairs, change, mask)
    expected = _compute_alphas(change, mask, opacity)
    alpha, color = _solve(pairs, inside, mask, expected) or (expected, _compute_colors(change, expected))
    unit = np.float32(1 << (shape.bits - 8))
    explained = 1.0 if error <= _MAX_ERROR else 0.0
    spread = inside.var(axis=1) / max(1 - opacity, _MIN_VISIBLE) ** 2
    variance = (alpha / opacity * error) ** 2 * spread + change.error**2
    noise = np.array([estimate_noise(frames, ~grow_mask(mask, 1)) for frames in inside], np.float32)
    return Fit(
        usual.box,
        mask,
        alpha,
        color * unit,
        np.asarray(variance / noise[:, None, None], np.float32),
        opacity,
        explained,
        usual.shown,
        usual.fades,
        risk=0.0,  # uncertain fits are not explained
    )


def _solve(pairs: Sequence[_Pair], inside: Floats, mask: Mask, expected: Floats) -> tuple[Floats, Floats] | None:
    """Return opacity and color of each pixel from ``pairs`` and from frames ``inside``, filled in below the line.

    Return None if the filling is less accurate than the frames just before or after.
    inside  float32, components x frames x height x width, in 8-bit codes
    """
    own = estimate_variance(inside[0], mask)
    between = np.stack([pair.variance[mask] for pair in pairs])
    if np.median(own) > np.median(between):
        return None
    filler = Filler(mask)
    filled = np.stack([filler(frames)[:, mask] for frames in inside])
    seen = np.concatenate([np.stack([pair.seen[:, mask] for pair in pairs], axis=1), inside[:, :, mask]], axis=1)
    beneath = np.concatenate([np.stack([pair.beneath[:, mask] for pair in pairs], axis=1), filled], axis=1)
    variance = np.concatenate([between, own])
    varied = float(filled[0].var(axis=0).mean())
    scenes = 1 + (len(own) - 1) * varied / (varied + float(own.mean()))
    shares = np.array([1.0] * len(pairs) + [scenes / len(own)] * len(own), np.float32)
    blending = solve_blending(seen, beneath, variance, shares, expected[mask], np.ones(len(shares), np.float32))
    weights = shares[:, None] / variance
    under = (weights * beneath).sum(axis=1) / weights.sum(axis=0)
    opaque = expected[mask] >= 1
    alpha = np.where(opaque, 1, np.clip(blending.alpha, _MIN_ALPHA, _OPAQUE)).astype(np.float32)
    change = blending.premultiplied - blending.alpha * under
    page = np.zeros((1 + len(change), *mask.shape), np.float32)
    page[:, mask] = [alpha, *np.clip(under + change / alpha, 0, 255)]
    return page[0], page[1:]


def _compute_colors(change: _Change, alpha: Floats) -> Floats:
    """Return the colors that cause the change at opacities ``alpha``: components x height x width, in 8-bit codes."""
    own = change.under + change.offset / np.maximum(alpha, _MIN_ALPHA)
    return np.asarray(np.clip(own, 0, 255), np.float32)


def _align_pairs(crops: Sequence[tuple[Floats, Floats]], region: Mask) -> Iterator[_Pair]:
    """Yield each frame without the line, moved onto the one with it; ``region`` is where the line may be."""
    filler, hole = Filler(region), make_flow_hole(region)
    across, down = np.meshgrid(
        np.arange(region.shape[1], dtype=np.float32), np.arange(region.shape[0], dtype=np.float32)
    )
    for without, seen in crops:
        one, other = (np.clip(luma, 0, 255).astype(np.uint8) for luma in filler(np.stack([seen[0], without[0]])))
        moves = cv2.resize(
            measure_flow(FlowFrame(one, hole), FlowFrame(other, hole)).astype(np.float32), region.shape[::-1]
        )
        places = across + moves[..., 0], down + moves[..., 1]
        beneath = np.stack(
            [cv2.remap(each, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for each in without]
        )
        yield _Pair(seen, beneath.astype(np.float32), _measure_variance(seen[0] - beneath[0], ~region))


def _measure_variance(error: Floats, outside: Mask) -> Floats:
    """Return the mean square of ``error`` at nearby pixels ``outside``; of all pixels if few are near."""
    size = (_AROUND_PX, _AROUND_PX)
    share = cv2.blur(outside.astype(np.float32), size)
    nearby = cv2.blur(error * error * outside, size) / np.maximum(share, _MIN_OUTSIDE)
    usual = np.float32((error[outside] ** 2).mean())
    return np.asarray(np.where(share > _MIN_OUTSIDE, nearby, usual) + _NOISE, np.float32)


def _average_change(pairs: Sequence[_Pair]) -> _Change:
    """Return the mean over ``pairs``, weighted by their accuracy."""
    weights = np.stack([1 / pair.variance for pair in pairs])
    total = weights.sum(axis=0)
    offset = sum(weight * (pair.seen - pair.beneath) for weight, pair in zip(weights, pairs, strict=True)) / total
    under = sum(weight * pair.beneath for weight, pair in zip(weights, pairs, strict=True)) / total
    return _Change(np.asarray(offset, np.float32), np.asarray(under, np.float32), np.sqrt(1 / total))


def _select_touched(change: _Change, region: Mask, edges: Mask) -> Mask:
    """Return pixels that the line changes significantly and that are connected to edges, with the gaps between."""
    strength = np.where(region, np.abs(change.offset[0]), 0).astype(np.float32)
    strongest = cv2.dilate(strength, np.ones((_AROUND_PX,) * 2, np.uint8))
    changed = strength > np.maximum(np.maximum(_MIN_SHARE * strongest, _MIN_CODES), _SURE * change.error)
    kept = keep_connected(changed, edges)
    closed = cv2.morphologyEx(kept.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((_GAP_PX,) * 2, np.uint8))
    return np.asarray(cv2.dilate(closed, _FAINT_RIM) > 0) & region


def _estimate_opacity(pairs: Sequence[_Pair], change: _Change, mask: Mask) -> tuple[float, float]:
    """Return the opacity of the line's core and its standard error: of the text or its outline, by the larger core."""
    core = max(_select_cores(change, mask), key=np.count_nonzero)
    if np.count_nonzero(core) < _MIN_CORE_PX:
        return 1.0, _UNKNOWN_ERROR
    opacity, error = _fit_opacity(pairs, change, core)
    return 1.0 if opacity > _OPAQUE else opacity, error


def _fit_opacity(pairs: Sequence[_Pair], change: _Change, core: Mask) -> tuple[float, float]:
    """Return the opacity of ``core`` from all its pixels, and from each pixel's change with the scene."""
    weights = np.stack([1 / pair.variance[core] for pair in pairs]).astype(np.float32)
    seen, beneath = (np.stack([part[0][core] for part in parts]) for parts in _split_pairs(pairs))
    slopes = [_fit_slope(seen, beneath, weights, axis) for axis in (None, 0)]
    parts = np.array([1 / error**2 for _, error in slopes])
    opacity = 1 - float(np.array([slope for slope, _ in slopes]) @ parts / parts.sum())
    reach = np.where(change.offset[0] > 0, _POSSIBLE[1] - change.under[0], change.under[0] - _POSSIBLE[0])[core]
    minimum = float(np.median(np.abs(change.offset[0][core]) / np.maximum(reach, 1)))
    return min(1.0, max(opacity, minimum, _MIN_ALPHA)), max(_MIN_ERROR, float(parts.sum() ** -0.5))


def _split_pairs(pairs: Sequence[_Pair]) -> tuple[list[Floats], list[Floats]]:
    return [pair.seen for pair in pairs], [pair.beneath for pair in pairs]


def _fit_slope(seen: Floats, beneath: Floats, weights: Floats, axis: int | None) -> tuple[float, float]:
    """Return the slope of ``seen`` over ``beneath`` (pairs x pixels) about the means along ``axis``, with its error.

    Half of the variance is attributed to ``beneath``, which flattens slopes, and is subtracted.
    """
    total = weights.sum(axis=axis, keepdims=True)
    x = beneath - (weights * beneath).sum(axis=axis, keepdims=True) / total
    y = seen - (weights * seen).sum(axis=axis, keepdims=True) / total
    spread = float((weights * x * x).sum())
    true = spread - _OWN_SHARE * (seen.size - total.size)
    if true < _MIN_SPREAD * seen.size:
        return 0.0, _UNKNOWN_ERROR
    slope = float((weights * x * y).sum()) / true
    left = float((weights * (y - slope * x) ** 2).sum()) / seen.size
    return slope, float(np.sqrt(max(left, 1.0) * _CORRELATED_PX / true))


def _select_cores(change: _Change, mask: Mask) -> list[Mask]:
    """Return the middle of the letters' lines: of bright and of dark ones."""
    deep = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1] >= _CORE_PX
    size = np.ones((_CORE_AROUND_PX,) * 2, np.uint8)
    cores = []
    for sign in _SIGNS:
        strength = np.maximum(sign * change.offset[0], 0)
        sure = (strength > 2 * _SURE * change.error) & deep
        cores.append(np.asarray(sure & (strength >= _CORE_SHARE * cv2.dilate(strength, size))))
    return cores


def _compute_alphas(change: _Change, mask: Mask, opacity: float) -> Floats:
    """Return each pixel's opacity: inside that of the core; at borders the change relative to the color."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    alpha = np.full(mask.shape, opacity, np.float32)
    for sign, core in zip(_SIGNS, _select_cores(change, mask), strict=True):
        own = (depth <= _DEEP_PX) & (sign * change.offset[0] >= 0)
        color = _estimate_color(change, core, opacity) if core.any() else _POSSIBLE[sign > 0]
        reach = np.maximum(sign * (color - change.under[0]), _MIN_REACH)
        alpha[own] = np.minimum(sign * change.offset[0] / reach, opacity)[own]
    return np.where(mask, np.maximum(alpha, _MIN_ALPHA), 0).astype(np.float32)


def _estimate_color(change: _Change, core: Mask, opacity: float) -> float:
    """Return the median luma of the line at its core, in 8-bit codes."""
    return float(np.clip(np.median((change.under[0] + change.offset[0] / opacity)[core]), *_POSSIBLE))


def _crop(planes: Sequence[Plane], shape: Shape, box: Box) -> Floats:
    """Return the components over ``box`` at the frame's resolution, in 8-bit codes."""
    return np.stack([upsample_plane(plane, number, box, shape) for number, plane in enumerate(planes)])
