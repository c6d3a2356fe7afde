"""Removal by a program of the user's, as ProPainter is: it is given pictures and masks, and makes pictures.

Pictures are RGB with 8 bits, which is what inpainters take. What comes back is pasted under the mask alone, so that
every other sample stays as it was.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from string import Formatter
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame

from tasks.engine.errors import Problem
from tasks.media.programs.running import run_program
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
    "output": "the folder to write one PNG for each picture into, in their order; it is there and empty",
    "width": "of the pictures, in pixels",
    "height": "of the pictures, in pixels",
    "fps": "frames a second, as a decimal number",
}
_NEEDED = ("input", "masks", "output")
_BT601 = 6


def command_problems(text: str, where: str = "command") -> list[Problem]:
    """All that is wrong with a command; ``where`` says which option it comes from."""
    try:
        words = shlex.split(text)
        used = {name for word in words for _, name, _, _ in Formatter().parse(word) if name is not None}
    except ValueError as error:
        allowed = "a program and its arguments, every quote and brace closed"
        return [
            Problem(where, f"{text!r} ({str(error).lower()})", allowed, "write {{ and }} for braces that are meant")
        ]
    allowed = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    found = [Problem(where, f"the placeholder {{{name}}}", allowed) for name in sorted(used - PLACEHOLDERS.keys())]
    missing = [name for name in _NEEDED if name not in used]
    found += [Problem(where, f"no {{{name}}}", f"a command with {{{name}}}: {PLACEHOLDERS[name]}") for name in missing]
    if words and "{" not in words[0] and shutil.which(words[0]) is None:
        advice = "install it, or give its whole path"
        found.append(Problem(where, f"{words[0]!r}, which is no program here", "a program that can be run", advice))
    return found


@dataclass(frozen=True)
class Inpainter:
    """The program, and what it has to know of the video.

    text     the command with PLACEHOLDERS; no shell sees it
    picture  of the video: its matrix and range say how its samples become RGB
    rate     frames a second
    """

    text: str
    picture: PictureFormat
    rate: Fraction


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
            count = number + 1
        if not held:
            return
        touched = any(veil.mask.any() for _, crop in held for veil in self._covers(crop))
        made = self._run(count) if touched else []
        for number, crop in held:
            yield self._pasted(crop, made[number]) if made else crop

    def _covers(self, crop: Crop) -> tuple[Veil, ...]:
        shown = self._region.shown(crop.index)
        if shown not in self._veils:
            self._veils[shown] = veils(self._region, shown, self._shape)
        return self._veils[shown]

    def _write(self, number: int, crop: Crop) -> None:
        """Picture and mask of ``crop``, as PNG."""
        for name in ("input", "masks", "output"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        rgb = self._frame(crop.components).reformat(
            format="rgb24", src_colorspace=self._matrix, src_color_range=self._range, dst_color_range="JPEG", threads=1
        )
        mask = self._pixels(tuple(veil.mask for veil in self._covers(crop)))
        _save(self._folder / "input" / f"{number:08}.png", rgb.to_ndarray()[..., ::-1])
        _save(self._folder / "masks" / f"{number:08}.png", mask.astype(np.uint8) * 255)

    def _run(self, count: int) -> list[Path]:
        """Run the program; the pictures that it made."""
        box = self._region.box
        values = {name: str(self._folder / name) for name in ("input", "masks", "output")}
        values |= {"width": str(box.width), "height": str(box.height), "fps": f"{float(self._inpainter.rate):.6g}"}
        words = [word.format_map(values) for word in shlex.split(self._inpainter.text)]
        run_program(words, self._folder / "program.log")
        made = sorted((self._folder / "output").rglob("*.png"))
        if len(made) != count:
            raise SegmentError(f"{Path(words[0]).name} was given {count} pictures and made {len(made)} (.png)")
        return made

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
        picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
        height, width = self._region.box.height, self._region.box.width
        if picture is None or picture.shape[:2] != (height, width):
            what = "no picture" if picture is None else f"{picture.shape[1]}x{picture.shape[0]} pixels"
            raise SegmentError(f"{file.name} that the program made is {what}; {width}x{height} pixels are due")
        rgb = VideoFrame.from_ndarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8), format="rgb24")
        frame = rgb.reformat(
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
