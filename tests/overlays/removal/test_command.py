"""A real program removes the overlay: its images are counted, measured, and pasted under the mask only."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tasks.media.segments.errors import SegmentError
from tasks.media.segments.picture import PictureFormat
from tasks.overlays.overlay import FrameRange
from tasks.overlays.removal.base import Crop, Region, plan_regions
from tasks.overlays.removal.command import CommandRemover, Inpainter, check_command
from tests.overlays.removal.pans import HEIGHT, WIDTH, Pan, draw_masks, make_crops, make_pan

# A program that inpaints each image; ``then`` runs before the image is written.
SCRIPT = """
import sys, pathlib, cv2
images, masks, output = map(pathlib.Path, sys.argv[1:4])
for file in sorted(images.glob("*.png")):
    image, mask = cv2.imread(str(file)), cv2.imread(str(masks / file.name), cv2.IMREAD_GRAYSCALE)
    made = cv2.inpaint(image, mask, 3, cv2.INPAINT_TELEA)
    {then}
    cv2.imwrite(str(output / file.name), made)
"""


def write_program(folder: Path, then: str = "") -> str:
    script = folder / "paint it.py"
    script.write_text(SCRIPT.format(then=then or "pass"), encoding="utf-8")
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(script))} {{input}} {{masks}} {{output}}"


def remove(given: Pan, text: str, folder: Path, wanted: FrameRange) -> tuple[Region, list[Crop], CommandRemover]:
    (region,) = plan_regions([given.overlay], given.shape, WIDTH, HEIGHT)
    inpainter = Inpainter(text, PictureFormat(WIDTH, HEIGHT, given.shape.pixel_format), Fraction(25))
    remover = CommandRemover(inpainter, region, given.shape, folder / "work")
    return region, list(remover.clean(make_crops(given.marked, region, given.shape), wanted)), remover


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "gray", "gbrp"])
def test_program_changes_only_samples_under_the_mask(tmp_path: Path, pixel_format: str) -> None:
    given = make_pan(1.0, pixel_format, frames=4, shown=(FrameRange(0, 3),))
    region, results, remover = remove(given, write_program(tmp_path), tmp_path, FrameRange(1, 4))
    before = list(make_crops(given.marked, region, given.shape))
    truth = list(make_crops(given.clean, region, given.shape))
    assert [crop.index for crop in results] == [1, 2, 3]
    for crop in results:
        parts = zip(crop.components, before[crop.index].components, truth[crop.index].components, strict=True)
        for (new, old, true), mask in zip(parts, draw_masks(region, given.overlay, given.shape), strict=True):
            assert new.dtype == old.dtype
            assert np.array_equal(new[~mask], old[~mask])
            if crop.index < 3:
                error, was = (abs(planes.astype(float) - true)[mask].mean() for planes in (new, old))
                assert error < was / 2
    assert all(map(np.array_equal, results[2].components, before[3].components))
    assert remover.shares.spatial == 2 * sum(int(layer.mask.sum()) for layer in given.overlay.layers)


@pytest.mark.parametrize("pixel_format", ["gray", "gbrp"])
def test_colors_survive_a_program_that_copies_its_input(tmp_path: Path, pixel_format: str) -> None:
    """Images are converted to 8-bit RGB and back; the program uses its own names and folders."""
    given = make_pan(1.0, pixel_format, frames=12)
    then = "cv2.imwrite(str(output / f'f{int(file.stem)}.png'), image); continue"
    region, results, _ = remove(given, write_program(tmp_path, then), tmp_path, FrameRange(0, 12))
    for crop, before in zip(results, make_crops(given.marked, region, given.shape), strict=True):
        parts = zip(crop.components, before.components, draw_masks(region, given.overlay, given.shape), strict=True)
        for new, old, mask in parts:
            assert np.abs(new.astype(int) - old)[mask].max() <= 1


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ("made = made[:-2]", "expected 96x72"),
        (
            "if file.name == '00000002.png': continue",
            "4 images and wrote none for 1, the first is 00000002",
        ),
        ("sys.exit('no memory left')", "exit status 1: no memory left"),
    ],
)
def test_program_that_fails_or_miscounts_is_an_error(tmp_path: Path, then: str, message: str) -> None:
    given = make_pan(1.0, frames=4)
    with pytest.raises(SegmentError, match=message):
        remove(given, write_program(tmp_path, then), tmp_path, FrameRange(0, 4))


def test_program_does_not_run_without_visible_overlays(tmp_path: Path) -> None:
    given = make_pan(1.0, frames=3)
    given = replace(given, overlay=replace(given.overlay, ranges=(FrameRange(90, 99),)), marked=given.clean)
    _, results, _ = remove(given, "/no/such/program", tmp_path, FrameRange(0, 3))
    assert len(results) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("python {input} {masks} {output} {speed}", "{speed}"),
        ("python {input} {output}", "no {masks}"),
        ("python 'x {input} {masks} {output}", "no closing quotation"),
        ("no-such-painter {input} {masks} {output}", "not an installed program"),
    ],
)
def test_invalid_commands_are_problems(text: str, said: str) -> None:
    assert any(said in str(problem) for problem in check_command(text.replace("python", sys.executable)))
