"""Overlays from fits: one layer per component, and one overlay per strength."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box, bound_mask, crop_or_pad
from tasks.overlays.components import Shape, align_box, average_blocks, reduce_mask
from tasks.overlays.detection.fitting.frame_ranges import find_ranges
from tasks.overlays.detection.fitting.overlay_fit import Fit
from tasks.overlays.detection.sampling import Samples
from tasks.overlays.overlay import FrameRange, Layer, Overlay, Source

# With less explained, the opacity counts as unknown.
_MIN_EXPLAINED = 0.5
# Errors of the opacity are correlated across an overlay, and so visible. Above this ratio, filling in is better.
_MAX_RISK = 5.0


def make_overlays(
    path: Path, survey: Survey, samples: Samples, fitted: Fit, source: Source, confidence: float
) -> list[Overlay]:
    """Return the overlay once per strength: an overlay that fades has one entry per step."""
    box, layers = _make_layers(fitted, samples, _MIN_EXPLAINED)
    return [
        Overlay(box, tuple(_scale_strength(layer, strength) for layer in layers), ranges, source, confidence)
        for strength, ranges in find_ranges(path, survey, samples, fitted).items()
    ]


def make_steady_overlay(
    samples: Samples, fitted: Fit, shown: FrameRange, min_explained: float, confidence: float
) -> Overlay:
    """Return the overlay for the frames ``shown``; it has an opacity if at least ``min_explained`` is explained."""
    box, layers = _make_layers(fitted, samples, min_explained)
    return Overlay(box, layers, (shown,), "static", confidence)


def is_reliable(fitted: Fit, min_explained: float = _MIN_EXPLAINED) -> bool:
    """Return True if the opacity is accurate enough to invert the blending."""
    return fitted.explained >= min_explained and fitted.risk <= _MAX_RISK


def _make_layers(fitted: Fit, samples: Samples, min_explained: float) -> tuple[Box, tuple[Layer, ...]]:
    reliable = is_reliable(fitted, min_explained)
    box = _bound_fit(fitted, samples)
    return box, tuple(
        _make_layer(fitted, box, samples.shape, number, reliable) for number in range(len(samples.components))
    )


def _scale_strength(layer: Layer, strength: float) -> Layer:
    alpha = np.minimum(layer.alpha * np.float32(strength), np.float32(1))
    return replace(layer, alpha=alpha, doubt=None if layer.doubt is None else layer.doubt * np.float32(strength**2))


def _bound_fit(fitted: Fit, samples: Samples) -> Box:
    """Return the smallest box around the mask whose edges lie between samples of all components."""
    inner = bound_mask(fitted.mask)
    box = Box(fitted.box.x + inner.x, fitted.box.y + inner.y, inner.width, inner.height)
    height, width = samples.components[0].shape[1:]
    return align_box(box, samples.shape, width, height)


def _make_layer(fitted: Fit, box: Box, shape: Shape, number: int, reliable: bool) -> Layer:
    """Return one component: chroma samples have the mean opacity of their pixels and its weighted mean color."""
    mask = reduce_mask(crop_or_pad(fitted.mask, fitted.box, box), shape, number)
    alpha, color = crop_or_pad(fitted.alpha, fitted.box, box), crop_or_pad(fitted.color[number], fitted.box, box)
    small, weighted = (
        average_blocks(alpha, shape.divisors[number]),
        average_blocks(alpha * color, shape.divisors[number]),
    )
    own = np.divide(weighted, small, out=np.full_like(small, np.nan), where=mask & (small > 0))
    small = np.where(mask, small if reliable else np.float32(np.nan), np.float32(0))
    doubt = average_blocks(crop_or_pad(fitted.doubt[number], fitted.box, box), shape.divisors[number])
    return Layer(mask, small.astype(np.float32), own if reliable else np.full_like(own, np.nan), doubt)
