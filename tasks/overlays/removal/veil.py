"""All that lies over a region in one frame, a component: which samples, how dense, and what that leaves unknown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.overlays.components import Shape
from tasks.overlays.overlay import Floats, Layer, Mask, Overlay
from tasks.overlays.removal.base import Region

# Denser than this, a sample says too little of what lies beneath: one code of noise becomes twenty.
DENSEST = 0.95


@dataclass(frozen=True)
class Veil:
    """What lies over one component of a region, at that component's resolution.

    mask   bool, height x width: samples that something touches
    alpha  float32, height x width: opacity; 0 outside the mask; NaN where it is not known, or two things lie
    color  float32, height x width: in codes; 0 where ``alpha`` is 0 or NaN
    doubt  float32, height x width: variance of alpha (color - I), as a multiple of noise; 0 where it is exact
    """

    mask: Mask
    alpha: Floats
    color: Floats
    doubt: Floats

    @property
    def is_seen_through(self) -> Mask:
        """Samples of the mask from which what lies beneath can be computed."""
        return np.asarray(self.mask & (np.nan_to_num(self.alpha, nan=1.0) <= DENSEST))

    def opaque(self) -> Veil:
        """The same with nothing known but where it lies."""
        nothing = np.zeros_like(self.color)
        return Veil(self.mask, np.where(self.mask, np.float32(np.nan), np.float32(0)), nothing, nothing)


def veils(region: Region, shown: tuple[int, ...], shape: Shape) -> tuple[Veil, ...]:
    """What the overlays at the places ``shown`` are together, a component."""
    overlays = [region.overlays[place] for place in shown]
    return tuple(_veil(region, overlays, shape, component) for component in range(len(shape.divisors)))


def _veil(region: Region, overlays: list[Overlay], shape: Shape, component: int) -> Veil:
    rows, columns = shape.part(region.box, component)
    size = rows.stop - rows.start, columns.stop - columns.start
    veil = Veil(np.zeros(size, np.bool_), *(np.zeros(size, np.float32) for _ in range(3)))
    for overlay in overlays:
        down, across = shape.part(overlay.box, component)
        layer = overlay.layers[component]
        top, left = down.start - rows.start, across.start - columns.start
        height, width = layer.mask.shape
        _lay(veil, layer, (slice(top, top + height), slice(left, left + width)))
    return veil


def _lay(veil: Veil, layer: Layer, part: tuple[slice, slice]) -> None:
    """Put ``layer`` there. Where something lies already, the order of the two is not known: nothing is, then."""
    mask, alpha, color = veil.mask[part], veil.alpha[part], veil.color[part]
    known = np.isfinite(layer.alpha) & np.isfinite(layer.color) & ~mask
    alpha[layer.mask] = np.where(known, layer.alpha, np.nan)[layer.mask]
    color[layer.mask] = np.where(known, layer.color, 0)[layer.mask]
    if layer.doubt is not None:
        veil.doubt[part][layer.mask] = np.where(known, layer.doubt, 0)[layer.mask]
    mask |= layer.mask
