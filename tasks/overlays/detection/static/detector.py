"""Finding overlays without training: edges that stay while what lies beneath them changes.

It abstains where that cannot be told from a picture that stands still: where much of the picture lasts, where nothing
changes around the edges, and where lasting edges go on beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box, intersect, measure_overlap
from tasks.overlays.detection.date_stamps.stamps import with_digits
from tasks.overlays.detection.findings import Found
from tasks.overlays.detection.fitting.layers import overlays_of, steady_overlay
from tasks.overlays.detection.fitting.overlay_fit import Fit, fit
from tasks.overlays.detection.sampling import Samples, sample_frames
from tasks.overlays.detection.static.edges import Evidence, gather, lasting_share, regions
from tasks.overlays.detection.text_lines.onset import fit_line
from tasks.overlays.detection.text_lines.search import find_lines
from tasks.overlays.overlay import FrameRange, Mask, Overlay

# Edges that reach the picture's own are the scene's, or a border's.
_MARGIN_PX = 1
_REACH_SHARE, _LEAST_REACH_PX = 1 / 30, 8
_FEWEST_FRAMES = 6
# A line is seen over one scene, which tells less of its opacity.
_LEAST_EXPLAINED_LINE = 0.8
# That what begins and ends at once and looks like strokes is a line of text.
_LINE_CONFIDENCE = 0.8


@dataclass(frozen=True)
class StaticSettings:
    """What counts as an overlay.

    most_frames        sampled, spread through the video
    most_scenes        groups of frames that look alike, which count alike
    least_edge_px      pixels on an overlay's edges
    least_contrast     mean strength of its edges, in 8-bit codes a pixel
    least_variety      mean standard deviation over scenes of what surrounds it, in 8-bit codes
    most_beside        the share of pixels around it that have lasting edges as well
    most_lasting       the share of the picture with lasting edges that are no overlay's
    largest_share      of the picture that an overlay's box takes
    least_confidence   with less, it is none
    """

    most_frames: int = 64
    most_scenes: int = 12
    least_edge_px: int = 60
    least_contrast: float = 3.2
    least_variety: float = 4.5
    most_beside: float = 0.02
    most_lasting: float = 0.1
    largest_share: float = 0.35
    least_confidence: float = 0.5


@dataclass(frozen=True)
class _Candidate:
    box: Box
    edges: Mask
    contrast: float
    variety: float
    beside: float


def find_static(path: Path, found: Survey, settings: StaticSettings | None = None) -> Found:
    """What lies over the video at ``path`` all the time, or most of it; ``found`` is its survey.

    Only sampled frames are decoded. Raises BadInput where none can be, or the file is not the one surveyed.
    """
    lasting = _find_lasting(path, found, settings or StaticSettings())
    lines = _lines(path, found, lasting.overlays)
    if not lines:
        return lasting
    others = [one for one in lasting.overlays if not any(_is_mostly_within(one.box, line.box) for line in lines)]
    overlays = sorted((*others, *lines), key=lambda one: one.ranges[0].start_frame)
    said = f"{len(lines)} lines of text that come and go"
    both = f"{lasting.reason}; {said}" if others else said
    return Found(tuple(overlays), min(one.confidence for one in overlays), both)


def _find_lasting(path: Path, found: Survey, settings: StaticSettings) -> Found:
    """What is there all the time, or most of it."""
    samples = sample_frames(path, found, settings.most_frames, settings.most_scenes)
    if len(samples.indices) < _FEWEST_FRAMES:
        return Found((), 0.0, f"{len(samples.indices)} frames are too few to tell an overlay from the picture")
    evidence = gather(samples)
    height, width = evidence.lasting.shape
    reach = max(_LEAST_REACH_PX, round(height * _REACH_SHARE))
    candidates = [_candidate(evidence, *part) for part in regions(evidence, reach)]
    likely = [one for one in candidates if _is_overlay(one, (height, width), settings)]
    rest = lasting_share(evidence, [one.box for one in likely])
    if rest > settings.most_lasting:
        return Found((), 0.0, f"the picture stands still: {rest:.0%} of it has edges that last, overlay or not")
    if not likely:
        return _nothing(candidates, settings)
    return _overlays(path, found, samples, likely)


def _candidate(evidence: Evidence, box: Box, edges: Mask) -> _Candidate:
    part = box.part
    around = cv2.dilate(edges.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    lasting, variety = evidence.lasting[part], evidence.variety[part]
    if not around.any():
        return _Candidate(box, edges, 0.0, 0.0, 1.0)
    beside = float((lasting[around] > evidence.likely).mean())
    return _Candidate(box, edges, float(lasting[edges].mean()), float(variety[around].mean()), beside)


def _is_overlay(one: _Candidate, size: tuple[int, int], settings: StaticSettings) -> bool:
    return bool(
        np.count_nonzero(one.edges) >= settings.least_edge_px
        and one.contrast >= settings.least_contrast
        and one.variety >= settings.least_variety
        and one.beside <= settings.most_beside
        and one.box.width * one.box.height <= settings.largest_share * size[0] * size[1]
        and _confidence(one) >= settings.least_confidence
        and not _at_border(one, size)
    )


def _confidence(one: _Candidate) -> float:
    """Strong edges, much change around them, and no others beside them speak for an overlay."""
    value = min(1.0, one.contrast / 6) * min(1.0, one.variety / 12) ** 0.5 * (1 - 10 * one.beside)
    return float(np.clip(value, 0, 1))


def _at_border(one: _Candidate, size: tuple[int, int]) -> bool:
    """Whether its edges reach the picture's edges."""
    rows, columns = np.flatnonzero(one.edges.any(axis=1)) + one.box.y, np.flatnonzero(one.edges.any(axis=0)) + one.box.x
    first, last = min(rows[0], columns[0]), min(size[0] - rows[-1], size[1] - columns[-1])
    return bool(first < 1 + _MARGIN_PX or last <= 1 + _MARGIN_PX)


