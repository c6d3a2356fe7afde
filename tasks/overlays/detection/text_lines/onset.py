"""What a line of text is, out of the frames around its first and its last: just before it appears, the same is seen
without it.

Between neighbouring frames the scene hardly changes; how it moves is measured beside the line and carried on beneath
it. So J - I = a (W - I) is seen pixel by pixel, which gives the mask. At the line's core a is the same all over, and so
is W: J follows I with the slope 1 - a, from pixel to pixel, and, where the scene has changed when the line goes, at
each pixel from then to now.
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
from tasks.overlays.components import Shape, component_shape, planar_name, upsample_plane
from tasks.overlays.detection.fitting.blending import doubts, solve
from tasks.overlays.detection.fitting.error_ratios import noise_of
from tasks.overlays.detection.fitting.filling import Filler
from tasks.overlays.detection.fitting.overlay_fit import Fit, fit
from tasks.overlays.detection.sampling import Samples, read_frames, stacked
from tasks.overlays.detection.text_lines.ends import Line
from tasks.overlays.masks import fill_enclosed, grow_mask, keep_connected
from tasks.overlays.overlay import Floats, Mask
from tasks.overlays.removal.motion import Seen, flow, flow_hole

# Frames in which a line shows that are looked at, and the fewest that say anything.
_INSIDE, _FEWEST = 12, 4
# So many frames before and after it appears, and before and after it goes.
_PAIRS = 3
# The flow of what surrounds a line needs so many pixels around it.
_ROOM_PX = 24
# As far from the edges that were found, soft ones may go on; where text meets its rim is a gap of up to so many pixels.
_SOFT_PX, _GAP_PX = 4, 5
# Errors beside the line are taken from so far around each pixel, where so much of that is beside it; noise of coding.
_AROUND_PX, _LEAST_KNOWN, _NOISE = 25, 0.02, 1.0
# A pixel is touched where it changes by this share of the most around it, so many 8-bit codes, and standard errors.
_LEAST_SHARE, _LEAST_CODES, _SURE = 0.06, 1.2, 3.0
# What changes by less than can be told lies beside that, and would go into what is filled in from there.
_BESIDE = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
# Below so many standard errors of the usual pixel, the scene changes too much from frame to frame.
_CLEAR = 5.0
# The core of strokes: so deep, and so near to the most that changes around.
_CORE_PX, _CORE_SHARE, _CORE_AROUND_PX, _FEWEST_CORE_PX = 1.5, 0.8, 5, 40
# Neighbouring pixels err alike: so many count as one. No slope is surer than this.
_ALIKE_PX, _LEAST_ERROR = 60, 0.03
# Of the variance between pairs, this is of what lies beneath, and of the rest that much at least must be left; what
# else is said is as unsure as that.
_OWN_SHARE, _LEAST_SPREAD, _UNSURE = 0.5, 3.0, 10.0
# Between text and rim, so deep, nothing need change; else a colour is this far from what lies beneath at least.
_DEEP_PX, _LEAST_REACH = 3.0, 12.0
_OPAQUE, _LEAST_ALPHA = 0.93, 0.02
# Brighter, and darker, than what lies beneath.
_SIGNS = (1, -1)
# 8-bit codes of luma that pictures hold, and a little more: compression overshoots.
_POSSIBLE = (4.0, 248.0)
# Less of what lies beneath is not told from noise.
_LEAST_SEEN = 0.2
# With a larger standard error, the opacity is not known.
_MOST_ERROR = 0.15


@dataclass(frozen=True)
class _Pair:
    """Two frames, with the line and without.

    seen      float32, components x height x width, in 8-bit codes
    beneath   the same: the other frame, moved as its surroundings do
    variance  float32, height x width: of ``beneath`` in the first component, in squared codes
    """

    seen: Floats
    beneath: Floats
    variance: Floats


@dataclass(frozen=True)
class _Change:
    """What the line changes in all pairs, over its box.

    offset  float32, components x height x width, in 8-bit codes
    under   the same: what is seen without it
    error   float32, height x width: standard error of ``offset`` in the first component
    """

    offset: Floats
    under: Floats
    error: Floats


def fit_line(path: Path, found: Survey, line: Line) -> tuple[Samples, Fit] | None:
    """The fit of ``line``, with some frames in which it shows; None where it is nothing but chance."""
    inside = np.unique(np.linspace(line.start, line.end - 1, _INSIDE).round().astype(int)).tolist()
    pairs = _indices(line, len(found.timeline))
    taken = dict(read_frames(path, found, sorted({*inside, *(index for pair in pairs for index in pair)})))
    shape = component_shape(planar_name(found.picture.pixel_format))
    shown = [index for index in inside if index in taken]
    if len(shown) < _FEWEST:
        return None
    stacks = tuple(stacked([taken[index][number] for index in shown]) for number in range(len(shape.divisors)))
    samples = Samples(shape, tuple(shown), stacks, np.arange(len(shown)))
    box = grow_box(line.box, max(_ROOM_PX, line.box.height // 2), stacks[0].shape[1:])
    edges, others = np.zeros((box.height, box.width), np.bool_), np.zeros(stacks[0].shape[1:], np.bool_)
    edges[slice_box(line.box, box)] = line.edges
    others[box.part] = edges
    usual = fit(samples, box, edges, others)
    if usual is None:
        return None
    crops = [tuple(_crop(taken[index], shape, box) for index in pair) for pair in pairs if {*pair} <= {*taken}]
    within = np.stack([_crop(taken[index], shape, box) for index in shown], axis=1)
    return samples, _by_onset(usual, edges, [(one, other) for one, other in crops], within, shape) or usual


def _indices(line: Line, frames: int) -> list[tuple[int, int]]:
    """Frames without and with the line, in pairs, where the scene goes on as it comes or goes."""
    away = range(_PAIRS)
    comes = [(line.start - 1 - far, line.start + far) for far in away if line.comes and line.start > far]
    goes = [(line.end + far, line.end - 1 - far) for far in away if line.goes and line.end + far < frames]
    return [pair for pair in comes + goes if line.start <= pair[1] < line.end]


def _by_onset(
    usual: Fit, edges: Mask, crops: Sequence[tuple[Floats, Floats]], inside: Floats, shape: Shape
) -> Fit | None:
    """``usual`` with what the frames around the line's ends say instead; None where they say too little."""
    region = grow_mask(fill_enclosed(edges), _SOFT_PX)
    if region.all() or not crops:
        return None
    pairs = list(_pairs(crops, region))
    change = _change(pairs)
    mask = _touched(change, region, edges)
    luma = np.abs(change.offset[0])
    if not mask.any() or float(np.median((luma / change.error)[mask])) < _CLEAR:
        return None
    opacity, error = _opacity(pairs, change, mask)
    expected = _alphas(change, mask, opacity)
    alpha, color = _solved(pairs, inside, mask, expected) or (expected, _colors(change, expected))
    unit = np.float32(1 << (shape.bits - 8))
    explained = 1.0 if error <= _MOST_ERROR else 0.0
    spread = inside.var(axis=1) / max(1 - opacity, _LEAST_SEEN) ** 2
    doubt = (alpha / opacity * error) ** 2 * spread + change.error**2
    noise = np.array([noise_of(frames, ~grow_mask(mask, 1)) for frames in inside], np.float32)
    return Fit(
        usual.box,
        mask,
        alpha,
        color * unit,
        np.asarray(doubt / noise[:, None, None], np.float32),
        opacity,
        explained,
        usual.shown,
        usual.fades,
        risk=0.0,  # what is too unsure is not explained
    )


