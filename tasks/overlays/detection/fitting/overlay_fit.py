"""How opaque an overlay is, and its colour, out of frames in which different things lie beneath it.

A sample is J = (1 - a) I + a W. I is not seen, but what surrounds the overlay is: the region is filled in from its
border by Laplace's equation, which gives an estimate of I in each frame. Over frames, J follows that estimate with the
slope 1 - a. I itself follows the estimate with a slope below 1: that is measured beside the overlay, where the same
region is filled in over a picture that is known, and divided out. The lasting gradients, integrated over the region by
Poisson's equation, are the mean of J - I = a (W - I): with the opacity that gives the colour, and with the colour each
pixel's own opacity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tasks.media.segments.planes import Plane
from tasks.overlays.boxes import Box
from tasks.overlays.components import Shape, upsample
from tasks.overlays.detection.fitting.blending import STRAY, Blending, doubts, solve, strength_in
from tasks.overlays.detection.fitting.error_ratios import Beside, Trust, noise_of, trust_of
from tasks.overlays.detection.fitting.filling import Filler, filler_each
from tasks.overlays.detection.sampling import Samples
from tasks.overlays.masks import fill_enclosed, grow_mask, keep_connected
from tasks.overlays.overlay import Floats, Mask

# Of the values in memory while one overlay is fitted.
_MOST_VALUES = 3 << 20
# A pixel is touched where it differs from what surrounds it by this share of the most, and by so many 8-bit codes.
_LEAST_SHARE, _LEAST_CODES = 0.09, 1.2
# Chroma has fewer samples: it says less of where an overlay ends.
_CHROMA_WEIGHT = 0.5
_CORE_SHARE = 0.8
# So near to its border a filled-in region is trusted for slopes.
_NEAR_PX = 4
# So deep inside an overlay its opacity has reached that of its core.
_DEEP_PX = 3
_SAME_COLOR = 14.0
_OPAQUE = 0.96
_LEAST_ALPHA = 0.02
# Between a text and its rim, where it is neither brighter nor darker than what surrounds it.
_GAP_PX = 5
# As far from the edges that were found, soft ones may go on.
_SOFT_PX = 3
# Colours nearer than this to what lies beneath say nothing of opacity.
_LEAST_REACH = 20.0
# 8-bit codes of luma that pictures hold, and a little more: compression overshoots.
_POSSIBLE = (4, 248)
# Mostly darker than what surrounds it, of all that it differs by.
_DARK_SHARE = 0.6
_FEWEST_CORE_PX = 20
_LEAST_SPREAD = 1e-3

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fit:
    """One overlay over its box, at the picture's resolution.

    mask      bool, height x width: pixels that it touches
    alpha     float32, height x width, 0 to 1; 0 outside the mask
    color     float32, components x height x width, codes of the source
    doubt     float32, components x height x width: variance of alpha (color - I) by errors of both, by that of noise
    core      the opacity of its most opaque pixels
    explained the share of what happens under the core that alpha and color account for, at most 1
    shown     float32, one a frame: how strong it is there, as a share of what it is over all
    fades     whether that has more values than there and not there
    risk      variance of the error of undoing the blend, by that of filling in, at the usual pixel and frame
    """

    box: Box
    mask: Mask
    alpha: Floats
    color: Floats
    doubt: Floats
    core: float
    explained: float
    shown: Floats
    fades: bool
    risk: float


def fit(samples: Samples, box: Box, edges: Mask, others: Mask) -> Fit | None:
    """Fit what lies over ``box``, whose lasting edges are ``edges``; ``others`` are pixels of the picture in overlays.

    ``None`` where nothing is left of it.
    """
    crop = _Crop(samples, box)
    region = grow_mask(fill_enclosed(edges), 2)
    near = grow_mask(edges, 2)
    for _ in range(2):
        if region.all() or not region.any():
            return None
        filler = Filler(region)
        halves = [
            np.stack([filler.relief(*crop.lasting(frames, near, half)) for frames in crop.frames]) for half in (0, 1)
        ]
        mask = _touched(_agreed(*halves), region, edges)
        region = grow_mask(mask, 2)
    if not mask.any():
        return None
    offset = np.asarray(halves[0] + halves[1], np.float32) / np.float32(2)
    beneath = filler_each(filler, crop.frames)
    found = _fitted(crop, filler, beneath, mask, offset, others)
    return _with_own_mask(crop, mask, others, *found)


def fit_under(samples: Samples, box: Box, mask: Mask, others: Mask) -> Fit | None:
    """The same where it is known which pixels are touched: those of ``mask``, bool, height x width of ``box``.

    ``None`` where that leaves nothing around it.
    """
    crop = _Crop(samples, box)
    if mask.all() or not mask.any():
        return None
    filler = Filler(mask)
    beneath = filler_each(filler, crop.frames)
    offset = np.stack([crop.mean(seen - guess) for seen, guess in zip(crop.frames, beneath, strict=True)])
    expected, strength = _fitted(crop, filler, beneath, mask, offset, others)
    pixels = _pixels_of(crop, mask, others)
    return _as_fit(crop, mask, mask, pixels, pixels.solved(expected[mask], strength))


def strength(planes: Sequence[Plane], shape: Shape, fitted: Fit, filler: Filler) -> float:
    """By what factor the overlay shows in one frame, whose components are ``planes``; ``filler`` is its filler."""
    unit = np.float32(1 << (shape.bits - 8))
    luma = upsample(planes[0][None], 0, fitted.box, shape)
    beneath = filler(luma)[:, filler.region]
    alpha, color = fitted.alpha[filler.region], fitted.color[0][filler.region] / unit
    doubt = doubts(luma, filler.region)
    return strength_in((luma[:, filler.region] - beneath)[0], (alpha * (color - beneath))[0], doubt[0])


def filler_of(fitted: Fit) -> Filler:
    """What fills in the overlay's pixels from around it."""
    return Filler(grow_mask(fitted.mask, 2))


