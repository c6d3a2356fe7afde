"""Removal: close to the truth under overlays, identical elsewhere, independent of segment bounds."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from tasks.media.segments.planes import Plane
from tasks.overlays.overlay import FrameRange, Layer, Overlay
from tasks.overlays.removal.base import Crop, Method, Region, count_context_frames, plan_regions
from tasks.overlays.removal.fusing import FusingRemover
from tests.overlays.removal.pans import HEIGHT, WIDTH, Pan, burn, draw_masks, forget_opacity, make_crops, make_pan

METHODS: tuple[Method, ...] = ("auto", "unblend", "temporal", "spatial")


def make_region(given: Pan, overlay: Overlay | None = None) -> Region:
    (region,) = plan_regions([overlay or given.overlay], given.shape, WIDTH, HEIGHT)
    return region


def clean(given: Pan, method: Method, region: Region, wanted: FrameRange | None = None) -> list[Crop]:
    """Return the wanted frames; only those of a segment are read."""
    wanted = wanted or FrameRange(0, len(given.marked))
    context = count_context_frames(method)
    first = max(0, wanted.start_frame - context)
    read = given.marked[first : wanted.end_frame + context]
    return list(FusingRemover(method, region, given.shape).clean(make_crops(read, region, given.shape, first), wanted))


def measure_psnr(given: Pan, region: Region, results: list[tuple[Plane, ...]]) -> float:
    """Return the PSNR in the mask over all components and frames, in dB."""
    truth = [crop.components for crop in make_crops(given.clean, region, given.shape)]
    errors = [
        (plane.astype(float) - true_plane)[mask]
        for planes, true in zip(results, truth, strict=True)
        for plane, true_plane, mask in zip(planes, true, draw_masks(region, given.overlay, given.shape), strict=True)
    ]
    return 20 * math.log10((2**given.shape.bits - 1) / math.sqrt(np.mean(np.concatenate(errors) ** 2) + 1e-12))


def inpaint_telea(given: Pan, region: Region) -> list[tuple[Plane, ...]]:
    hidden = [mask.astype(np.uint8) for mask in draw_masks(region, given.overlay, given.shape)]
    return [
        tuple(cv2.inpaint(p, m, 3, cv2.INPAINT_TELEA) for p, m in zip(crop.components, hidden, strict=True))
        for crop in make_crops(given.marked, region, given.shape)
    ]


@pytest.mark.parametrize(("opacity", "gain_db"), [(0.3, 6.0), (0.5, 6.0), (0.75, 6.0), (1.0, 6.0)])
def test_sign_over_a_pan_is_removed(opacity: float, gain_db: float) -> None:
    given = make_pan(opacity, frames=24)
    region = make_region(given)
    results = [crop.components for crop in clean(given, "auto", region)]
    assert measure_psnr(given, region, results) >= measure_psnr(given, region, inpaint_telea(given, region)) + gain_db


@pytest.mark.parametrize("pixel_format", ["yuv422p10le", "yuv444p", "gray", "gbrp", "yuv420p12le"])
def test_every_format_keeps_samples_outside_the_mask(pixel_format: str) -> None:
    given = make_pan(0.5, pixel_format, frames=12)
    region = make_region(given)
    results = clean(given, "auto", region)
    for crop, before in zip(results, make_crops(given.marked, region, given.shape), strict=True):
        for plane, was, mask in zip(
            crop.components, before.components, draw_masks(region, given.overlay, given.shape), strict=True
        ):
            assert plane.dtype == was.dtype
            assert np.array_equal(plane[~mask], was[~mask])
    assert measure_psnr(given, region, [crop.components for crop in results]) > 40


@pytest.mark.parametrize("method", METHODS)
def test_result_does_not_depend_on_segment_bounds(method: Method) -> None:
    given = make_pan(0.75, frames=44)
    region = make_region(given)
    whole = clean(given, method, region)
    parts = [
        crop
        for start, end in pairwise((0, 7, 25, 26, 44))
        for crop in clean(given, method, region, FrameRange(start, end))
    ]
    assert [crop.index for crop in parts] == list(range(44))
    for whole_crop, part_crop in zip(whole, parts, strict=True):
        assert all(map(np.array_equal, whole_crop.components, part_crop.components))


def test_frames_without_the_sign_stay_and_supply_the_background() -> None:
    given = make_pan(1.0, frames=30, speed_px=0, shown=(FrameRange(10, 20),))  # a still scene
    region = make_region(given)
    results = clean(given, "auto", region)
    for crop, before in zip(results, make_crops(given.marked, region, given.shape), strict=True):
        if not given.overlay.is_shown(crop.index):
            assert all(map(np.array_equal, crop.components, before.components))
    assert measure_psnr(given, region, [crop.components for crop in results]) > 45


def test_sign_outside_the_segment_has_no_effect() -> None:
    given = make_pan(1.0, frames=6, shown=(FrameRange(100, 200),))
    region = make_region(given)
    remover = FusingRemover("auto", region, given.shape)
    results = list(remover.clean(make_crops(given.marked, region, given.shape), FrameRange(0, 6)))
    assert [crop.index for crop in results] == list(range(6))
    assert remover.shares.total == 0


def test_unknown_opacity_is_filled_from_other_frames() -> None:
    given = make_pan(0.5, frames=24)
    region = make_region(given, forget_opacity(given.overlay))
    remover = FusingRemover("auto", region, given.shape)
    results = list(remover.clean(make_crops(given.marked, region, given.shape), FrameRange(0, 24)))
    assert (
        measure_psnr(given, region, [crop.components for crop in results])
        > measure_psnr(given, region, inpaint_telea(given, region)) + 3
    )
    assert remover.shares.unblended == 0
    assert remover.shares.temporal > remover.shares.spatial


def make_fading(given: Pan, overlay: Overlay, strengths: list[float]) -> list[Overlay]:
    """Return ``overlay`` fading in, as a detector gives it: steps of two frames each, the last one longer."""
    ends = [2 * number for number in range(1, len(strengths))] + [len(given.clean)]
    return [
        replace(
            overlay,
            layers=tuple(replace(layer, alpha=layer.alpha * np.float32(strength)) for layer in overlay.layers),
            ranges=(FrameRange(2 * number, end),),
        )
        for number, (strength, end) in enumerate(zip(strengths, ends, strict=True))
    ]


def test_fading_sign_is_removed_from_its_first_frame() -> None:
    given = make_pan(0.6, frames=30)
    signs = make_fading(given, given.overlay, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    marked = [
        next(burn(planes, each, given.shape) for each in signs if each.is_shown(n))
        for n, planes in enumerate(given.clean)
    ]
    fading = replace(given, marked=marked)
    (region,) = plan_regions(signs, given.shape, WIDTH, HEIGHT)
    whole = clean(fading, "auto", region)
    assert measure_psnr(given, region, [crop.components for crop in whole]) > 42
    parts = [*clean(fading, "auto", region, FrameRange(0, 9)), *clean(fading, "auto", region, FrameRange(9, 30))]
    for each, part_crop in zip(whole, parts, strict=True):
        assert all(map(np.array_equal, each.components, part_crop.components))


@pytest.mark.parametrize("opacity", [0.3, 0.75])
def test_frames_with_an_absent_sign_are_unchanged(opacity: float) -> None:
    given = make_pan(opacity, frames=24)
    given = replace(given, overlay=replace(given.overlay, source="static"))
    absent = [*given.marked[:9], *given.clean[9:12], *given.marked[12:]]
    region = make_region(given)
    results = [crop.components for crop in clean(replace(given, marked=absent), "auto", region)]
    assert (
        measure_psnr(given, region, results)
        > measure_psnr(given, region, [c.components for c in clean(given, "auto", region)]) - 1
    )
    for crop, planes in zip(list(make_crops(given.clean, region, given.shape))[9:12], results[9:12], strict=True):
        assert all(map(np.array_equal, crop.components, planes))


def test_mask_of_the_user_is_filled_in_if_the_sign_differs() -> None:
    """Inverting the absent blending would leave a negative; an unchanged frame would keep the overlay."""
    given = make_pan(0.6, frames=24)
    dark = [
        replace(layer, alpha=layer.mask.astype(np.float32), color=np.full_like(layer.color, 40))
        for layer in given.overlay.layers
    ]
    other = replace(given.overlay, layers=tuple(dark))
    marked = [burn(given.clean[n], other, given.shape) if 9 <= n < 12 else given.marked[n] for n in range(24)]
    region = make_region(given)
    results = [crop.components for crop in clean(replace(given, marked=marked), "auto", region)]
    assert measure_psnr(given, region, results) > measure_psnr(given, region, inpaint_telea(given, region)) + 3


def test_outlined_letters_are_present_in_every_frame() -> None:
    """If the outline is one sample wide, its inner edge dominates the outer one."""
    given = make_pan(0.5, frames=24)
    overlay = replace(given.overlay, layers=tuple(add_outline(layer) for layer in given.overlay.layers))
    marked = [burn(planes, overlay, given.shape) for planes in given.clean]
    given = replace(given, overlay=overlay, marked=marked)
    region = make_region(given)
    results = [crop.components for crop in clean(given, "auto", region)]
    assert measure_psnr(given, region, results) >= measure_psnr(given, region, inpaint_telea(given, region)) + 6


def add_outline(layer: Layer) -> Layer:
    """Return ``layer`` with an outline of one sample, as opaque and a little darker than the scene."""
    most = layer.alpha.max()
    alpha = np.where(cv2.dilate(layer.alpha, np.ones((3, 3))) > most / 2, most, np.float32(0)).astype(np.float32)
    color = np.where(layer.alpha > most / 2, layer.color, np.float32(90))
    return Layer(alpha > 0, alpha, color)


def test_shares_count_every_sample_once() -> None:
    given = make_pan(0.5, frames=5)
    region = make_region(given)
    remover = FusingRemover("unblend", region, given.shape)
    list(remover.clean(make_crops(given.marked, region, given.shape), FrameRange(0, 5)))
    hidden = sum(int(layer.mask.sum()) for layer in given.overlay.layers)
    assert remover.shares.total == 5 * hidden
    assert remover.shares.unblended > 0.9 * remover.shares.total


def test_scene_cut_does_not_mix_scenes() -> None:
    before, after = make_pan(1.0, frames=12), make_pan(1.0, frames=12)
    other = [tuple(np.flip(255 - plane, 0) for plane in planes) for planes in after.clean]
    overlay = before.overlay
    marked = [burn(planes, overlay, after.shape) for planes in other]
    given = replace(before, clean=[*before.clean, *other], marked=[*before.marked, *marked])
    region = make_region(given)
    results = [crop.components for crop in clean(given, "auto", region)]
    assert measure_psnr(given, region, results) > measure_psnr(given, region, inpaint_telea(given, region)) + 2


def test_crops_of_another_size_or_out_of_order_are_refused() -> None:
    given = make_pan(0.5, frames=4)
    region = make_region(given)
    all_crops = list(make_crops(given.marked, region, given.shape))
    small = Crop(0, tuple(plane[:-2] for plane in all_crops[0].components))
    with pytest.raises(ValueError, match="frame 0: crops must have"):
        list(FusingRemover("auto", region, given.shape).clean([small], FrameRange(0, 1)))
    with pytest.raises(ValueError, match="frame 3 after 1"):
        list(FusingRemover("auto", region, given.shape).clean(all_crops[:2] + all_crops[3:], FrameRange(0, 4)))
