"""Removal: what the frame itself says, and what the frames around it say along the motion, by how sure each is.

Each estimate x_k of a sample comes with the variance v_k of its error: a neighbour's own (prior.py), and that of the
motion that leads there, measured where both frames are known. The result is the mean weighted with 1 / v_k.
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
from tasks.overlays.removal.prior import Prior, PriorMaker, weights
from tasks.overlays.removal.smoothing import Smoother
from tasks.overlays.removal.veil import Veil, veils

_NEAR, _FAR = 9, 41
_FAR_WEIGHT = 0.05
# Variance of a sample by rounding and compression, in 8-bit codes squared.
_NOISE = 1.5
# What is set up for certain overlays is kept for so many, the latest.
_KEPT = 3
# Steps of opacity within which overlays are about as strong.
_STEPS = 6


@dataclass(frozen=True)
class _Shown:
    """The overlays of a region that lie over a frame, by their places, and whether anything is seen through them."""

    places: tuple[int, ...]
    through: bool


@dataclass(frozen=True)
class _Frame:
    """A crop of the window, with what it says by itself."""

    crop: Crop
    shown: _Shown
    priors: tuple[Prior, ...]
    seen: motion.Seen


class FusingRemover(Remover):
    """All of the built-in methods: they differ in which neighbours they look at, and whether through the overlay."""

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

    def cleaned(self, crops: Iterable[Crop], wanted: FrameRange) -> Iterator[Crop]:
        reach = max(self._offsets, default=0)
        self._frames, self._flows = {}, {}
        index = wanted.start_frame
        for crop in crops:
            self._take(crop, wanted.start_frame - reach)
            while index in wanted and index + reach <= crop.index:
                yield self._clean(index)
                index += 1
        while index in wanted and index in self._frames:
            yield self._clean(index)
            index += 1
        self._frames, self._flows = {}, {}

    def _take(self, crop: Crop, first: int) -> None:
        """Put ``crop`` into the window, unless it is of no use yet."""
        sizes = [_size(self._region, self._shape, number) for number in range(len(self._shape.divisors))]
        if [plane.shape for plane in crop.components] != sizes:
            raise ValueError(f"frame {crop.index}: crops of {sizes} samples are due, not of other sizes")
        if self._frames and crop.index != max(self._frames) + 1:
            raise ValueError(f"frame {crop.index} after {max(self._frames)}: crops are due in order")
        if crop.index >= first:
            self._frames[crop.index] = self._prepared(crop)

    def _prepared(self, crop: Crop) -> _Frame:
        shown = _Shown(self._region.shown(crop.index), self._through)
        cover = self._cover(shown)
        if cover.presence.is_absent(crop.components[0]):
            shown = self._unseen(shown)
            cover = self._cover(shown)
        priors = tuple(maker.prior(plane) for maker, plane in zip(cover.makers, crop.components, strict=True))
        luma = cv2.convertScaleAbs(priors[0].value, alpha=1 / self._unit)
        return _Frame(crop, shown, priors, motion.Seen(luma, cover.flow_hole))

    def _unseen(self, shown: _Shown) -> _Shown:
        """What lies over a frame in which ``shown`` is not seen: what the user says does, and hides what is beneath."""
        given = tuple(place for place in shown.places if self._region.overlays[place].source == "mask")
        return _Shown(given, through=False)

    def _cover(self, shown: _Shown) -> _Cover:
        if shown not in self._covers:
            found = _veils(self._region, shown, self._shape)
            made = _Cover(found, self._smoothers.of(shown), self._unit)
            self._covers = {**dict(list(self._covers.items())[1 - _KEPT :]), shown: made}
        return self._covers[shown]

    def _clean(self, index: int) -> Crop:
        frame = self._frames[index]
        cover = self._cover(frame.shown)
        planes = frame.crop.components
        if any(veil.mask.any() for veil in cover.veils):
            planes = tuple(self._component(index, number) for number in range(len(planes)))
        self._forget(index + 1)
        return Crop(index, planes)

    def _forget(self, then: int) -> None:
        """Drop what frame ``then`` and later ones do not need: of flows back, those that longer ones begin with."""
        reach = max(self._offsets, default=0)
        self._frames = {index: frame for index, frame in self._frames.items() if index >= then - reach}
        self._flows = {
            (index, step): flow
            for (index, step), flow in self._flows.items()
            if index >= (then if step > 0 else then - reach // 2) and abs(step) < reach
        }

    def _component(self, index: int, number: int) -> Plane:
        frame = self._frames[index]
        mask = self._cover(frame.shown).veils[number].mask
        prior, given = frame.priors[number], frame.crop.components[number]
        blend = _Blend(prior, mask)
        for offset in self._offsets:
            for step in (-offset, offset):
                if index + step in self._frames:
                    moves = motion.at_resolution(self._flow(index, step), mask.shape, self._shape.divisors[number])
                    blend.add(self._frames[index + step].priors[number], moves, 2 * len(self._offsets), self._unit)
        self._shares += blend.shares()
        top = 2**self._shape.bits - 1
        return np.where(mask, np.clip(np.rint(blend.value), 0, top).astype(given.dtype), given)

    def _flow(self, index: int, step: int) -> motion.Moves:
        key = index, step
        if key not in self._flows:
            half = step // 2
            self._flows[key] = (
                motion.flow(self._frames[index].seen, self._frames[index + step].seen)
                if abs(step) == 1
                else motion.followed(self._flow(index, half), self._flow(index + half, half))
            )
        return self._flows[key]


class _Cover:
    """What certain overlays together ask for."""

    def __init__(self, found: tuple[Veil, ...], smoothers: tuple[Smoother, ...], unit: float) -> None:
        self.veils = found
        self.makers = tuple(PriorMaker(veil, one, unit) for veil, one in zip(found, smoothers, strict=True))
        self.presence = Presence(found[0])
        self.flow_hole = motion.flow_hole(self.makers[0].hidden)


class _Smoothers:
    """What smooths under the overlays of a region.

    An overlay that fades comes as one after the other with the same mask, each a little stronger. Those that are about
    as strong as each other share the equations, which take long to set up, of the strongest of them.
    """

    def __init__(self, region: Region, shape: Shape) -> None:
        self._region = region
        self._shape = shape
        self._made: dict[_Shown, tuple[Smoother, ...]] = {}

    def of(self, shown: _Shown) -> tuple[Smoother, ...]:
        """Those for the overlays ``shown``, one a component."""
        alike = _Shown(tuple(self._strongest(place) for place in shown.places), shown.through)
        if alike not in self._made:
            found = _veils(self._region, alike, self._shape)
            made = tuple(Smoother(veil.mask, weights(veil)) for veil in found)
            self._made = {**dict(list(self._made.items())[1 - _KEPT :]), alike: made}
        return self._made[alike]

    def _strongest(self, place: int) -> int:
        """The place of the strongest overlay that is about as strong, with the same mask, as the one at ``place``."""
        overlays = self._region.overlays
        alike = [number for number, other in enumerate(overlays) if _are_alike(overlays[place], other)]
        return max(alike, key=lambda number: _strength(overlays[number]), default=place)


def _veils(region: Region, shown: _Shown, shape: Shape) -> tuple[Veil, ...]:
    found = veils(region, shown.places, shape)
    return found if shown.through else tuple(veil.opaque() for veil in found)


def _are_alike(one: Overlay, other: Overlay) -> bool:
    steps = [int(_STEPS * _strength(overlay)) for overlay in (one, other)]
    if one.box != other.box or steps[0] != steps[1]:
        return False
    return all(np.array_equal(a.mask, b.mask) for a, b in zip(one.layers, other.layers, strict=True))


def _strength(overlay: Overlay) -> float:
    """Its mean opacity, of the first component; 1 where that is not known."""
    layer = overlay.layers[0]
    return float(np.nan_to_num(layer.alpha[layer.mask], nan=1.0).mean()) if layer.mask.any() else 0.0


class _Blend:
    """The weighted mean of what is said of one component of a frame."""

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
        """Bring in what another frame says, ``moves`` away; ``count`` of them say the same where all only guess."""
        noise = _NOISE * unit**2
        across, down = motion.targets(moves)
        warp = partial(cv2.remap, map1=across, map2=down, borderMode=cv2.BORDER_CONSTANT)
        value = warp(other.value, interpolation=cv2.INTER_CUBIC)
        variance = warp(cv2.dilate(other.variance, np.ones((3, 3))), interpolation=cv2.INTER_LINEAR, borderValue=1e6)
        known = noise**2 / (variance * self._prior.variance)
        error = known * (value - self._prior.value) ** 2
        sums = [cv2.blur(one, (_NEAR, _NEAR)) + _FAR_WEIGHT * cv2.blur(one, (_FAR, _FAR)) for one in (error, known)]
        mismatch = (sums[0] + 1e-2) / (sums[1] + 1e-6)
        guess = np.maximum(variance - 2 * noise, 0) * count
        doubt = variance + guess + mismatch * (1 + mismatch / (50 * unit**2))
        weight = 1 / doubt
        self._sum += weight * value
        self._weight += weight
        self._others += np.where(variance < self._prior.variance, weight, 0)

    def shares(self) -> Shares:
        """In which way each sample under the mask got most of its value."""
        own = (1 / self._prior.variance)[self._mask]
        others, seen = self._others[self._mask], self._prior.seen[self._mask]
        temporal = others > own
        unblended = ~temporal & seen
        count = int(self._mask.sum())
        return Shares(int(unblended.sum()), int(temporal.sum()), count - int((temporal | unblended).sum()))


def _size(region: Region, shape: Shape, component: int) -> tuple[int, int]:
    rows, columns = shape.part(region.box, component)
    return rows.stop - rows.start, columns.stop - columns.start
