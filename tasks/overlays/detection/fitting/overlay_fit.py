"""Opacity and color of an overlay, fitted to frames with different backgrounds.

A sample is J = (1 - a) I + a W. I is not visible, but the surroundings of the overlay are: Laplace's equation fills in
the region from its border, which estimates I in each frame. Over the frames, J depends on that estimate with the slope
1 - a. I itself depends on the estimate with a slope below 1. That slope is measured next to the overlay, where the same
region is filled in over a known image, and divided out. Poisson's equation integrates the lasting gradients over the
region: the result is the mean of J - I = a (W - I). With the opacity it gives the color, and with the color each
pixel's opacity.
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
from tasks.overlays.detection.fitting.blending import (
    OPACITY_DEVIATION,
    Blending,
    estimate_strength,
    estimate_variance,
    solve_blending,
)
from tasks.overlays.detection.fitting.error_ratios import ErrorRatios, Reference, estimate_noise, measure_error_ratios
from tasks.overlays.detection.fitting.filling import Filler, fill_all
from tasks.overlays.detection.sampling import Samples
from tasks.overlays.masks import fill_enclosed, grow_mask, keep_connected
from tasks.overlays.overlay import Floats, Mask

# Maximum number of values in memory while one overlay is fitted.
_MAX_VALUES = 3 << 20
# A pixel is touched if it differs from its surroundings by this share of the maximum and by this many 8-bit codes.
_MIN_SHARE, _MIN_CODES = 0.09, 1.2
# Chroma has fewer samples, so it locates borders less precisely.
_CHROMA_WEIGHT = 0.5
_CORE_SHARE = 0.8
# Slopes are measured at most this far from the border of a region.
_NEAR_PX = 4
# At this depth, the opacity has reached that of the core.
_DEEP_PX = 3
_SAME_COLOR = 14.0
_OPAQUE = 0.96
_MIN_ALPHA = 0.02
# Width of the gap between text and its outline, where the sign of the difference changes.
_GAP_PX = 5
# Width of soft edges beyond the detected ones.
_SOFT_PX = 3
# Colors closer to the background than this are uninformative about the opacity.
_MIN_REACH = 20.0
# Range of luma in 8-bit codes, with some overshoot by compression.
_POSSIBLE = (4, 248)
# Darker than the surroundings, as a share of the difference.
_DARK_SHARE = 0.6
_MIN_CORE_PX = 20
_MIN_SPREAD = 1e-3

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fit:
    """One overlay over its box, at the frame's resolution.

    mask       bool, height x width: pixels that it touches
    alpha      float32, height x width, 0 to 1; 0 outside the mask
    color      float32, components x height x width, in codes of the source
    doubt      float32, components x height x width: error variance of alpha (color - I), divided by the noise variance
    core       opacity of its most opaque pixels
    explained  share of the changes under the core that alpha and color explain, at most 1
    shown      float32, one per frame: strength relative to the usual one
    fades      ``shown`` has values between visible and invisible
    risk       error variance of inverting the blending, divided by that of filling in, at the median pixel and frame
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


def fit_edges(samples: Samples, box: Box, edges: Mask, others: Mask) -> Fit | None:
    """Fit the overlay in ``box`` whose lasting edges are ``edges``; ``others`` are all pixels under overlays.

    Return None if no pixel differs from the surroundings.
    """
    crop = _Crop(samples, box)
    region = grow_mask(fill_enclosed(edges), 2)
    near_edges = grow_mask(edges, 2)
    for _ in range(2):
        if region.all() or not region.any():
            return None
        filler = Filler(region)
        halves = [
            np.stack([filler.integrate(*crop.measure_gradients(frames, near_edges, half)) for frames in crop.frames])
            for half in (0, 1)
        ]
        mask = _select_touched(_combine_halves(*halves), region, edges)
        region = grow_mask(mask, 2)
    if not mask.any():
        return None
    offset = np.asarray(halves[0] + halves[1], np.float32) / np.float32(2)
    beneath = fill_all(filler, crop.frames)
    whole_fit = _fit_whole(crop, filler, beneath, mask, offset, others)
    return _refine_mask(crop, mask, others, *whole_fit)


def fit_mask(samples: Samples, box: Box, mask: Mask, others: Mask) -> Fit | None:
    """Fit the overlay in ``box`` that touches the pixels of ``mask``: bool, height x width of the box.

    Return None if the mask is empty or leaves no surroundings.
    """
    crop = _Crop(samples, box)
    if mask.all() or not mask.any():
        return None
    filler = Filler(mask)
    beneath = fill_all(filler, crop.frames)
    offset = np.stack([crop.average(seen - guess) for seen, guess in zip(crop.frames, beneath, strict=True)])
    expected, strength = _fit_whole(crop, filler, beneath, mask, offset, others)
    pixels = _gather_pixels(crop, mask, others)
    return _make_fit(crop, mask, mask, pixels, pixels.solve(expected[mask], strength))