def _nothing(candidates: list[_Candidate], settings: StaticSettings) -> Found:
    """Why there is no overlay: nothing lasts, or what lasts may be the scene's own."""
    strong = [
        one
        for one in candidates
        if one.contrast >= settings.least_contrast and np.count_nonzero(one.edges) >= settings.least_edge_px
    ]
    if not strong:
        return Found((), 0.9, "no edges last while the picture changes")
    if all(one.variety < settings.least_variety for one in strong):
        return Found((), 0.3, "edges last, but nothing changes around them: they may belong to the scene")
    return Found((), 0.6, "edges last, but others go on beside them: they belong to the scene")


def _overlays(path: Path, found: Survey, samples: Samples, likely: list[_Candidate]) -> Found:
    size = samples.components[0].shape[1:]
    others = np.zeros(size, bool)
    for one in likely:
        others[one.box.part] |= one.edges
    overlays: list[Overlay] = []
    fits: list[Fit] = []
    for one in likely:
        fitted = fit(samples, one.box, one.edges, others)
        if fitted is not None:
            overlays += overlays_of(path, found, samples, fitted, "static", _confidence(one))
            fits.append(fitted)
    overlays = with_digits(path, found, samples, fits, overlays)
    if not overlays:
        return Found((), 0.3, "edges last, but enclose nothing that differs from its surroundings")
    confidence = min(one.confidence for one in overlays)
    known = all(one.is_known for one in overlays)
    opacity = "" if known else "; the opacity is not known everywhere"
    overlays.sort(key=lambda one: one.ranges[0].start_frame)
    return Found(tuple(overlays), confidence, f"{len(fits)} whose edges last while the picture changes{opacity}")


def _lines(path: Path, found: Survey, others: tuple[Overlay, ...]) -> list[Overlay]:
    """Lines of text that come and go; none where what lasts lies, unless that is made of such lines."""
    overlays = []
    for line in find_lines(path, found):
        met = [one.box for one in others if intersect(line.box, one.box)]
        fitted = fit_line(path, found, line) if all(_is_mostly_within(box, line.box) for box in met) else None
        if fitted is not None:
            shown = FrameRange(line.start, line.end)
            overlays.append(steady_overlay(*fitted, shown, _LEAST_EXPLAINED_LINE, _LINE_CONFIDENCE))
    return overlays


def _is_mostly_within(one: Box, other: Box) -> bool:
    """Whether at least half of ``one`` is in ``other``: what is there all the time cannot come and go with a line."""
    return 0 < one.area <= 2 * measure_overlap(one, other)
