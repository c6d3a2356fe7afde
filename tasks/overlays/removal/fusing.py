"""Removal: combines estimates from the frame itself and from its neighbors along the motion, by their variances.

Each estimate x_k of a sample has an error variance v_k: a neighbor's own (prior.py) plus that of the motion between
the frames, measured where both are visible. The result is the mean weighted by 1 / v_k.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from tasks.media.segments.planes import Plane
from tasks.overlays.components import Shape
from tasks.overlays.overlay import Floats, FrameRange, Mask, Overlay
from tasks.overlays.removal import motion
from tasks.overlays.removal.base import OFFSETS, Crop, Method, Region, Remover, Shares
from tasks.overlays.removal.presence import Presence
from tasks.overlays.removal.prior import Prior, PriorMaker, compute_weights
from tasks.overlays.removal.smoothing import Smoother
from tasks.overlays.removal.veil import Veil, make_veils

_NEAR, _FAR = 9, 41
_FAR_WEIGHT = 0.05
# Variance of a sample by rounding and compression, in squared 8-bit codes.
_NOISE = 1.5
# Number of overlay combinations whose data is kept, most recent first.
_MAX_KEPT = 3
# Opacity steps within which overlays count as equally strong.
_STRENGTH_STEPS = 6


@dataclass(frozen=True)
class _Shown:
    """The overlays of a region that show in a frame, by position, and whether samples under them are used."""

    places: tuple[int, ...]
    through: bool


@dataclass(frozen=True)
class _Frame:
    """A crop of the window with its estimates."""

    crop: Crop
    shown: _Shown
    priors: tuple[Prior, ...]
    flow_frame: motion.FlowFrame


class FusingRemover(Remover):
    """All built-in methods: they differ in their neighbors and in the use of samples under the overlay."""

    def __init__(self, method: Method, region: Region, shape: Shape) -> None:
        self._region = region
        self._shape = shape
        self._offsets = OFFSETS[method]
        self._through = method in ("auto", "unblend")
        self._unit = 2.0 ** (shape.bits - 8)
        self._covers: dict[_Shown, _Cover] = {}
        self._frames: dict[int, _Frame] = {}
        self._flows: dict[tuple[int, int], motion.Moves] = {}
        self._smoothers = _Smoothers(region, shape)
        self._shares = Shares()

    @property
    def shares(self) -> Shares:
        return self._shares

    def clean(self, crops: Iterable[Crop], wanted: FrameRange) -> Iterator[Crop]:
        reach = max(self._offsets, default=0)
        self._frames, self._flows = {}, {}
        index = wanted.start_frame
        for crop in crops:
            self._take(crop, wanted.start_frame - reach)
            while index in wanted and index + reach <= crop.index:
                yield self._clean_frame(index)
                index += 1
        while index in wanted and index in self._frames:
            yield self._clean_frame(index)
            index += 1
        self._frames, self._flows = {}, {}

    def _take(self, crop: Crop, first: int) -> None:
        """Add ``crop`` to the window, unless it is before the window."""
        sizes = [_compute_size(self._region, self._shape, number) for number in range(len(self._shape.divisors))]
        if [plane.shape for plane in crop.components] != sizes:
            raise ValueError(f"frame {crop.index}: crops must have {sizes} samples")
        if self._frames and crop.index != max(self._frames) + 1:
            raise ValueError(f"frame {crop.index} after {max(self._frames)}: crops must be in order")
        if crop.index >= first:
            self._frames[crop.index] = self._prepare(crop)

    def _prepare(self, crop: Crop) -> _Frame:
        shown = _Shown(self._region.find_shown(crop.index), self._through)
        cover = self._get_cover(shown)
        if cover.presence.is_absent(crop.components[0]):
            shown = self._hide(shown)
            cover = self._get_cover(shown)
        priors = tuple(maker.make_prior(plane) for maker, plane in zip(cover.makers, crop.components, strict=True))
        luma = cv2.convertScaleAbs(priors[0].value, alpha=1 / self._unit)
        return _Frame(crop, shown, priors, motion.FlowFrame(luma, cover.flow_hole))

    def _hide(self, shown: _Shown) -> _Shown:
        """Return the overlays of a frame in which ``shown`` is invisible: those of the user's mask, as opaque ones."""
        given = tuple(place for place in shown.places if self._region.overlays[place].source == "mask")
        return _Shown(given, through=False)

    def _get_cover(self, shown: _Shown) -> _Cover:
        if shown not in self._covers:
            veils = _make_veils(self._region, shown, self._shape)
            cover = _Cover(veils, self._smoothers.get(shown), self._unit)
            self._covers = {**dict(list(self._covers.items())[1 - _MAX_KEPT :]), shown: cover}
        return self._covers[shown]

    def _clean_frame(self, index: int) -> Crop:
        frame = self._frames[index]
        cover = self._get_cover(frame.shown)
        planes = frame.crop.components
        if any(veil.mask.any() for veil in cover.veils):
            planes = tuple(self._clean_component(index, number) for number in range(len(planes)))
        self._drop_old(index + 1)
        return Crop(index, planes)

    def _drop_old(self, then: int) -> None:
        """Drop data that frame ``then`` and later ones do not need, but keep flows that longer ones start with."""
        reach = max(self._offsets, default=0)
        self._frames = {index: frame for index, frame in self._frames.items() if index >= then - reach}
        self._flows = {
            (index, step): flow
            for (index, step), flow in self._flows.items()
            if index >= (then if step > 0 else then - reach // 2) and abs(step) < reach
        }

    def _clean_component(self, index: int, number: int) -> Plane:
        frame = self._frames[index]
        mask = self._get_cover(frame.shown).veils[number].mask
        prior, given = frame.priors[number], frame.crop.components[number]
        blend = _Blend(prior, mask)
        for offset in self._offsets:
            for step in (-offset, offset):
                if index + step in self._frames:
                    moves = motion.resize_flow(self._get_flow(index, step), mask.shape, self._shape.divisors[number])
                    blend.add(self._frames[index + step].priors[number], moves, 2 * len(self._offsets), self._unit)
        self._shares += blend.count_shares()
        top = 2**self._shape.bits - 1
        return np.where(mask, np.clip(np.rint(blend.value), 0, top).astype(given.dtype), given)

    def _get_flow(self, index: int, step: int) -> motion.Moves:
        key = index, step
        if key not in self._flows:
            half = step // 2
            self._flows[key] = (
                motion.measure_flow(self._frames[index].flow_frame, self._frames[index + step].flow_frame)
                if abs(step) == 1
                else motion.chain_flows(self._get_flow(index, half), self._get_flow(index + half, half))
            )
        return self._flows[key]


class _Cover:
    """The data for a combination of overlays."""

    def __init__(self, veils: tuple[Veil, ...], smoothers: tuple[Smoother, ...], unit: float) -> None:
        self.veils = veils
        self.makers = tuple(PriorMaker(veil, smoother, unit) for veil, smoother in zip(veils, smoothers, strict=True))
        self.presence = Presence(veils[0])
        self.flow_hole = motion.make_flow_hole(self.makers[0].hidden)


class _Smoothers:
    """The smoothers for the overlays of a region.

    An overlay that fades is a sequence of overlays with the same mask and rising strength. Those of similar strength
    share the equations of the strongest, which are slow to set up.
    """

    def __init__(self, region: Region, shape: Shape) -> None:
        self._region = region
        self._shape = shape
        self._made: dict[_Shown, tuple[Smoother, ...]] = {}

    def get(self, shown: _Shown) -> tuple[Smoother, ...]:
        """Return the smoothers for the overlays ``shown``, one per component."""
        alike = _Shown(tuple(self._find_strongest(place) for place in shown.places), shown.through)
        if alike not in self._made:
            veils = _make_veils(self._region, alike, self._shape)
            smoothers = tuple(Smoother(veil.mask, compute_weights(veil)) for veil in veils)
            self._made = {**dict(list(self._made.items())[1 - _MAX_KEPT :]), alike: smoothers}
        return self._made[alike]

    def _find_strongest(self, place: int) -> int:
        """Return the position of the strongest overlay with the mask and about the strength of the one at ``place``."""
        overlays = self._region.overlays
        alike = [number for number, other in enumerate(overlays) if _is_similar(overlays[place], other)]
        return max(alike, key=lambda number: _measure_strength(overlays[number]), default=place)


def _make_veils(region: Region, shown: _Shown, shape: Shape) -> tuple[Veil, ...]:
    veils = make_veils(region, shown.places, shape)
    return veils if shown.through else tuple(veil.make_opaque() for veil in veils)


def _is_similar(overlay: Overlay, other: Overlay) -> bool:
    steps = [int(_STRENGTH_STEPS * _measure_strength(each)) for each in (overlay, other)]
    if overlay.box != other.box or steps[0] != steps[1]:
        return False
    return all(np.array_equal(a.mask, b.mask) for a, b in zip(overlay.layers, other.layers, strict=True))


def _measure_strength(overlay: Overlay) -> float:
    """Return its mean opacity in the first component; 1 if unknown."""
    layer = overlay.layers[0]
    return float(np.nan_to_num(layer.alpha[layer.mask], nan=1.0).mean()) if layer.mask.any() else 0.0


class _Blend:
    """The weighted mean of estimates of one component of a frame."""

    def __init__(self, prior: Prior, mask: Mask) -> None:
        self._prior = prior
        self._mask = mask
        self._weight = 1 / prior.variance
        self._sum = prior.value * self._weight
        self._others = np.zeros_like(self._weight)

    @property
    def value(self) -> Floats:
        return np.asarray(self._sum / self._weight)

    def add(self, other: Prior, moves: Floats, count: int, unit: float) -> None:
        """Add another frame's estimate, ``moves`` away; ``count`` frames share the error if all are filled in."""
        noise = _NOISE * unit**2
        across, down = motion.find_targets(moves)
        warp = partial(cv2.remap, map1=across, map2=down, borderMode=cv2.BORDER_CONSTANT)
        value = warp(other.value, interpolation=cv2.INTER_CUBIC)
        variance = warp(cv2.dilate(other.variance, np.ones((3, 3))), interpolation=cv2.INTER_LINEAR, borderValue=1e6)
        known_weight = noise**2 / (variance * self._prior.variance)
        error = known_weight * (value - self._prior.value) ** 2
        sums = [
            cv2.blur(values, (_NEAR, _NEAR)) + _FAR_WEIGHT * cv2.blur(values, (_FAR, _FAR))
            for values in (error, known_weight)
        ]
        mismatch = (sums[0] + 1e-2) / (sums[1] + 1e-6)
        guess = np.maximum(variance - 2 * noise, 0) * count
        total_variance = variance + guess + mismatch * (1 + mismatch / (50 * unit**2))
        weight = 1 / total_variance
        self._sum += weight * value
        self._weight += weight
        self._others += np.where(variance < self._prior.variance, weight, 0)

    def count_shares(self) -> Shares:
        """Count the samples under the mask by their main source."""
        own = (1 / self._prior.variance)[self._mask]
        others, seen = self._others[self._mask], self._prior.seen[self._mask]
        temporal = others > own
        unblended = ~temporal & seen
        count = int(self._mask.sum())
        return Shares(int(unblended.sum()), int(temporal.sum()), count - int((temporal | unblended).sum()))


def _compute_size(region: Region, shape: Shape, component: int) -> tuple[int, int]:
    rows, columns = shape.get_part(region.box, component)
    return rows.stop - rows.start, columns.stop - columns.start
