"""What was fitted, as overlays: a layer for each component, and frames for each strength."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tasks.media.segments.source import Survey
from tasks.overlays.components import Shape, aligned, component_mask
from tasks.overlays.detection.static_fitting import Fit
from tasks.overlays.detection.static_ranges import shown_ranges
from tasks.overlays.detection.static_sampling import Samples
from tasks.overlays.overlay import Box, Floats, FrameRange, Layer, Overlay, Source

Number = TypeVar("Number", np.bool_, np.float32)

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
    rows, columns = np.flatnonzero(fitted.mask.any(axis=1)), np.flatnonzero(fitted.mask.any(axis=0))
    box = Box(
        fitted.box.x + int(columns[0]), fitted.box.y + int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
    )
    height, width = samples.components[0].shape[1:]
    return aligned(box, samples.shape, width, height)


def _layer(fitted: Fit, box: Box, shape: Shape, number: int, known: bool) -> Layer:
    """One component of the overlay: chroma samples have the mean opacity of their pixels, and its weighted colour."""
    mask = component_mask(_within(fitted.mask, fitted.box, box), shape, number)
    alpha, color = _within(fitted.alpha, fitted.box, box), _within(fitted.color[number], fitted.box, box)
    small, weighted = _averaged(alpha, shape.divisors[number]), _averaged(alpha * color, shape.divisors[number])
    own = np.divide(weighted, small, out=np.full_like(small, np.nan), where=mask & (small > 0))
    small = np.where(mask, small if known else np.float32(np.nan), np.float32(0))
    doubt = _averaged(_within(fitted.doubt[number], fitted.box, box), shape.divisors[number])
    return Layer(mask, small.astype(np.float32), own if known else np.full_like(own, np.nan), doubt)


def _within(values: npt.NDArray[Number], box: Box, wanted: Box) -> npt.NDArray[Number]:
    """``values``, which lie over ``box``, over ``wanted``; 0 where it goes beyond."""
    found = np.zeros((wanted.height, wanted.width), values.dtype)
    left, top = max(box.x, wanted.x), max(box.y, wanted.y)
    right, bottom = min(box.right, wanted.right), min(box.bottom, wanted.bottom)
    part = values[top - box.y : bottom - box.y, left - box.x : right - box.x]
    found[top - wanted.y : bottom - wanted.y, left - wanted.x : right - wanted.x] = part
    return found


def _averaged(values: Floats, step: tuple[int, int]) -> Floats:
    """The means of blocks of that width and height; where the picture ends within one, its last pixels count twice."""
    across, down = step
    height, width = values.shape
    padded = np.pad(values, ((0, -height % down), (0, -width % across)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // down, down, padded.shape[1] // across, across)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))