def _solved(pairs: Sequence[_Pair], inside: Floats, mask: Mask, expected: Floats) -> tuple[Floats, Floats] | None:
    """Opacity and colour of each pixel: out of ``pairs``, and of frames ``inside`` that are filled in beneath.

    None where what is filled in is less sure than what is seen just before or after.
    inside  float32, components x frames x height x width, in 8-bit codes
    """
    own = doubts(inside[0], mask)
    between = np.stack([pair.variance[mask] for pair in pairs])
    if np.median(own) > np.median(between):
        return None
    filler = Filler(mask)
    filled = np.stack([filler(frames)[:, mask] for frames in inside])
    seen = np.concatenate([np.stack([pair.seen[:, mask] for pair in pairs], axis=1), inside[:, :, mask]], axis=1)
    beneath = np.concatenate([np.stack([pair.beneath[:, mask] for pair in pairs], axis=1), filled], axis=1)
    doubt = np.concatenate([between, own])
    varied = float(filled[0].var(axis=0).mean())
    scenes = 1 + (len(own) - 1) * varied / (varied + float(own.mean()))
    shares = np.array([1.0] * len(pairs) + [scenes / len(own)] * len(own), np.float32)
    found = solve(seen, beneath, doubt, shares, expected[mask], np.ones(len(shares), np.float32))
    weights = shares[:, None] / doubt
    under = (weights * beneath).sum(axis=1) / weights.sum(axis=0)
    opaque = expected[mask] >= 1
    alpha = np.where(opaque, 1, np.clip(found.alpha, _LEAST_ALPHA, _OPAQUE)).astype(np.float32)
    change = found.whole - found.alpha * under
    page = np.zeros((1 + len(change), *mask.shape), np.float32)
    page[:, mask] = [alpha, *np.clip(under + change / alpha, 0, 255)]
    return page[0], page[1:]