class _Crop:
    """The sampled frames within a box: each component at the picture's resolution, in 8-bit codes."""

    def __init__(self, samples: Samples, box: Box) -> None:
        self.samples, self.box = samples, box
        count = len(samples.indices)
        most = max(16, _MOST_VALUES // (box.width * box.height))
        self.taken = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
        groups = samples.groups[self.taken]
        sizes = np.bincount(groups)
        self.weights = np.asarray(1 / sizes[groups] / np.count_nonzero(sizes), np.float32)
        self.shares = np.asarray(1 / sizes[groups], np.float32)
        self.frames = self.at(box.x, box.y)

    def at(self, x: int, y: int) -> list[Floats]:
        """The same box elsewhere."""
        box = Box(x, y, self.box.width, self.box.height)
        stacks = enumerate(self.samples.components)
        return [upsample(stack[self.taken], number, box, self.samples.shape) for number, stack in stacks]

    def lasting(self, frames: Floats, near: Mask, half: int) -> tuple[Floats, Floats]:
        """The medians over every other scene of the differences to the next pixel, across and down.

        They are 0 away from ``near``; ``half`` is 0 or 1.
        """
        groups = self.samples.groups[self.taken]
        numbers = np.unique(groups)
        numbers = numbers[half::2] if len(numbers) > 1 else numbers
        scenes = np.stack([frames[groups == group].mean(axis=0) for group in numbers])
        across = np.median(np.diff(scenes, axis=2, append=scenes[:, :, -1:]), axis=0)
        down = np.median(np.diff(scenes, axis=1, append=scenes[:, -1:]), axis=0)
        return np.where(near, across, 0).astype(np.float32), np.where(near, down, 0).astype(np.float32)

    def mean(self, values: Floats) -> Floats:
        """The mean over frames, scenes counting alike."""
        return np.asarray(np.tensordot(self.weights, values, axes=1), np.float32)


def _fitted(
    crop: _Crop, filler: Filler, beneath: list[Floats], mask: Mask, offset: Floats, others: Mask
) -> tuple[Floats, Floats]:
    """What the whole overlay's statistics say: the opacity expected of each pixel, and its strength in each frame."""
    labels = _parts(offset, mask)
    core = _core(_strengths(offset), labels)
    under = np.stack([crop.mean(frames) for frames in beneath])
    opacity = _opacities(crop, filler, beneath, core, (labels, offset[0] < 0), others)
    color = _colors(labels, core, under + offset / opacity)
    alpha = _alphas(offset, color - under, labels, opacity)
    return alpha, _factors(crop.frames, beneath, alpha, color)


def _with_own_mask(crop: _Crop, mask: Mask, others: Mask, expected: Floats, strength: Floats) -> Fit | None:
    """The fit of single pixels, and the mask again out of what they change: text and rim have no gap between them."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((_GAP_PX,) * 2, np.uint8)) > 0
    region = grow_mask(closed, _SOFT_PX)
    if region.all():
        return None
    expected = np.asarray(cv2.morphologyEx(expected, cv2.MORPH_CLOSE, np.ones((_GAP_PX,) * 2, np.uint8)), np.float32)
    pixels = _pixels_of(crop, region, others)
    found = pixels.solved(expected[region], strength)
    effect = _spread(found.effect, region)
    changed = region & (effect > np.maximum(_LEAST_SHARE * cv2.dilate(effect, np.ones((25, 25))), _LEAST_CODES))
    changed = keep_connected(changed, mask)
    return _as_fit(crop, region, changed, pixels, found) if changed.any() else None


@dataclass(frozen=True)
class _Pixels:
    """What is known of the N pixels of a region.

    seen     float32, components x frames x N, in 8-bit codes
    beneath  the same: what is estimated beneath
    doubt    float32, frames x N: the variance that is foretold of that in the first component
    shares   float32, frames: by how much each counts
    trust    how large errors are beside the region, by what is foretold
    noise    float32, components: the variance of samples around the region by noise, in squared 8-bit codes
    """

    seen: Floats
    beneath: Floats
    doubt: Floats
    shares: Floats
    trust: Trust
    noise: Floats

    def solved(self, expected: Floats, strength: Floats) -> Blending:
        """What explains best how they are seen."""
        return solve(self.seen, self.beneath, self.doubt, self.shares, expected, strength)

    def doubts(self, found: Blending) -> Floats:
        """The variance of what the overlay changes, by errors of its opacity and colour: components x N."""
        weights = self.shares / self.shares.sum()
        mean = np.tensordot(self.beneath, weights, axes=(1, 0))
        spread = np.tensordot((self.beneath - mean[:, None]) ** 2, weights, axes=(1, 0))
        told = found.spreads / (found.spreads + 1 / STRAY**2)
        error = told**2 * self.trust.slope / np.maximum(found.spreads, _LEAST_SPREAD) + (1 - told) ** 2 * STRAY**2
        return np.asarray(error * spread + self.trust.means[:, None] / found.counts, np.float32)

    def risk(self, doubt: Floats, alpha: Floats) -> float:
        """By how much undoing the blend errs more than filling in, at the usual pixel: a ratio of variances."""
        through = alpha < _OPAQUE
        if not through.any():
            return 0.0
        filled = self.trust.single * np.exp(np.log(self.doubt[:, through]).mean(axis=0))
        return float(np.median(doubt[0, through] / (1 - alpha[through]) ** 2 / filled))


def _pixels_of(crop: _Crop, region: Mask, others: Mask) -> _Pixels:
    filler = Filler(region)
    seen = np.stack([frames[:, region] for frames in crop.frames])
    beneath = np.stack([frames[:, region] for frames in filler_each(filler, crop.frames)])
    trust = trust_of(list(_places(crop, filler, others)), crop.shares, len(crop.frames))
    noise = np.array([noise_of(frames, ~grow_mask(region, 1)) for frames in crop.frames], np.float32)
    return _Pixels(seen, beneath, doubts(crop.frames[0], region), crop.shares, trust, noise)


def _places(crop: _Crop, filler: Filler, others: Mask) -> Iterator[Beside]:
    """Where the same region lies over nothing but the picture."""
    for x, y in places_beside(crop.box, others, filler.region):
        frames = crop.at(x, y)
        true, guessed = (
            np.stack([one[:, filler.region] for one in each]) for each in (frames, filler_each(filler, frames))
        )
        yield Beside(true, guessed, doubts(frames[0], filler.region))


def _as_fit(crop: _Crop, region: Mask, mask: Mask, pixels: _Pixels, found: Blending) -> Fit:
    """What was found of the pixels of ``region``, of those of ``mask``."""
    alpha, color = _own_colors(found, pixels.beneath)
    shown = np.full(len(crop.samples.indices), np.nan, np.float32)
    shown[crop.taken] = found.strength
    unit = np.float32(1 << (crop.samples.shape.bits - 8))
    alphas = np.where(mask, _spread(alpha, region), 0).astype(np.float32)
    colors = np.stack([_spread(one, region) for one in color]) * unit
    doubt = pixels.doubts(found)
    doubts_there = np.stack([_spread(one, region) for one in doubt / pixels.noise[:, None]])
    core_alpha = float(np.quantile(alphas[mask], 0.95))
    explained = _explained(pixels, found)
    risk = pixels.risk(doubt, alpha)
    return Fit(crop.box, mask, alphas, colors, doubts_there, core_alpha, explained, shown, found.fades, risk)


def _spread(values: Floats, region: Mask) -> Floats:
    """``values``, one a pixel of ``region``, where they belong; 0 elsewhere."""
    page = np.zeros(region.shape, np.float32)
    page[region] = values
    return page


def _own_colors(found: Blending, beneath: Floats) -> tuple[Floats, Floats]:
    """Opacity and colour of each pixel: a colour that no sample has means that the opacity was taken for too low."""
    under = np.asarray(beneath.mean(axis=1), np.float32)
    alpha = np.maximum(found.alpha, _LEAST_ALPHA)
    change = found.whole - found.alpha * under
    luma = np.clip(found.whole[0] / alpha, *_POSSIBLE)
    beyond = (np.abs(found.whole[0] / alpha - luma) > 1) & (np.abs(luma - under[0]) > _LEAST_REACH)
    fitting = np.divide(change[0], luma - under[0], out=np.zeros_like(alpha), where=beyond)
    alpha = np.where(beyond, np.clip(fitting, _LEAST_ALPHA, 1), alpha).astype(np.float32)
    return alpha, np.clip(under + change / alpha, 0, 255).astype(np.float32)


def _explained(pixels: _Pixels, found: Blending) -> float:
    """How much of what is seen but not expected the overlay accounts for, at the pixels that it changes most."""
    core = found.effect >= np.quantile(found.effect, 0.7)
    due = found.strength[:, None] * (found.whole[0] - found.alpha * pixels.beneath[0])
    difference = pixels.seen[0] - pixels.beneath[0]
    left = ((difference - due) ** 2 / pixels.doubt)[:, core].sum()
    return float(1 - left / max(float((difference**2 / pixels.doubt)[:, core].sum()), 1e-6))


def _parts(offset: Floats, mask: Mask) -> Labels:
    """Numbers from 1 for what hangs together and is brighter, or darker, than its surroundings: text and its rim."""
    dark = mask & (offset[0] < -_DARK_SHARE * _strengths(offset))
    bright, count = ndimage.label(mask & ~dark, np.ones((3, 3)))
    rims, _ = ndimage.label(dark, np.ones((3, 3)))
    return np.asarray(np.where(dark, rims + count, bright), np.int64)


def _opacities(
    crop: _Crop, filler: Filler, beneath: list[Floats], core: Mask, parts: tuple[Labels, Mask], others: Mask
) -> Floats:
    """The opacity at the core of bright and of dark parts, at each pixel of them; both the same where one has few."""
    labels, darker = parts
    opacity = np.ones(core.shape, np.float32)
    whole = _opacity(crop, filler, beneath, core, others)
    for kind in (darker, ~darker):
        own = core & kind
        enough = np.count_nonzero(own) >= _FEWEST_CORE_PX
        opacity[kind & (labels > 0)] = _opacity(crop, filler, beneath, own, others) if enough else whole
    return opacity


def _opacity(crop: _Crop, filler: Filler, beneath: list[Floats], core: Mask, others: Mask) -> float:
    slope = _slope(crop, crop.frames, beneath, core, filler.region)
    opacity = float(np.clip(1 - slope / _usual_slope(crop, filler, core, others), _LEAST_ALPHA, 1))
    return 1.0 if opacity > _OPAQUE else opacity


def _touched(strengths: Floats, region: Mask, edges: Mask) -> Mask:
    """Pixels of ``region`` that differ from their surroundings, as far as they hang together with edges."""
    most = cv2.dilate(strengths, np.ones((25, 25), np.uint8))
    found = region & (strengths > np.maximum(_LEAST_SHARE * most, _LEAST_CODES))
    return keep_connected(found, edges)


def _agreed(one: Floats, other: Floats) -> Floats:
    """How much pixels differ from their surroundings in both halves of the scenes: what chance does, it does in one."""
    weights = np.full((len(one), 1, 1), _CHROMA_WEIGHT, np.float32)
    weights[0] = 1
    return np.asarray(np.sqrt(np.maximum((weights**2 * one * other).sum(axis=0), 0)), np.float32)


def _strengths(offset: Floats) -> Floats:
    """How much each pixel differs from its surroundings, in all components: height x width."""
    weights = np.full((len(offset), 1, 1), _CHROMA_WEIGHT, np.float32)
    weights[0] = 1
    return np.asarray(np.sqrt(((weights * offset) ** 2).sum(axis=0)), np.float32)


def _core(strengths: Floats, labels: Labels) -> Mask:
    """Pixels that differ from their surroundings about as much as any of their part does."""
    core = np.zeros(labels.shape, bool)
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        part = labels[place] == number
        core[place] |= part & (strengths[place] >= _CORE_SHARE * np.quantile(strengths[place][part], 0.95))
    return core


def _slope(crop: _Crop, frames: list[Floats], beneath: list[Floats], core: Mask, region: Mask) -> float:
    """The slope of what is seen over what is estimated beneath, over frames, at core pixels near the border."""
    product, square = _moments(crop, frames, beneath, core & _near(region, core))
    return product / max(square, 1e-6)


def _near(region: Mask, core: Mask) -> Mask:
    depth = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 3)
    least = float(depth[core].min(initial=_NEAR_PX))
    return np.asarray(depth <= max(_NEAR_PX, least + 1) + 2)


def _moments(crop: _Crop, frames: list[Floats], beneath: list[Floats], where: Mask) -> tuple[float, float]:
    """Covariance and variance over frames, summed over pixels and components."""
    product = square = 0.0
    for seen, guess in zip(frames, beneath, strict=True):
        j, i = seen[:, where], guess[:, where]
        j, i = j - crop.mean(j), i - crop.mean(i)
        product += float((crop.mean(j * i)).sum())
        square += float((crop.mean(i * i)).sum())
    return product, square


def _usual_slope(crop: _Crop, filler: Filler, core: Mask, others: Mask) -> float:
    """The same slope where nothing lies over the picture: beside, above and below the overlay."""
    near = core & _near(filler.region, core)
    product = square = 0.0
    for x, y in places_beside(crop.box, others, filler.region):
        frames = crop.at(x, y)
        more = _moments(crop, frames, filler_each(filler, frames), near)
        product, square = product + more[0], square + more[1]
    return float(np.clip(product / square, 0.5, 1.1)) if square > 0 else 1.0


def places_beside(box: Box, others: Mask, region: Mask) -> Iterator[tuple[int, int]]:
    """Where the box fits in beside itself without overlays in it, four places at most."""
    height, width = others.shape
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    down, across = int(np.ptp(rows)) + 5, int(np.ptp(columns)) + 5
    for x, y in ((0, -down), (0, down), (-across, 0), (across, 0), (0, -2 * down), (0, 2 * down)):
        left, top = box.x + x, box.y + y
        inside = left >= 0 and top >= 0 and left + box.width <= width and top + box.height <= height
        if inside and not (others[top : top + box.height, left : left + box.width] & region).any():
            yield left, top


def _colors(labels: Labels, core: Mask, seen: Floats) -> Floats:
    """The colour of each part out of ``seen`` at its core; parts of nearly the same colour share it."""
    numbers = np.arange(1, int(labels.max()) + 1)
    sizes = ndimage.sum_labels(core, labels, numbers)
    means = [ndimage.mean(np.clip(one, 0, 255), np.where(core, labels, 0), numbers) for one in seen]
    own = np.stack(means, axis=1)
    shared = own.copy()
    for number in range(len(own)):
        alike = np.abs(own - own[number]).max(axis=1) < _SAME_COLOR
        shared[number] = np.average(own[alike], axis=0, weights=sizes[alike])
    near = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    return np.asarray(shared[labels[tuple(near)] - 1].transpose(2, 0, 1), np.float32)


def _alphas(offset: Floats, reach: Floats, labels: Labels, opacity: Floats) -> Floats:
    """Each pixel's opacity: ``offset`` as a share of ``reach``, by least squares; in the depth of a part the core's."""
    alpha = (offset * reach).sum(axis=0) / np.maximum((reach * reach).sum(axis=0), 1)
    same = np.ones(labels.shape, bool)
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        same &= np.roll(labels, step, axis) == labels
    depth = cv2.distanceTransform(np.pad(same & (labels > 0), 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    deep = depth > _DEEP_PX - 1
    alpha[deep] = opacity[deep]
    return np.where(labels > 0, np.clip(alpha, 0, opacity), 0).astype(np.float32)


def _factors(frames: list[Floats], beneath: list[Floats], alpha: Floats, color: Floats) -> Floats:
    """Least squares a frame: what differs from the estimate beneath, as a share of what the overlay should change."""
    product = square = np.zeros(len(frames[0]), np.float32)
    for seen, guess, own in zip(frames, beneath, color, strict=True):
        due = alpha * (own - guess)
        product = product + ((seen - guess) * due).sum(axis=(1, 2))
        square = square + (due * due).sum(axis=(1, 2))
    return np.asarray(product / np.maximum(square, 1e-3), np.float32)
