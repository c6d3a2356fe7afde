"""The regions of a frame that are processed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.overlays.boxes import Box
from tasks.overlays.components import read_shape
from tasks.overlays.overlay import FrameRange, Overlay
from tasks.overlays.removal.base import MARGIN_PX, count_context_frames, plan_regions
from tests.overlays.removal.pans import draw_sign

SHAPE = read_shape("yuv420p")


def place_overlay(x: int, y: int) -> Overlay:
    overlay = draw_sign(0.5, SHAPE, (FrameRange(0, 5),))
    return replace(overlay, box=replace(overlay.box, x=x, y=y))


def test_region_has_a_margin_within_the_frame() -> None:
    (inner,) = plan_regions([place_overlay(100, 60)], SHAPE, 641, 361)
    assert inner.box == Box(100 - MARGIN_PX, 60 - MARGIN_PX, 48 + 2 * MARGIN_PX, 24 + 2 * MARGIN_PX)
    (corner,) = plan_regions([place_overlay(592, 336)], SHAPE, 641, 361)
    assert (corner.box.right, corner.box.bottom) == (641, 361)
    assert (corner.box.x % 2, corner.box.y % 2) == (0, 0)


def test_overlays_with_overlapping_surroundings_share_a_region() -> None:
    chain = [place_overlay(0, 0), place_overlay(184, 0), place_overlay(92, 0)]  # the third joins the first two
    far = place_overlay(500, 300)
    near, alone = plan_regions([*chain, far], SHAPE, 640, 360)
    assert set(map(id, near.overlays)) == set(map(id, chain))
    assert alone.overlays == (far,)
    assert (near.box.x, near.box.right) == (0, 184 + 48 + MARGIN_PX)


def test_regions_never_share_a_sample() -> None:
    regions = plan_regions(
        [place_overlay(x, y) for x in range(0, 580, 97) for y in range(0, 330, 121)], SHAPE, 640, 360
    )
    for place, region in enumerate(regions):
        for other in regions[place + 1 :]:
            apart = region.box.right <= other.box.x or other.box.right <= region.box.x
            assert apart or region.box.bottom <= other.box.y or other.box.bottom <= region.box.y


@pytest.mark.parametrize(("method", "frames"), [("auto", 16), ("temporal", 16), ("spatial", 2), ("unblend", 0)])
def test_count_context_frames(method: str, frames: int) -> None:
    assert count_context_frames(method) == frames  # type: ignore[arg-type]