def measure_strength(planes: Sequence[Plane], shape: Shape, fitted: Fit, filler: Filler) -> float:
    """Return the strength of the overlay in one frame with the components ``planes``; ``filler`` fills in its mask."""
    unit = np.float32(1 << (shape.bits - 8))
    luma = upsample(planes[0][None], 0, fitted.box, shape)
    beneath = filler(luma)[:, filler.region]
    alpha, color = fitted.alpha[filler.region], fitted.color[0][filler.region] / unit
    variance = estimate_variance(luma, filler.region)
    return estimate_strength((luma[:, filler.region] - beneath)[0], (alpha * (color - beneath))[0], variance[0])


def make_filler(fitted: Fit) -> Filler:
    """Return a filler for the pixels of the overlay."""
    return Filler(grow_mask(fitted.mask, 2))


class _Crop:
    """The sampled frames within a box: each component at the frame's resolution, in 8-bit codes."""

    def __init__(self, samples: Samples, box: Box) -> None:
        self.samples, self.box = samples, box
        count = len(samples.indices)
        max_frames = max(16, _MAX_VALUES // (box.width * box.height))
        self.taken = np.unique(np.linspace(0, count - 1, min(count, max_frames)).round().astype(int))
        groups = samples.groups[self.taken]
        sizes = np.bincount(groups)
        self.weights = np.asarray(1 / sizes[groups] / np.count_nonzero(sizes), np.float32)
        self.shares = np.asarray(1 / sizes[groups], np.float32)
        self.frames = self.read_box(box.x, box.y)

    def read_box(self, x: int, y: int) -> list[Floats]:
        """Return the frames of a box of the same size elsewhere."""
        box = Box(x, y, self.box.width, self.box.height)
        stacks = enumerate(self.samples.components)
        return [upsample(stack[self.taken], number, box, self.samples.shape) for number, stack in stacks]

    def measure_gradients(self, frames: Floats, near: Mask, half: int) -> tuple[Floats, Floats]:
        """Return the median differences to the next column and row over every other scene.

        They are 0 outside ``near``; ``half`` is 0 or 1.
        """
        groups = self.samples.groups[self.taken]
        numbers = np.unique(groups)
        numbers = numbers[half::2] if len(numbers) > 1 else numbers
        scenes = np.stack([frames[groups == group].mean(axis=0) for group in numbers])
        across = np.median(np.diff(scenes, axis=2, append=scenes[:, :, -1:]), axis=0)
        down = np.median(np.diff(scenes, axis=1, append=scenes[:, -1:]), axis=0)
        return np.where(near, across, 0).astype(np.float32), np.where(near, down, 0).astype(np.float32)

    def average(self, values: Floats) -> Floats:
        """Return the mean over frames; scenes have equal weights."""
        return np.asarray(np.tensordot(self.weights, values, axes=1), np.float32)


def _fit_whole(
    crop: _Crop, filler: Filler, beneath: list[Floats], mask: Mask, offset: Floats, others: Mask
) -> tuple[Floats, Floats]:
    """Fit the overlay as a whole: return the expected opacity of each pixel, and the strength in each frame."""
    labels = _label_parts(offset, mask)
    core = _select_core(_combine_components(offset), labels)
    under = np.stack([crop.average(frames) for frames in beneath])
    opacity = _estimate_opacities(crop, filler, beneath, core, (labels, offset[0] < 0), others)
    color = _estimate_colors(labels, core, under + offset / opacity)
    alpha = _estimate_alphas(offset, color - under, labels, opacity)
    return alpha, _estimate_factors(crop.frames, beneath, alpha, color)


def _refine_mask(crop: _Crop, mask: Mask, others: Mask, expected: Floats, strength: Floats) -> Fit | None:
    """Fit single pixels and derive the mask again from their changes: text and its outline have no gap between them."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((_GAP_PX,) * 2, np.uint8)) > 0
    region = grow_mask(closed, _SOFT_PX)
    if region.all():
        return None
    expected = np.asarray(cv2.morphologyEx(expected, cv2.MORPH_CLOSE, np.ones((_GAP_PX,) * 2, np.uint8)), np.float32)
    pixels = _gather_pixels(crop, region, others)
    blending = pixels.solve(expected[region], strength)
    effect = _spread(blending.effect, region)
    changed = region & (effect > np.maximum(_MIN_SHARE * cv2.dilate(effect, np.ones((25, 25))), _MIN_CODES))
    changed = keep_connected(changed, mask)
    return _make_fit(crop, region, changed, pixels, blending) if changed.any() else None


@dataclass(frozen=True)
class _Pixels:
    """The N pixels of a region.

    seen          float32, components x frames x N, in 8-bit codes
    beneath       float32, components x frames x N: estimated background
    doubt         float32, frames x N: predicted variance of the background in the first component
    shares        float32, frames: weight of each frame
    error_ratios  observed to predicted errors next to the region
    noise         float32, components: noise variance around the region, in squared 8-bit codes
    """

    seen: Floats
    beneath: Floats
    doubt: Floats
    shares: Floats
    error_ratios: ErrorRatios
    noise: Floats

    def solve(self, expected: Floats, strength: Floats) -> Blending:
        """Fit opacity, color and strength."""
        return solve_blending(self.seen, self.beneath, self.doubt, self.shares, expected, strength)

    def estimate_variance(self, blending: Blending) -> Floats:
        """Return the variance of the overlay's effect due to errors of opacity and color: components x N."""
        weights = self.shares / self.shares.sum()
        mean = np.tensordot(self.beneath, weights, axes=(1, 0))
        spread = np.tensordot((self.beneath - mean[:, None]) ** 2, weights, axes=(1, 0))
        informed = blending.alpha_precision / (blending.alpha_precision + 1 / OPACITY_DEVIATION**2)
        error = (
            informed**2 * self.error_ratios.slope / np.maximum(blending.alpha_precision, _MIN_SPREAD)
            + (1 - informed) ** 2 * OPACITY_DEVIATION**2
        )
        return np.asarray(error * spread + self.error_ratios.means[:, None] / blending.effect_precision, np.float32)

    def compute_risk(self, variance: Floats, alpha: Floats) -> float:
        """Return the error variance of inverting the blending divided by that of filling in, at the median pixel."""
        through = alpha < _OPAQUE
        if not through.any():
            return 0.0
        filled = self.error_ratios.single * np.exp(np.log(self.doubt[:, through]).mean(axis=0))
        return float(np.median(variance[0, through] / (1 - alpha[through]) ** 2 / filled))


def _gather_pixels(crop: _Crop, region: Mask, others: Mask) -> _Pixels:
    filler = Filler(region)
    seen = np.stack([frames[:, region] for frames in crop.frames])
    beneath = np.stack([frames[:, region] for frames in fill_all(filler, crop.frames)])
    error_ratios = measure_error_ratios(list(_gather_references(crop, filler, others)), crop.shares, len(crop.frames))
    noise = np.array([estimate_noise(frames, ~grow_mask(region, 1)) for frames in crop.frames], np.float32)
    return _Pixels(seen, beneath, estimate_variance(crop.frames[0], region), crop.shares, error_ratios, noise)


def _gather_references(crop: _Crop, filler: Filler, others: Mask) -> Iterator[Reference]:
    """Yield places where the same region contains no overlay."""
    for x, y in find_references(crop.box, others, filler.region):
        frames = crop.read_box(x, y)
        true, guessed = (
            np.stack([frames_of[:, filler.region] for frames_of in each]) for each in (frames, fill_all(filler, frames))
        )
        yield Reference(true, guessed, estimate_variance(frames[0], filler.region))


def _make_fit(crop: _Crop, region: Mask, mask: Mask, pixels: _Pixels, blending: Blending) -> Fit:
    """Return the fit for the pixels of ``mask`` from the blending of those of ``region``."""
    alpha, color = _separate_color(blending, pixels.beneath)
    shown = np.full(len(crop.samples.indices), np.nan, np.float32)
    shown[crop.taken] = blending.strength
    unit = np.float32(1 << (crop.samples.shape.bits - 8))
    alphas = np.where(mask, _spread(alpha, region), 0).astype(np.float32)
    colors = np.stack([_spread(values, region) for values in color]) * unit
    variance = pixels.estimate_variance(blending)
    noise_ratios = np.stack([_spread(values, region) for values in variance / pixels.noise[:, None]])
    core_alpha = float(np.quantile(alphas[mask], 0.95))
    explained = _measure_explained(pixels, blending)
    risk = pixels.compute_risk(variance, alpha)
    return Fit(crop.box, mask, alphas, colors, noise_ratios, core_alpha, explained, shown, blending.fades, risk)


def _spread(values: Floats, region: Mask) -> Floats:
    """Return an array with ``values``, one per pixel of ``region``, in their places; 0 elsewhere."""
    page = np.zeros(region.shape, np.float32)
    page[region] = values
    return page


def _separate_color(blending: Blending, beneath: Floats) -> tuple[Floats, Floats]:
    """Return opacity and color of each pixel. A color outside the valid range means that the opacity is too low."""
    under = np.asarray(beneath.mean(axis=1), np.float32)
    alpha = np.maximum(blending.alpha, _MIN_ALPHA)
    change = blending.premultiplied - blending.alpha * under
    luma = np.clip(blending.premultiplied[0] / alpha, *_POSSIBLE)
    beyond = (np.abs(blending.premultiplied[0] / alpha - luma) > 1) & (np.abs(luma - under[0]) > _MIN_REACH)
    fitting = np.divide(change[0], luma - under[0], out=np.zeros_like(alpha), where=beyond)
    alpha = np.where(beyond, np.clip(fitting, _MIN_ALPHA, 1), alpha).astype(np.float32)
    return alpha, np.clip(under + change / alpha, 0, 255).astype(np.float32)


def _measure_explained(pixels: _Pixels, blending: Blending) -> float:
    """Return the share of the unexpected differences that the overlay explains, at the pixels that change most."""
    core = blending.effect >= np.quantile(blending.effect, 0.7)
    due = blending.strength[:, None] * (blending.premultiplied[0] - blending.alpha * pixels.beneath[0])
    difference = pixels.seen[0] - pixels.beneath[0]
    residuals = ((difference - due) ** 2 / pixels.doubt)[:, core].sum()
    return float(1 - residuals / max(float((difference**2 / pixels.doubt)[:, core].sum()), 1e-6))


def _label_parts(offset: Floats, mask: Mask) -> Labels:
    """Label connected parts that are brighter or darker than the surroundings, from 1: text and its outline."""
    dark = mask & (offset[0] < -_DARK_SHARE * _combine_components(offset))
    bright, count = ndimage.label(mask & ~dark, np.ones((3, 3)))
    rims, _ = ndimage.label(dark, np.ones((3, 3)))
    return np.asarray(np.where(dark, rims + count, bright), np.int64)


def _estimate_opacities(
    crop: _Crop, filler: Filler, beneath: list[Floats], core: Mask, parts: tuple[Labels, Mask], others: Mask
) -> Floats:
    """Return the core opacity of bright and of dark parts at each of their pixels; the common one if a kind has few."""
    labels, darker = parts
    opacity = np.ones(core.shape, np.float32)
    whole = _estimate_opacity(crop, filler, beneath, core, others)
    for kind in (darker, ~darker):
        own = core & kind
        enough = np.count_nonzero(own) >= _MIN_CORE_PX
        opacity[kind & (labels > 0)] = _estimate_opacity(crop, filler, beneath, own, others) if enough else whole
    return opacity


def _estimate_opacity(crop: _Crop, filler: Filler, beneath: list[Floats], core: Mask, others: Mask) -> float:
    slope = _fit_slope(crop, crop.frames, beneath, core, filler.region)
    opacity = float(np.clip(1 - slope / _fit_reference_slope(crop, filler, core, others), _MIN_ALPHA, 1))
    return 1.0 if opacity > _OPAQUE else opacity


def _select_touched(strengths: Floats, region: Mask, edges: Mask) -> Mask:
    """Return pixels of ``region`` that differ from their surroundings and are connected to edges."""
    strongest = cv2.dilate(strengths, np.ones((25, 25), np.uint8))
    touched = region & (strengths > np.maximum(_MIN_SHARE * strongest, _MIN_CODES))
    return keep_connected(touched, edges)


def _combine_halves(offset: Floats, other_offset: Floats) -> Floats:
    """Return the difference from the surroundings in both halves of the scenes; noise differs in only one."""
    weights = np.full((len(offset), 1, 1), _CHROMA_WEIGHT, np.float32)
    weights[0] = 1
    return np.asarray(np.sqrt(np.maximum((weights**2 * offset * other_offset).sum(axis=0), 0)), np.float32)


def _combine_components(offset: Floats) -> Floats:
    """Return the difference from the surroundings over all components: height x width."""
    weights = np.full((len(offset), 1, 1), _CHROMA_WEIGHT, np.float32)
    weights[0] = 1
    return np.asarray(np.sqrt(((weights * offset) ** 2).sum(axis=0)), np.float32)


def _select_core(strengths: Floats, labels: Labels) -> Mask:
    """Return pixels that differ from their surroundings almost as much as any pixel of their part."""
    core = np.zeros(labels.shape, bool)
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        part = labels[place] == number
        core[place] |= part & (strengths[place] >= _CORE_SHARE * np.quantile(strengths[place][part], 0.95))
    return core


def _fit_slope(crop: _Crop, frames: list[Floats], beneath: list[Floats], core: Mask, region: Mask) -> float:
    """Return the slope of seen over estimated samples, over frames, at core pixels near the border."""
    product, square = _sum_moments(crop, frames, beneath, core & _select_near_border(region, core))
    return product / max(square, 1e-6)


def _select_near_border(region: Mask, core: Mask) -> Mask:
    depth = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 3)
    min_depth = float(depth[core].min(initial=_NEAR_PX))
    return np.asarray(depth <= max(_NEAR_PX, min_depth + 1) + 2)


