"""Removal by a program of the user's, as ProPainter is: it is given pictures and masks, and makes pictures.

Pictures are RGB with 8 bits, which is what inpainters take. What comes back is pasted under the mask alone, so that
every other sample stays as it was.
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
from tasks.media.programs.pictures import PICTURE_NAMES, made_pictures, read_picture, rgb_format
from tasks.media.programs.running import run_program
from tasks.media.programs.template import Template, template_problems
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.picture import UNSPECIFIED, PictureFormat
from tasks.media.segments.planes import Plane, planes
from tasks.overlays.components import Shape
from tasks.overlays.overlay import FrameRange, Mask
from tasks.overlays.removal.base import Crop, Region, Remover, Shares
from tasks.overlays.removal.veil import Veil, veils

PLACEHOLDERS: Mapping[str, str] = {
    "input": "the folder of pictures that the program is given: 00000000.png and so on, 8-bit RGB",
    "masks": "the folder of their masks, of the same names: white where something is to go",
    "output": "the folder to write one PNG for each picture into; it is there and empty",
    "width": "of the pictures, in pixels",
    "height": "of the pictures, in pixels",
    "fps": "frames a second, as a decimal number",
    "device": "a number from 0, of as many as --devices says: no other run of the program has it at the same time",
}
_NEEDED = ("input", "masks", "output")
_BT601 = 6


def command_problems(text: str, where: str = "command") -> list[Problem]:
    """All that is wrong with a command; ``where`` says which option it comes from."""
    return template_problems(_template(text), where)


def placeholders(text: str) -> frozenset[str]:
    """Those that stand in a command in which nothing is wrong."""
    return _template(text).used


@dataclass(frozen=True)
class Inpainter:
    """The program, and what it has to know of the video.

    text     the command with PLACEHOLDERS; no shell sees it
    picture  of the video: its matrix and range say how its samples become RGB
    rate     frames a second
    device   number of what the program may have for itself, such as a graphics card
    """

    text: str
    picture: PictureFormat
    rate: Fraction
    device: int = 0


class CommandRemover(Remover):
    """One run of the program for one run of frames, in ``folder``, which is empty and may be thrown away after it."""

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

    def cleaned(self, crops: Iterable[Crop], wanted: FrameRange) -> Iterator[Crop]:
        """The same as of every remover, but that the wanted crops are held until the program has ended.

        Raises SegmentError where the program fails, or does not make one picture of the same size for each.
        """
        held: list[tuple[int, Crop]] = []
        for number, crop in enumerate(crops):
            self._write(number, crop)
            if crop.index in wanted:
                held.append((number, crop))
        if not held:
            return
        touched = any(veil.mask.any() for _, crop in held for veil in self._covers(crop))
        made = self._run() if touched else []
        for number, crop in held:
            yield self._pasted(crop, made[number]) if made else crop

    def _covers(self, crop: Crop) -> tuple[Veil, ...]:
        shown = self._region.shown(crop.index)
        if shown not in self._veils:
            self._veils[shown] = veils(self._region, shown, self._shape)
        return self._veils[shown]

    def _write(self, number: int, crop: Crop) -> None:
        """Picture and mask of ``crop``, as PNG."""
        for name in _NEEDED:
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        rgb = self._frame(crop.components).reformat(
            format="rgb24", src_colorspace=self._matrix, src_color_range=self._range, dst_color_range="JPEG", threads=1
        )
        mask = self._pixels(tuple(veil.mask for veil in self._covers(crop)))
        _save(self._folder / "input" / (PICTURE_NAMES % number), rgb.to_ndarray()[..., ::-1])
        _save(self._folder / "masks" / (PICTURE_NAMES % number), mask.astype(np.uint8) * 255)

    def _run(self) -> list[Path]:
        """Run the program; the pictures that it made, one for each that was given."""
        box, template = self._region.box, _template(self._inpainter.text)
        values = {name: str(self._folder / name) for name in _NEEDED}
        values |= {"width": str(box.width), "height": str(box.height), "fps": f"{float(self._inpainter.rate):.6g}"}
        values["device"] = str(self._inpainter.device)
        run_program(template.filled(values), {"TMPDIR": str(self._folder)}, self._folder / "program.log")
        return made_pictures(self._folder / "input", self._folder / "output", template.program)

    def _pasted(self, crop: Crop, made: Path) -> Crop:
        """``crop`` with what the program made under the mask."""
        masks = [veil.mask for veil in self._covers(crop)]
        if not any(mask.any() for mask in masks):
            return crop
        theirs = self._components(made)
        self._shares += Shares(spatial=sum(int(mask.sum()) for mask in masks))
        parts = zip(masks, theirs, crop.components, strict=True)
        return Crop(crop.index, tuple(np.where(mask, new, old) for mask, new, old in parts))

    def _components(self, file: Path) -> tuple[Plane, ...]:
        picture = read_picture(file, "the program")
        height, width = self._region.box.height, self._region.box.width
        if (picture.width, picture.height) != (width, height):
            size = f"{picture.width}x{picture.height}"
            raise SegmentError(f"{file.name} that the program made is {size} pixels; {width}x{height} pixels are due")
        frame = picture.reformat(format=rgb_format(picture), threads=1).reformat(
            format=self._shape.pixel_format,
            dst_colorspace=self._matrix,
            src_color_range="JPEG",
            dst_color_range=self._range,
            threads=1,
        )
        return planes(frame)

    def _frame(self, components: tuple[Plane, ...]) -> VideoFrame:
        box = self._region.box
        frame = VideoFrame(box.width, box.height, self._shape.pixel_format)
        for own, given in zip(planes(frame), components, strict=True):
            own[...] = given
        return frame

    def _pixels(self, masks: tuple[Mask, ...]) -> Mask:
        """The pixels whose samples any of ``masks`` has: bool, height x width of the region."""
        box = self._region.box
        whole = np.zeros((box.height, box.width), np.bool_)
        for mask, (across, down) in zip(masks, self._shape.divisors, strict=True):
            whole |= mask.repeat(down, 0).repeat(across, 1)[: box.height, : box.width]
        return whole

    @property
    def _matrix(self) -> int:
        """The colour matrix, by its number in H.273; BT.601 where the video does not say."""
        said = self._inpainter.picture.matrix
        return _BT601 if said in {UNSPECIFIED, 0} else said

    @property
    def _range(self) -> int:
        """1 limited, which it is where the video does not say, or 2 full, as RGB always is."""
        return 2 if self._shape.is_rgb else self._inpainter.picture.color_range or 1


def _save(file: Path, picture: Any) -> None:
    if not cv2.imwrite(str(file), np.ascontiguousarray(picture)):
        raise OSError(f"cannot write {file.name}")


def _template(text: str) -> Template:
    return Template(text, PLACEHOLDERS, _NEEDED)
