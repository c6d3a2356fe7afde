"""Overlays are taken away: near the truth under them, nothing else touched, the same wherever segments are cut."""

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
from tests.overlays.removal.pans import HEIGHT, WIDTH, Pan, burned, crops, masks, pan, unknown

METHODS: tuple[Method, ...] = ("auto", "unblend", "temporal", "spatial")


def region_of(given: Pan, overlay: Overlay | None = None) -> Region:
    (region,) = plan_regions([overlay or given.overlay], given.shape, WIDTH, HEIGHT)
    return region


def cleaned(given: Pan, method: Method, region: Region, wanted: FrameRange | None = None) -> list[Crop]:
    """The wanted frames; only those are read that a segment reads."""
    wanted = wanted or FrameRange(0, len(given.marked))
    context = count_context_frames(method)
    first = max(0, wanted.start_frame - context)
    read = given.marked[first : wanted.end_frame + context]
    return list(FusingRemover(method, region, given.shape).clean(crops(read, region, given.shape, first), wanted))


def psnr(given: Pan, region: Region, found: list[tuple[Plane, ...]]) -> float:
    """In the mask, of all components and frames, in dB."""
    truth = [crop.components for crop in crops(given.clean, region, given.shape)]
    errors = [
        (one.astype(float) - other)[mask]
        for planes, true in zip(found, truth, strict=True)
        for one, other, mask in zip(planes, true, masks(region, given.overlay, given.shape), strict=True)
    ]
    return 20 * math.log10((2**given.shape.bits - 1) / math.sqrt(np.mean(np.concatenate(errors) ** 2) + 1e-12))


def telea(given: Pan, region: Region) -> list[tuple[Plane, ...]]:
    hidden = [mask.astype(np.uint8) for mask in masks(region, given.overlay, given.shape)]
    return [
        tuple(cv2.inpaint(p, m, 3, cv2.INPAINT_TELEA) for p, m in zip(crop.components, hidden, strict=True))
        for crop in crops(given.marked, region, given.shape)
    ]


@pytest.mark.parametrize(("opacity", "gain_db"), [(0.3, 6.0), (0.5, 6.0), (0.75, 6.0), (1.0, 6.0)])
def test_a_sign_over_a_pan_goes(opacity: float, gain_db: float) -> None:
    given = pan(opacity, frames=24)
    region = region_of(given)
    found = [crop.components for crop in cleaned(given, "auto", region)]
    assert psnr(given, region, found) >= psnr(given, region, telea(given, region)) + gain_db


@pytest.mark.parametrize("pixel_format", ["yuv422p10le", "yuv444p", "gray", "gbrp", "yuv420p12le"])
def test_every_format_keeps_what_is_not_under_the_mask(pixel_format: str) -> None:
    given = pan(0.5, pixel_format, frames=12)
    region = region_of(given)
    found = cleaned(given, "auto", region)
    for crop, before in zip(found, crops(given.marked, region, given.shape), strict=True):
        for plane, was, mask in zip(
            crop.components, before.components, masks(region, given.overlay, given.shape), strict=True
        ):
            assert plane.dtype == was.dtype
            assert np.array_equal(plane[~mask], was[~mask])
    assert psnr(given, region, [crop.components for crop in found]) > 40


@pytest.mark.parametrize("method", METHODS)
def test_where_segments_are_cut_changes_nothing(method: Method) -> None:
    given = pan(0.75, frames=44)
    region = region_of(given)
    whole = cleaned(given, method, region)
    parts = [
        crop
        for start, end in pairwise((0, 7, 25, 26, 44))
        for crop in cleaned(given, method, region, FrameRange(start, end))
    ]
    assert [crop.index for crop in parts] == list(range(44))
    for one, other in zip(whole, parts, strict=True):
        assert all(map(np.array_equal, one.components, other.components))


def test_frames_without_the_sign_stay_and_show_what_it_hid() -> None:
    given = pan(1.0, frames=30, speed_px=0, shown=(FrameRange(10, 20),))  # nothing moves
    region = region_of(given)
    found = cleaned(given, "auto", region)
    for crop, before in zip(found, crops(given.marked, region, given.shape), strict=True):
        if not given.overlay.is_shown(crop.index):
            assert all(map(np.array_equal, crop.components, before.components))
    assert psnr(given, region, [crop.components for crop in found]) > 45


def test_a_sign_that_shows_nowhere_here_changes_nothing() -> None:
    given = pan(1.0, frames=6, shown=(FrameRange(100, 200),))
    region = region_of(given)
    remover = FusingRemover("auto", region, given.shape)
    found = list(remover.clean(crops(given.marked, region, given.shape), FrameRange(0, 6)))
    assert [crop.index for crop in found] == list(range(6))
    assert remover.shares.total == 0


def test_opacity_that_is_not_known_is_filled_from_other_frames() -> None:
    given = pan(0.5, frames=24)
    region = region_of(given, unknown(given.overlay))
    remover = FusingRemover("auto", region, given.shape)
    found = list(remover.clean(crops(given.marked, region, given.shape), FrameRange(0, 24)))
    assert psnr(given, region, [crop.components for crop in found]) > psnr(given, region, telea(given, region)) + 3
    assert remover.shares.unblended == 0
    assert remover.shares.temporal > remover.shares.spatial