def _sum_moments(crop: _Crop, frames: list[Floats], beneath: list[Floats], where: Mask) -> tuple[float, float]:
    """Return covariance and variance over frames, summed over pixels and components."""
    product = square = 0.0
    for seen, guess in zip(frames, beneath, strict=True):
        j, i = seen[:, where], guess[:, where]
        j, i = j - crop.average(j), i - crop.average(i)
        product += float((crop.average(j * i)).sum())
        square += float((crop.average(i * i)).sum())
    return product, square


def _fit_reference_slope(crop: _Crop, filler: Filler, core: Mask, others: Mask) -> float:
    """Return the same slope next to, above and below the overlay."""
    near_border = core & _select_near_border(filler.region, core)
    product = square = 0.0
    for x, y in find_references(crop.box, others, filler.region):
        frames = crop.read_box(x, y)
        more = _sum_moments(crop, frames, fill_all(filler, frames), near_border)
        product, square = product + more[0], square + more[1]
    return float(np.clip(product / square, 0.5, 1.1)) if square > 0 else 1.0


def find_references(box: Box, others: Mask, region: Mask) -> Iterator[tuple[int, int]]:
    """Yield the positions, at most six, around the box that contain no overlay."""
    height, width = others.shape
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    down, across = int(np.ptp(rows)) + 5, int(np.ptp(columns)) + 5
    for x, y in ((0, -down), (0, down), (-across, 0), (across, 0), (0, -2 * down), (0, 2 * down)):
        left, top = box.x + x, box.y + y
        inside = left >= 0 and top >= 0 and left + box.width <= width and top + box.height <= height
        if inside and not (others[top : top + box.height, left : left + box.width] & region).any():
            yield left, top


