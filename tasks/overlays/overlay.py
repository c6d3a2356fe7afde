"""What lies over a picture: the words that finding it, removing it and the report share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tasks.overlays.boxes import Box

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Source = Literal["static", "yolo", "mask"]
_ARRAYS = ("mask", "alpha", "color", "doubt")


@dataclass(frozen=True)
class FrameRange:
    """The frames ``start_frame`` up to and without ``end_frame``, counted as they are shown, from 0."""

    start_frame: int
    end_frame: int

    def __contains__(self, frame: int) -> bool:
        return self.start_frame <= frame < self.end_frame


@dataclass(frozen=True)
class Layer:
    """The overlay in one component of the picture (Y, U, V or R, G, B), over its box at that component's resolution.

    A sample J of the video is (1 - alpha) I + alpha color, where I is what lies beneath.

    mask   bool, height x width: samples that the overlay touches; nothing else may be changed
    alpha  float32, height x width, 0 to 1: opacity; NaN where it is not known; 0 outside the mask
    color  float32, height x width: the overlay's own value in codes of the source; NaN where it is not known
    doubt  float32, height x width: variance of alpha (color - I) by errors of both, as a multiple of that of the noise
           of samples beside the overlay; None where both are exact
    """

    mask: Mask
    alpha: Floats
    color: Floats
    doubt: Floats | None = None


@dataclass(frozen=True)
class Overlay:
    """One overlay of a video: a logo, a line of subtitles, a date stamp.

    box         in pixels of the picture as it is stored; its edges lie between whole samples of all components
    layers      one a component, in the order of the pixel format
    ranges      the frames in which it shows, in order, not touching
    source      what found it
    confidence  that it is one, 0 to 1; 1 where the user says so
    label       what a model calls it; empty otherwise
    """

    box: Box
    layers: tuple[Layer, ...]
    ranges: tuple[FrameRange, ...]
    source: Source
    confidence: float
    label: str = ""

    def shows(self, frame: int) -> bool:
        """Whether it lies over frame ``frame``."""
        return any(frame in one for one in self.ranges)

    @property
    def is_known(self) -> bool:
        """Whether the opacity of any of its samples is known, so that what lies beneath can be computed."""
        return any(bool(np.isfinite(layer.alpha[layer.mask]).any()) for layer in self.layers)


def save_overlays(overlays: Sequence[Overlay], path: Path) -> None:
    """Write ``overlays`` to ``path``, an .npz file that :func:`load_overlays` reads."""
    about = [
        {
            "box": asdict(one.box),
            "ranges": [[part.start_frame, part.end_frame] for part in one.ranges],
            "source": one.source,
            "confidence": one.confidence,
            "label": one.label,
            "layers": len(one.layers),
        }
        for one in overlays
    ]
    arrays: dict[str, Any] = {
        f"{number}.{component}.{name}": getattr(layer, name)
        for number, one in enumerate(overlays)
        for component, layer in enumerate(one.layers)
        for name in _ARRAYS
        if getattr(layer, name) is not None
    }
    with path.open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)


def load_overlays(path: Path) -> tuple[Overlay, ...]:
    """The overlays at ``path``. Raises OSError, ValueError or KeyError where it holds none."""
    with np.load(path, allow_pickle=False) as arrays:
        about = json.loads(str(arrays["about"]))
        return tuple(_overlay(one, number, arrays) for number, one in enumerate(about))


def _overlay(about: dict[str, Any], number: int, arrays: Any) -> Overlay:
    layers = tuple(
        Layer(**{name: arrays[key] for name in _ARRAYS if (key := f"{number}.{component}.{name}") in arrays})
        for component in range(about["layers"])
    )
    return Overlay(
        box=Box(**about["box"]),
        layers=layers,
        ranges=tuple(FrameRange(*bounds) for bounds in about["ranges"]),
        source=about["source"],
        confidence=about["confidence"],
        label=about["label"],
    )