def faded(given: Pan, overlay: Overlay, strengths: list[float]) -> list[Overlay]:
    """``overlay`` as a detector gives one that fades in: one after the other, two frames each, the last one longer."""
    ends = [2 * number for number in range(1, len(strengths))] + [len(given.clean)]
    return [
        replace(
            overlay,
            layers=tuple(replace(layer, alpha=layer.alpha * np.float32(strength)) for layer in overlay.layers),
            ranges=(FrameRange(2 * number, end),),
        )
        for number, (strength, end) in enumerate(zip(strengths, ends, strict=True))
    ]


def test_a_sign_that_fades_in_goes_from_the_first_frame_on_wherever_segments_are_cut() -> None:
    given = pan(0.6, frames=30)
    signs = faded(given, given.overlay, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    marked = [
        next(burned(planes, one, given.shape) for one in signs if one.is_shown(n))
        for n, planes in enumerate(given.clean)
    ]
    fading = replace(given, marked=marked)
    (region,) = plan_regions(signs, given.shape, WIDTH, HEIGHT)
    whole = cleaned(fading, "auto", region)
    assert psnr(given, region, [crop.components for crop in whole]) > 42
    parts = [*cleaned(fading, "auto", region, FrameRange(0, 9)), *cleaned(fading, "auto", region, FrameRange(9, 30))]
    for one, other in zip(whole, parts, strict=True):
        assert all(map(np.array_equal, one.components, other.components))


@pytest.mark.parametrize("opacity", [0.3, 0.75])
def test_frames_over_which_the_sign_does_not_lie_though_it_is_said_to_keep_what_they_show(opacity: float) -> None:
    given = pan(opacity, frames=24)
    given = replace(given, overlay=replace(given.overlay, source="static"))
    absent = [*given.marked[:9], *given.clean[9:12], *given.marked[12:]]
    region = region_of(given)
    found = [crop.components for crop in cleaned(replace(given, marked=absent), "auto", region)]
    assert psnr(given, region, found) > psnr(given, region, [c.components for c in cleaned(given, "auto", region)]) - 1
    for crop, planes in zip(list(crops(given.clean, region, given.shape))[9:12], found[9:12], strict=True):
        assert all(map(np.array_equal, crop.components, planes))


def test_where_the_user_says_that_a_sign_lies_it_is_filled_in_though_it_is_another() -> None:
    """Undoing a blend that is not there would leave its negative; leaving the frame as it is, what was to go."""
    given = pan(0.6, frames=24)
    dark = [
        replace(one, alpha=one.mask.astype(np.float32), color=np.full_like(one.color, 40))
        for one in given.overlay.layers
    ]
    other = replace(given.overlay, layers=tuple(dark))
    marked = [burned(given.clean[n], other, given.shape) if 9 <= n < 12 else given.marked[n] for n in range(24)]
    region = region_of(given)
    found = [crop.components for crop in cleaned(replace(given, marked=marked), "auto", region)]
    assert psnr(given, region, found) > psnr(given, region, telea(given, region)) + 3


def test_white_letters_with_a_dark_rim_are_seen_in_every_frame() -> None:
    """Where the rim is one sample wide, its outer edge is drowned by the inner one, that of its colour."""
    given = pan(0.5, frames=24)
    overlay = replace(given.overlay, layers=tuple(rimmed(layer) for layer in given.overlay.layers))
    marked = [burned(planes, overlay, given.shape) for planes in given.clean]
    given = replace(given, overlay=overlay, marked=marked)
    region = region_of(given)
    found = [crop.components for crop in cleaned(given, "auto", region)]
    assert psnr(given, region, found) >= psnr(given, region, telea(given, region)) + 6


def rimmed(layer: Layer) -> Layer:
    """``layer`` with a rim of one sample, as opaque and a little darker than the scene."""
    most = layer.alpha.max()
    alpha = np.where(cv2.dilate(layer.alpha, np.ones((3, 3))) > most / 2, most, np.float32(0)).astype(np.float32)
    color = np.where(layer.alpha > most / 2, layer.color, np.float32(90))
    return Layer(alpha > 0, alpha, color)


def test_shares_count_every_sample_once() -> None:
    given = pan(0.5, frames=5)
    region = region_of(given)
    remover = FusingRemover("unblend", region, given.shape)
    list(remover.clean(crops(given.marked, region, given.shape), FrameRange(0, 5)))
    hidden = sum(int(layer.mask.sum()) for layer in given.overlay.layers)
    assert remover.shares.total == 5 * hidden
    assert remover.shares.unblended > 0.9 * remover.shares.total


def test_a_cut_brings_nothing_of_the_other_scene() -> None:
    before, after = pan(1.0, frames=12), pan(1.0, frames=12)
    other = [tuple(np.flip(255 - plane, 0) for plane in planes) for planes in after.clean]
    overlay = before.overlay
    marked = [burned(planes, overlay, after.shape) for planes in other]
    given = replace(before, clean=[*before.clean, *other], marked=[*before.marked, *marked])
    region = region_of(given)
    found = [crop.components for crop in cleaned(given, "auto", region)]
    assert psnr(given, region, found) > psnr(given, region, telea(given, region)) + 2


def test_crops_of_another_size_or_out_of_order_are_refused() -> None:
    given = pan(0.5, frames=4)
    region = region_of(given)
    all_crops = list(crops(given.marked, region, given.shape))
    small = Crop(0, tuple(plane[:-2] for plane in all_crops[0].components))
    with pytest.raises(ValueError, match="frame 0: crops must have"):
        list(FusingRemover("auto", region, given.shape).clean([small], FrameRange(0, 1)))
    with pytest.raises(ValueError, match="frame 3 after 1"):
        list(FusingRemover("auto", region, given.shape).clean(all_crops[:2] + all_crops[3:], FrameRange(0, 4)))