def _estimate_colors(labels: Labels, core: Mask, seen: Floats) -> Floats:
    """Return the color of each part from ``seen`` at its core; parts of similar color share it."""
    numbers = np.arange(1, int(labels.max()) + 1)
    sizes = ndimage.sum_labels(core, labels, numbers)
    means = [ndimage.mean(np.clip(plane, 0, 255), np.where(core, labels, 0), numbers) for plane in seen]
    own = np.stack(means, axis=1)
    shared = own.copy()
    for number in range(len(own)):
        alike = np.abs(own - own[number]).max(axis=1) < _SAME_COLOR
        shared[number] = np.average(own[alike], axis=0, weights=sizes[alike])
    nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    return np.asarray(shared[labels[tuple(nearest)] - 1].transpose(2, 0, 1), np.float32)


def _estimate_alphas(offset: Floats, reach: Floats, labels: Labels, opacity: Floats) -> Floats:
    """Return each pixel's opacity by least squares; deep inside a part the core's opacity."""
    alpha = (offset * reach).sum(axis=0) / np.maximum((reach * reach).sum(axis=0), 1)
    same = np.ones(labels.shape, bool)
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        same &= np.roll(labels, step, axis) == labels
    depth = cv2.distanceTransform(np.pad(same & (labels > 0), 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    deep = depth > _DEEP_PX - 1
    alpha[deep] = opacity[deep]
    return np.where(labels > 0, np.clip(alpha, 0, opacity), 0).astype(np.float32)


def _estimate_factors(frames: list[Floats], beneath: list[Floats], alpha: Floats, color: Floats) -> Floats:
    """Return the strength in each frame by least squares: observed over expected change."""
    product = square = np.zeros(len(frames[0]), np.float32)
    for seen, guess, own in zip(frames, beneath, color, strict=True):
        due = alpha * (own - guess)
        product = product + ((seen - guess) * due).sum(axis=(1, 2))
        square = square + (due * due).sum(axis=(1, 2))
    return np.asarray(product / np.maximum(square, 1e-3), np.float32)