def _colors(change: _Change, alpha: Floats) -> Floats:
    """The colours that change so much at opacities ``alpha``: components x height x width, in 8-bit codes."""
    own = change.under + change.offset / np.maximum(alpha, _LEAST_ALPHA)
    return np.asarray(np.clip(own, 0, 255), np.float32)


def _pairs(crops: Sequence[tuple[Floats, Floats]], region: Mask) -> Iterator[_Pair]:
    """Each frame without the line moved onto the one with it; ``region`` is where the line may be."""
    filler, hole = Filler(region), flow_hole(region)
    across, down = np.meshgrid(
        np.arange(region.shape[1], dtype=np.float32), np.arange(region.shape[0], dtype=np.float32)
    )
    for without, seen in crops:
        one, other = (np.clip(luma, 0, 255).astype(np.uint8) for luma in filler(np.stack([seen[0], without[0]])))
        moves = cv2.resize(flow(Seen(one, hole), Seen(other, hole)).astype(np.float32), region.shape[::-1])
        places = across + moves[..., 0], down + moves[..., 1]
        beneath = np.stack(
            [cv2.remap(each, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for each in without]
        )
        yield _Pair(seen, beneath.astype(np.float32), _variance(seen[0] - beneath[0], ~region))


def _variance(error: Floats, known: Mask) -> Floats:
    """The mean square of ``error`` at the pixels ``known`` around each pixel; of all, where few are near."""
    size = (_AROUND_PX, _AROUND_PX)
    share = cv2.blur(known.astype(np.float32), size)
    near = cv2.blur(error * error * known, size) / np.maximum(share, _LEAST_KNOWN)
    usual = np.float32((error[known] ** 2).mean())
    return np.asarray(np.where(share > _LEAST_KNOWN, near, usual) + _NOISE, np.float32)


def _change(pairs: Sequence[_Pair]) -> _Change:
    """The mean over ``pairs``, each counting as much as it is sure."""
    weights = np.stack([1 / pair.variance for pair in pairs])
    total = weights.sum(axis=0)
    offset = sum(weight * (pair.seen - pair.beneath) for weight, pair in zip(weights, pairs, strict=True)) / total
    under = sum(weight * pair.beneath for weight, pair in zip(weights, pairs, strict=True)) / total
    return _Change(np.asarray(offset, np.float32), np.asarray(under, np.float32), np.sqrt(1 / total))


def _touched(change: _Change, region: Mask, edges: Mask) -> Mask:
    """Pixels that the line changes for sure, as far as they hang together with edges, and the gaps between these."""
    strength = np.where(region, np.abs(change.offset[0]), 0).astype(np.float32)
    most = cv2.dilate(strength, np.ones((_AROUND_PX,) * 2, np.uint8))
    found = strength > np.maximum(np.maximum(_LEAST_SHARE * most, _LEAST_CODES), _SURE * change.error)
    kept = keep_connected(found, edges)
    closed = cv2.morphologyEx(kept.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((_GAP_PX,) * 2, np.uint8))
    return np.asarray(cv2.dilate(closed, _BESIDE) > 0) & region


def _opacity(pairs: Sequence[_Pair], change: _Change, mask: Mask) -> tuple[float, float]:
    """The opacity of the line's core, and its standard error: of text or its rim, whichever has the larger core."""
    core = max(_cores(change, mask), key=np.count_nonzero)
    if np.count_nonzero(core) < _FEWEST_CORE_PX:
        return 1.0, _UNSURE
    opacity, error = _opacity_of(pairs, change, core)
    return 1.0 if opacity > _OPAQUE else opacity, error


def _opacity_of(pairs: Sequence[_Pair], change: _Change, core: Mask) -> tuple[float, float]:
    """The opacity of ``core``: out of all its pixels, and of each pixel's change with the scene."""
    weights = np.stack([1 / pair.variance[core] for pair in pairs]).astype(np.float32)
    seen, beneath = (np.stack([part[0][core] for part in parts]) for parts in _parts(pairs))
    slopes = [_slope(seen, beneath, weights, axis) for axis in (None, 0)]
    parts = np.array([1 / error**2 for _, error in slopes])
    opacity = 1 - float(np.array([slope for slope, _ in slopes]) @ parts / parts.sum())
    reach = np.where(change.offset[0] > 0, _POSSIBLE[1] - change.under[0], change.under[0] - _POSSIBLE[0])[core]
    least = float(np.median(np.abs(change.offset[0][core]) / np.maximum(reach, 1)))
    return min(1.0, max(opacity, least, _LEAST_ALPHA)), max(_LEAST_ERROR, float(parts.sum() ** -0.5))


def _parts(pairs: Sequence[_Pair]) -> tuple[list[Floats], list[Floats]]:
    return [pair.seen for pair in pairs], [pair.beneath for pair in pairs]


def _slope(seen: Floats, beneath: Floats, weights: Floats, axis: int | None) -> tuple[float, float]:
    """Of ``seen`` over ``beneath``, pairs x pixels, about the means along ``axis``; and its standard error.

    Half of the variance is taken for that of ``beneath``, which makes slopes seem smaller, and is taken away.
    """
    total = weights.sum(axis=axis, keepdims=True)
    x = beneath - (weights * beneath).sum(axis=axis, keepdims=True) / total
    y = seen - (weights * seen).sum(axis=axis, keepdims=True) / total
    spread = float((weights * x * x).sum())
    true = spread - _OWN_SHARE * (seen.size - total.size)
    if true < _LEAST_SPREAD * seen.size:
        return 0.0, _UNSURE
    slope = float((weights * x * y).sum()) / true
    left = float((weights * (y - slope * x) ** 2).sum()) / seen.size
    return slope, float(np.sqrt(max(left, 1.0) * _ALIKE_PX / true))


def _cores(change: _Change, mask: Mask) -> list[Mask]:
    """The middle of strokes, of the brighter and of the darker ones."""
    deep = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1] >= _CORE_PX
    size = np.ones((_CORE_AROUND_PX,) * 2, np.uint8)
    found = []
    for sign in _SIGNS:
        strength = np.maximum(sign * change.offset[0], 0)
        sure = (strength > 2 * _SURE * change.error) & deep
        found.append(np.asarray(sure & (strength >= _CORE_SHARE * cv2.dilate(strength, size))))
    return found


