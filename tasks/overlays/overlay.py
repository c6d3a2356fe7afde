"""An overlay of a video, its layers, and the frames in which it shows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tasks.engine.contract.bounded import parse_json
from tasks.engine.contract.errors import BadInput
from tasks.media.arrays import read_arrays
from tasks.overlays.boxes import Box
from tasks.overlays.options import Detector

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Source: TypeAlias = Detector
_ARRAYS = ("mask", "alpha", "color", "doubt")


@dataclass(frozen=True)
class FrameRange:
    """The frames from ``start_frame`` to before ``end_frame``, in display order, counted from 0."""

    start_frame: int
    end_frame: int

    def __contains__(self, frame: int) -> bool:
        return self.start_frame <= frame < self.end_frame


@dataclass(frozen=True)
class Layer:
    """An overlay in one component of the frame (Y, U, V or R, G, B), within its box at that component's resolution.

    A sample J of the video is (1 - alpha) I + alpha color, where I is the background.

    mask   bool, height x width: samples that the overlay touches; no others may be changed
    alpha  float32, height x width, 0 to 1: opacity; NaN if unknown; 0 outside the mask
    color  float32, height x width: the overlay's own value in codes of the source; NaN if unknown
    doubt  float32, height x width: error variance of alpha (color - I), divided by the noise variance outside the
           overlay; None if both are exact
    """

    mask: Mask
    alpha: Floats
    color: Floats
    doubt: Floats | None = None


@dataclass(frozen=True)
class Overlay:
    """One overlay of a video: a logo, a line of subtitles, a date stamp.

    box         in pixels of the stored frame; its edges lie between whole samples of all components
    layers      one per component, in the order of the pixel format
    ranges      the frames in which it shows, in order, with gaps between them
    source      the detector that found it
    confidence  that it is an overlay, 0 to 1; 1 if the user says so
    label       the model's name for it; empty for other detectors
    """

    box: Box
    layers: tuple[Layer, ...]
    ranges: tuple[FrameRange, ...]
    source: Source
    confidence: float
    label: str = ""

    def is_shown(self, frame: int) -> bool:
        """Return True if it shows in frame ``frame``."""
        return any(frame in part for part in self.ranges)

    @property
    def is_known(self) -> bool:
        """True if the opacity of any sample is finite, so that its background can be computed."""
        return any(bool(np.isfinite(layer.alpha[layer.mask]).any()) for layer in self.layers)


def save_overlays(overlays: Sequence[Overlay], path: Path) -> None:
    """Write ``overlays`` to ``path``, an .npz file for :func:`load_overlays`."""
    entries = [
        {
            "box": asdict(overlay.box),
            "ranges": [[part.start_frame, part.end_frame] for part in overlay.ranges],
            "source": overlay.source,
            "confidence": overlay.confidence,
            "label": overlay.label,
            "layers": len(overlay.layers),
        }
        for overlay in overlays
    ]
    arrays: dict[str, Any] = {
        f"{number}.{component}.{name}": getattr(layer, name)
        for number, overlay in enumerate(overlays)
        for component, layer in enumerate(overlay.layers)
        for name in _ARRAYS
        if getattr(layer, name) is not None
    }
    with path.open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(entries)), **arrays)


def load_overlays(path: Path) -> tuple[Overlay, ...]:
    """Read the overlays at ``path``. Raises OSError if it cannot be read, BadInput if it is damaged."""
    try:
        arrays = read_arrays(path)
        entries = parse_json(str(arrays["about"]))
        return tuple(_read_overlay(entry, number, arrays) for number, entry in enumerate(entries))
    except (KeyError, TypeError, ValueError) as error:
        advice = "forget the video with headrace items forget, and run again"
        raise BadInput(f"the overlays in {path.name} cannot be read: {error}; {advice}") from error


def _read_overlay(entry: dict[str, Any], number: int, arrays: Any) -> Overlay:
    layers = tuple(
        Layer(**{name: arrays[key] for name in _ARRAYS if (key := f"{number}.{component}.{name}") in arrays})
        for component in range(entry["layers"])
    )
    return Overlay(
        box=Box(**entry["box"]),
        layers=layers,
        ranges=tuple(FrameRange(*bounds) for bounds in entry["ranges"]),
        source=entry["source"],
        confidence=entry["confidence"],
        label=entry["label"],
    )


def merge_ranges(ranges: Iterable[FrameRange]) -> tuple[FrameRange, ...]:
    """Return ``ranges`` in order; those that overlap or touch are merged."""
    merged: list[FrameRange] = []
    for part in sorted(ranges, key=lambda part: part.start_frame):
        if merged and part.start_frame <= merged[-1].end_frame:
            merged[-1] = FrameRange(merged[-1].start_frame, max(merged[-1].end_frame, part.end_frame))
        else:
            merged.append(part)
    return tuple(merged)
