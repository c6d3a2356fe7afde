"""Baselines with the true masks: ffmpeg's delogo and removelogo, and frame-by-frame Telea.

delogo supports 8 bits and removelogo yuv420p only; ffmpeg converts clips of other formats there and back.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np

from benchmarks.overlay_truth.crops import Crops, View, draw_masks
from benchmarks.overlay_truth.marks import Marked
from tasks.media.segments.planes import Plane
from tasks.overlays.boxes import Box
from tasks.overlays.overlay import FrameRange, Mask

BASELINES = ("delogo", "removelogo", "Telea")
_TELEA_RADIUS_PX = 3


@dataclass(frozen=True)
class _Span:
    """Frames with the same mask: bool, height x width of the whole frame."""

    shown: FrameRange
    mask: Mask


def run_baseline(name: str, path: Path, source: Crops, view: View, folder: Path) -> Crops:
    """Return the view ``source`` of the clip at ``path``, cleaned by the baseline ``name``.

    Raises RuntimeError with ffmpeg's last output if it fails, and KeyError for unknown names.
    """
    if name == "Telea":
        return _inpaint_telea(source, view)
    filters = {"delogo": _make_delogo_filters, "removelogo": _make_removelogo_filters}[name](view.marked, folder)
    return _run(filters, path, view)


def _inpaint_telea(source: Crops, view: View) -> Crops:
    """Inpaint each component of each frame (Telea 2004)."""
    cv2.setNumThreads(1)
    filled = tuple(component.copy() for component in source)
    for component, masks in zip(filled, view.masks, strict=True):
        for plane, mask in zip(component, masks, strict=True):
            if mask.any():
                plane[...] = cv2.inpaint(plane, mask.astype(np.uint8), _TELEA_RADIUS_PX, cv2.INPAINT_TELEA)
    return filled


def _list_spans(marked: Marked) -> Iterator[_Span]:
    """Yield the clip's frames under overlays, cut where one appears or disappears."""
    ranges = [part for overlay in marked.overlays for part in overlay.ranges]
    bounds = sorted({bound for part in ranges for bound in (part.start_frame, part.end_frame)})
    whole = Box(0, 0, marked.picture.width_px, marked.picture.height_px)
    for start, end in itertools.pairwise(bounds):
        shown = [overlay for overlay in marked.overlays if overlay.is_shown(start)]
        if shown:
            mask = draw_masks(shown, marked.shape, whole, start + 1)[0][start]
            yield _Span(FrameRange(start, end), mask)


def _make_delogo_filters(marked: Marked, folder: Path) -> list[str]:
    """Return filters with boxes as tight as possible; they may not touch the frame's edge."""
    return [f"delogo={_format_box(span.mask)}:{_format_span(span)}" for span in _list_spans(marked)]


def _format_box(mask: Mask) -> str:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = max(1, int(columns[0])), max(1, int(rows[0]))
    right, bottom = min(mask.shape[1] - 1, int(columns[-1]) + 1), min(mask.shape[0] - 1, int(rows[-1]) + 1)
    return f"x={left}:y={top}:w={right - left}:h={bottom - top}"


def _make_removelogo_filters(marked: Marked, folder: Path) -> list[str]:
    """Write mask images, white under overlays, and return the filters."""
    filters = []
    for number, span in enumerate(_list_spans(marked)):
        image = folder / f"mask{number}.png"
        cv2.imwrite(str(image), span.mask.astype(np.uint8) * 255)
        filters.append(f"removelogo=f={image}:{_format_span(span)}")
    return filters


def _format_span(span: _Span) -> str:
    return f"enable='between(n,{span.shown.start_frame},{span.shown.end_frame - 1})'"


def _run(filters: list[str], path: Path, view: View) -> Crops:
    """Return ffmpeg's output for ``path``, cropped to the view."""
    box, name = view.box, view.marked.shape.pixel_format
    shown = f"trim=start_frame={view.shown.start_frame}:end_frame={view.shown.end_frame}"
    chain = ",".join([*filters, shown, f"format={name}", f"crop={box.width}:{box.height}:{box.x}:{box.y}:exact=1"])
    before = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostats", "-threads", "1", "-filter_threads", "1"]
    after = ["-vf", chain, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", name, "-"]
    done = subprocess.run([*before, "-i", str(path), *after], capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ffmpeg failed: {done.stderr.decode('utf-8', errors='replace')[-2000:]}")
    return _split_components(done.stdout, view)


def _split_components(data: bytes, view: View) -> Crops:
    """Return raw frames, component by component."""
    shape, frames = view.marked.shape, view.shown.end_frame - view.shown.start_frame
    sizes = [(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in view.get_parts()]
    samples: Plane = np.frombuffer(data, np.uint8) if shape.bits == 8 else np.frombuffer(data, np.uint16)
    samples = samples.reshape(frames, -1)
    bounds = np.cumsum([0, *(height * width for height, width in sizes)])
    return tuple(
        samples[:, start:end].reshape(frames, *size)
        for (start, end), size in zip(itertools.pairwise(bounds), sizes, strict=True)
    )
