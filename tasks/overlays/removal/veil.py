"""All overlays over a region in one frame, per component: their samples, opacity, and unknown parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.overlays.components import Shape
from tasks.overlays.overlay import Floats, Layer, Mask, Overlay
from tasks.overlays.removal.base import Region

# Above this opacity, a sample is uninformative about the background: one code of noise becomes twenty.
MAX_ALPHA = 0.95


@dataclass(frozen=True)
class Veil:
    """All overlays over one component of a region, at that component's resolution.

    mask   bool, height x width: samples that an overlay touches
    alpha  float32, height x width: opacity; 0 outside the mask; NaN if unknown or if two overlays meet
    color  float32, height x width: in codes; 0 where ``alpha`` is 0 or NaN
    doubt  float32, height x width: variance of alpha (color - I), relative to noise; 0 if exact
    """

    mask: Mask
    alpha: Floats
    color: Floats
    doubt: Floats

    @property
    def is_seen_through(self) -> Mask:
        """Samples of the mask whose background can be computed."""
        return np.asarray(self.mask & (np.nan_to_num(self.alpha, nan=1.0) <= MAX_ALPHA))

    def make_opaque(self) -> Veil:
        """Return the veil with the same mask and unknown opacity."""
        zeros = np.zeros_like(self.color)
        return Veil(self.mask, np.where(self.mask, np.float32(np.nan), np.float32(0)), zeros, zeros)


def make_veils(region: Region, shown: tuple[int, ...], shape: Shape) -> tuple[Veil, ...]:
    """Return the combination of the overlays at the positions ``shown``, per component."""
    overlays = [region.overlays[place] for place in shown]
    return tuple(_make_veil(region, overlays, shape, component) for component in range(len(shape.divisors)))


def _make_veil(region: Region, overlays: list[Overlay], shape: Shape, component: int) -> Veil:
    rows, columns = shape.get_part(region.box, component)
    size = rows.stop - rows.start, columns.stop - columns.start
    veil = Veil(np.zeros(size, np.bool_), *(np.zeros(size, np.float32) for _ in range(3)))
    for overlay in overlays:
        down, across = shape.get_part(overlay.box, component)
        layer = overlay.layers[component]
        top, left = down.start - rows.start, across.start - columns.start
        height, width = layer.mask.shape
        _add_layer(veil, layer, (slice(top, top + height), slice(left, left + width)))
    return veil


def _add_layer(veil: Veil, layer: Layer, part: tuple[slice, slice]) -> None:
    """Add ``layer``. Where overlays meet, their order is unknown, so the opacity is unknown, too."""
    mask, alpha, color = veil.mask[part], veil.alpha[part], veil.color[part]
    known_samples = np.isfinite(layer.alpha) & np.isfinite(layer.color) & ~mask
    alpha[layer.mask] = np.where(known_samples, layer.alpha, np.nan)[layer.mask]
    color[layer.mask] = np.where(known_samples, layer.color, 0)[layer.mask]
    if layer.doubt is not None:
        veil.doubt[part][layer.mask] = np.where(known_samples, layer.doubt, 0)[layer.mask]
    mask |= layer.mask