def _alphas(change: _Change, mask: Mask, opacity: float) -> Floats:
    """Each pixel's opacity: the core's inside; at borders what changes, by what the colour of text or rim would."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    alpha = np.full(mask.shape, opacity, np.float32)
    for sign, core in zip(_SIGNS, _cores(change, mask), strict=True):
        own = (depth <= _DEEP_PX) & (sign * change.offset[0] >= 0)
        color = _color(change, core, opacity) if core.any() else _POSSIBLE[sign > 0]
        reach = np.maximum(sign * (color - change.under[0]), _LEAST_REACH)
        alpha[own] = np.minimum(sign * change.offset[0] / reach, opacity)[own]
    return np.where(mask, np.maximum(alpha, _LEAST_ALPHA), 0).astype(np.float32)


def _color(change: _Change, core: Mask, opacity: float) -> float:
    """The usual luma of the line at its core, in 8-bit codes."""
    return float(np.clip(np.median((change.under[0] + change.offset[0] / opacity)[core]), *_POSSIBLE))


def _crop(planes: Sequence[Plane], shape: Shape, box: Box) -> Floats:
    """The components over ``box`` at the picture's resolution, in 8-bit codes."""
    return np.stack([upsample_plane(plane, number, box, shape) for number, plane in enumerate(planes)])
