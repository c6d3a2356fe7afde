"""What was fitted, as overlays: a layer for each component, and frames for each strength."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box, bound_mask, crop_or_pad
from tasks.overlays.components import Shape, aligned, average_blocks, component_mask
from tasks.overlays.detection.fitting.frame_ranges import shown_ranges
from tasks.overlays.detection.fitting.overlay_fit import Fit
from tasks.overlays.detection.sampling import Samples
from tasks.overlays.overlay import FrameRange, Layer, Overlay, Source

# With less of what happens under an overlay explained, its opacity is as good as unknown.
_LEAST_EXPLAINED = 0.5
# Errors of opacities are alike all over an overlay, so that they are seen. With more, filling in is the lesser evil.
_MOST_RISK = 5.0


def overlays_of(
    path: Path, found: Survey, samples: Samples, fitted: Fit, source: Source, confidence: float
) -> list[Overlay]:
    """The overlay, once for each strength that it has: what fades is there as often as it has steps."""
    box, layers = _layers(fitted, samples, _LEAST_EXPLAINED)
    return [
        Overlay(box, tuple(_as_strong(layer, strength) for layer in layers), ranges, source, confidence)
        for strength, ranges in shown_ranges(path, found, samples, fitted).items()
    ]


def steady_overlay(
    samples: Samples, fitted: Fit, shown: FrameRange, least_explained: float, confidence: float
) -> Overlay:
    """The overlay that shows in the frames ``shown``; its opacity is known where that much is explained."""
    box, layers = _layers(fitted, samples, least_explained)
    return Overlay(box, layers, (shown,), "static", confidence)


def is_told(fitted: Fit, least_explained: float = _LEAST_EXPLAINED) -> bool:
    """Whether its opacity is known well enough to undo the blend."""
    return fitted.explained >= least_explained and fitted.risk <= _MOST_RISK


def _layers(fitted: Fit, samples: Samples, least_explained: float) -> tuple[Box, tuple[Layer, ...]]:
    known = is_told(fitted, least_explained)
    box = _tight(fitted, samples)
    return box, tuple(_layer(fitted, box, samples.shape, number, known) for number in range(len(samples.components)))


def _as_strong(layer: Layer, strength: float) -> Layer:
    alpha = np.minimum(layer.alpha * np.float32(strength), np.float32(1))
    return replace(layer, alpha=alpha, doubt=None if layer.doubt is None else layer.doubt * np.float32(strength**2))


def _tight(fitted: Fit, samples: Samples) -> Box:
    """The smallest box around the mask whose edges lie between samples of all components, in pixels of the picture."""
    inner = bound_mask(fitted.mask)
    box = Box(fitted.box.x + inner.x, fitted.box.y + inner.y, inner.width, inner.height)
    height, width = samples.components[0].shape[1:]
    return aligned(box, samples.shape, width, height)


def _layer(fitted: Fit, box: Box, shape: Shape, number: int, known: bool) -> Layer:
    """One component of the overlay: chroma samples have the mean opacity of their pixels, and its weighted colour."""
    mask = component_mask(crop_or_pad(fitted.mask, fitted.box, box), shape, number)
    alpha, color = crop_or_pad(fitted.alpha, fitted.box, box), crop_or_pad(fitted.color[number], fitted.box, box)
    small, weighted = (
        average_blocks(alpha, shape.divisors[number]),
        average_blocks(alpha * color, shape.divisors[number]),
    )
    own = np.divide(weighted, small, out=np.full_like(small, np.nan), where=mask & (small > 0))
    small = np.where(mask, small if known else np.float32(np.nan), np.float32(0))
    doubt = average_blocks(crop_or_pad(fitted.doubt[number], fitted.box, box), shape.divisors[number])
    return Layer(mask, small.astype(np.float32), own if known else np.full_like(own, np.nan), doubt)
