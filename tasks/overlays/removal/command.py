"""Removal by an external program, such as ProPainter, which receives images and masks and outputs images.

Images are RGB with 8 bits, as inpainters expect. The output is pasted under the mask only, so that all other samples
stay the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame

from tasks.engine.contract.errors import Problem
from tasks.media.programs.images import IMAGE_NAMES, choose_rgb_format, find_images, read_image
from tasks.media.programs.running import run_program
from tasks.media.programs.template import Template, check_template
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.picture import UNSPECIFIED, PictureFormat
from tasks.media.segments.planes import Plane, view_planes
from tasks.overlays.components import Shape
from tasks.overlays.options import COMMAND_PLACEHOLDERS
from tasks.overlays.overlay import FrameRange, Mask
from tasks.overlays.removal.base import Crop, Region, Remover, Shares
from tasks.overlays.removal.veil import Veil, make_veils

PLACEHOLDERS: Mapping[str, str] = {
    "input": "the folder of input images: 00000000.png and so on, 8-bit RGB",
    "masks": "the folder of their masks with the same names: white where the overlay is",
    "output": "the folder for one PNG per input image; it exists and is empty",
    "width": "of the images, in pixels",
    "height": "of the images, in pixels",
    "fps": "frames per second, as a decimal number",
    "device": "a number from 0 to less than --devices, for exclusive use by this run of the program",
}
_BT601 = 6


def check_command(text: str, where: str = "command") -> list[Problem]:
    """Return all problems of a command; ``where`` is the option that it comes from."""
    return check_template(_make_template(text), where)


def list_placeholders(text: str) -> frozenset[str]:
    """Return the placeholders of a valid command."""
    return _make_template(text).used


@dataclass(frozen=True)
class Inpainter:
    """The program and the properties of the video that it needs.

    text     the command with PLACEHOLDERS; it does not run in a shell
    picture  format of the video: its matrix and range convert samples to RGB
    rate     frames per second
    device   number of a device for exclusive use, such as a GPU
    """

    text: str
    picture: PictureFormat
    rate: Fraction
    device: int = 0


class CommandRemover(Remover):
    """One run of the program for consecutive frames, in ``folder``, which is empty and temporary."""

    def __init__(self, inpainter: Inpainter, region: Region, shape: Shape, folder: Path) -> None:
        self._inpainter = inpainter
        self._region = region
        self._shape = shape
        self._folder = folder
        self._shares = Shares()
        self._veils: dict[tuple[int, ...], tuple[Veil, ...]] = {}

    @property
    def shares(self) -> Shares:
        return self._shares

    def clean(self, crops: Iterable[Crop], wanted: FrameRange) -> Iterator[Crop]:
        """Yield the wanted frames like every remover, but hold their crops until the program has ended.

        Raises SegmentError if the program fails, or does not output one image of the same size per frame.
        """
        held: list[tuple[int, Crop]] = []
        for number, crop in enumerate(crops):
            self._write(number, crop)
            if crop.index in wanted:
                held.append((number, crop))
        if not held:
            return
        touched = any(veil.mask.any() for _, crop in held for veil in self._get_veils(crop))
        outputs = self._run() if touched else []
        for number, crop in held:
            yield self._paste(crop, outputs[number]) if outputs else crop

    def _get_veils(self, crop: Crop) -> tuple[Veil, ...]:
        shown = self._region.find_shown(crop.index)
        if shown not in self._veils:
            self._veils[shown] = make_veils(self._region, shown, self._shape)
        return self._veils[shown]

    def _write(self, number: int, crop: Crop) -> None:
        """Write image and mask of ``crop`` as PNG."""
        for name in COMMAND_PLACEHOLDERS:
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        rgb = self._make_frame(crop.components).reformat(
            format="rgb24",
            src_colorspace=self._color_matrix,
            src_color_range=self._color_range,
            dst_color_range="JPEG",
            threads=1,
        )
        mask = self._merge_masks(tuple(veil.mask for veil in self._get_veils(crop)))
        _save(self._folder / "input" / (IMAGE_NAMES % number), rgb.to_ndarray()[..., ::-1])
        _save(self._folder / "masks" / (IMAGE_NAMES % number), mask.astype(np.uint8) * 255)

    def _run(self) -> list[Path]:
        """Run the program and return its output images, one per input."""
        box, template = self._region.box, _make_template(self._inpainter.text)
        values = {name: str(self._folder / name) for name in COMMAND_PLACEHOLDERS}
        values |= {"width": str(box.width), "height": str(box.height), "fps": f"{float(self._inpainter.rate):.6g}"}
        values["device"] = str(self._inpainter.device)
        run_program(template.fill(values), {"TMPDIR": str(self._folder)}, self._folder / "program.log")
        return find_images(self._folder / "input", self._folder / "output", template.program)

    def _paste(self, crop: Crop, output: Path) -> Crop:
        """Return ``crop`` with the program's output under the mask."""
        masks = [veil.mask for veil in self._get_veils(crop)]
        if not any(mask.any() for mask in masks):
            return crop
        components = self._read_components(output)
        self._shares += Shares(spatial=sum(int(mask.sum()) for mask in masks))
        parts = zip(masks, components, crop.components, strict=True)
        return Crop(crop.index, tuple(np.where(mask, new, old) for mask, new, old in parts))

    def _read_components(self, file: Path) -> tuple[Plane, ...]:
        picture = read_image(file, "the program")
        height, width = self._region.box.height, self._region.box.width
        if (picture.width, picture.height) != (width, height):
            size = f"{picture.width}x{picture.height}"
            raise SegmentError(f"{file.name} from the program has {size} pixels; expected {width}x{height}")
        frame = picture.reformat(format=choose_rgb_format(picture), threads=1).reformat(
            format=self._shape.pixel_format,
            dst_colorspace=self._color_matrix,
            src_color_range="JPEG",
            dst_color_range=self._color_range,
            threads=1,
        )
        return view_planes(frame)

    def _make_frame(self, components: tuple[Plane, ...]) -> VideoFrame:
        box = self._region.box
        frame = VideoFrame(box.width, box.height, self._shape.pixel_format)
        for own, given in zip(view_planes(frame), components, strict=True):
            own[...] = given
        return frame

    def _merge_masks(self, masks: tuple[Mask, ...]) -> Mask:
        """Return the pixels whose samples are in any of ``masks``: bool, height x width of the region."""
        box = self._region.box
        whole = np.zeros((box.height, box.width), np.bool_)
        for mask, (across, down) in zip(masks, self._shape.divisors, strict=True):
            whole |= mask.repeat(down, 0).repeat(across, 1)[: box.height, : box.width]
        return whole

    @property
    def _color_matrix(self) -> int:
        """The color matrix by its number in H.273; BT.601 if unspecified."""
        matrix = self._inpainter.picture.matrix
        return _BT601 if matrix in {UNSPECIFIED, 0} else matrix

    @property
    def _color_range(self) -> int:
        """1 for limited range (also if unspecified), 2 for full range, as RGB always is."""
        return 2 if self._shape.is_rgb else self._inpainter.picture.color_range or 1


def _save(file: Path, image: Any) -> None:
    if not cv2.imwrite(str(file), np.ascontiguousarray(image)):
        raise OSError(f"cannot write {file.name}")


def _make_template(text: str) -> Template:
    return Template(text, PLACEHOLDERS, COMMAND_PLACEHOLDERS)
