"""Small synthetic videos: a camera pans over a drawn wall, with a sign burned in, and the ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from tasks.media.segments.planes import Plane
from tasks.overlays.boxes import Box
from tasks.overlays.components import Shape, read_shape, reduce_mask
from tasks.overlays.overlay import Floats, FrameRange, Layer, Overlay
from tasks.overlays.removal.base import Crop, Region

WIDTH, HEIGHT = 160, 96
BOX = Box(56, 36, 48, 24)


@dataclass(frozen=True)
class Pan:
    """``clean`` and ``marked`` frames, a tuple of components each, and the overlay."""

    shape: Shape
    overlay: Overlay
    clean: list[tuple[Plane, ...]]
    marked: list[tuple[Plane, ...]]


def make_pan(
    opacity: float,
    pixel_format: str = "yuv420p",
    frames: int = 40,
    speed_px: float = 1.5,
    shown: tuple[FrameRange, ...] = (FrameRange(0, 10_000),),
) -> Pan:
    """Return a pan with a sign of that opacity in the frames ``shown``."""
    shape = read_shape(pixel_format)
    overlay = draw_sign(opacity, shape, shown)
    clean = [draw_wall(speed_px * index, shape) for index in range(frames)]
    marked = [burn(planes, overlay, shape) if overlay.is_shown(n) else planes for n, planes in enumerate(clean)]
    return Pan(shape, overlay, clean, marked)


def draw_sign(opacity: float, shape: Shape, shown: tuple[FrameRange, ...]) -> Overlay:
    """Return thick letters with soft edges, bright in all components."""
    page = np.zeros((BOX.height, BOX.width), np.uint8)
    cv2.putText(page, "AE7", (3, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 2, cv2.LINE_AA)
    alpha = (page / 255 * opacity).astype(np.float32)
    layers = tuple(_make_layer(alpha, shape, component) for component in range(len(shape.divisors)))
    return Overlay(BOX, layers, shown, "mask", 1.0)


def _make_layer(alpha: Floats, shape: Shape, component: int) -> Layer:
    across, down = shape.divisors[component]
    mask = reduce_mask(alpha > 0, shape, component)
    small = cv2.resize(alpha, (BOX.width // across, BOX.height // down), interpolation=cv2.INTER_AREA)
    light = np.full_like(small, (230 if component == 0 else 150) * 2 ** (shape.bits - 8))
    return Layer(mask, np.where(mask, small, np.float32(0)), light)


def draw_wall(at_px: float, shape: Shape) -> tuple[Plane, ...]:
    """Return the wall ``at_px`` to the right: waves in two directions, different in each component."""
    return tuple(_sum_waves(at_px, shape, component) for component in range(len(shape.divisors)))


def _sum_waves(at_px: float, shape: Shape, component: int) -> Plane:
    across, down = shape.divisors[component]
    y, x = np.mgrid[: HEIGHT // down, : WIDTH // across].astype(np.float64)
    x, y = x * across + at_px, y * down
    chance = np.random.default_rng(component)
    total = np.full(x.shape, 110.0)
    for _ in range(14):
        wave, turn, phase = chance.uniform(9, 40), chance.uniform(0, np.pi), chance.uniform(0, 6.3)
        total += 9 * np.sin(2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / wave + phase)
    codes = np.clip(np.rint(total * 2 ** (shape.bits - 8)), 0, 2**shape.bits - 1)
    return codes.astype(np.uint8 if shape.bits == 8 else np.uint16)


def burn(planes: tuple[Plane, ...], overlay: Overlay, shape: Shape) -> tuple[Plane, ...]:
    """Return ``planes`` with the overlay."""
    copies = tuple(plane.copy() for plane in planes)
    for component, (plane, layer) in enumerate(zip(copies, overlay.layers, strict=True)):
        part = plane[shape.get_part(overlay.box, component)]
        blended = np.rint((1 - layer.alpha) * part + layer.alpha * layer.color)
        part[layer.mask] = blended[layer.mask].astype(part.dtype)
    return copies


def forget_opacity(overlay: Overlay) -> Overlay:
    """Return ``overlay`` with its place only."""
    layers = tuple(
        replace(layer, alpha=np.where(layer.mask, np.float32(np.nan), np.float32(0))) for layer in overlay.layers
    )
    return replace(overlay, layers=layers)


def make_crops(frames: list[tuple[Plane, ...]], region: Region, shape: Shape, first: int = 0) -> Iterator[Crop]:
    """Yield the region's samples in ``frames``; ``first`` is the index of the first."""
    for index, planes in enumerate(frames, first):
        parts = (plane[shape.get_part(region.box, component)].copy() for component, plane in enumerate(planes))
        yield Crop(index, tuple(parts))


def draw_masks(region: Region, overlay: Overlay, shape: Shape) -> list[np.ndarray]:
    """Return the overlay's masks in the components of the region: bool, height x width each."""
    masks = []
    for component, layer in enumerate(overlay.layers):
        rows, columns = shape.get_part(region.box, component)
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.bool_)
        down, across = shape.get_part(overlay.box, component)
        top, left = down.start - rows.start, across.start - columns.start
        mask[top : top + layer.mask.shape[0], left : left + layer.mask.shape[1]] = layer.mask
        masks.append(mask)
    return masks
