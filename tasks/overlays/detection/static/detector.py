"""Detection without training: edges that stay while their background changes.

It abstains if an overlay cannot be distinguished from a still scene: if much of the frame stays, if the surroundings
of the edges do not change, or if lasting edges continue outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box, intersect, measure_overlap
from tasks.overlays.detection.date_stamps.stamps import add_date_stamps
from tasks.overlays.detection.findings import Findings
from tasks.overlays.detection.fitting.layers import make_overlays, make_steady_overlay
from tasks.overlays.detection.fitting.overlay_fit import Fit, fit_edges
from tasks.overlays.detection.sampling import Samples, sample_frames
from tasks.overlays.detection.static.edges import Evidence, gather_evidence, group_edges, measure_lasting_share
from tasks.overlays.detection.text_lines.onset import fit_line
from tasks.overlays.detection.text_lines.search import find_lines
from tasks.overlays.overlay import FrameRange, Mask, Overlay

# Edges that reach the border of the frame belong to the scene or to a black border.
_MARGIN_PX = 1
_REACH_SHARE, _MIN_REACH_PX = 1 / 30, 8
_MIN_FRAMES = 6
# A line shows over one scene, which is less informative about its opacity.
_MIN_EXPLAINED_LINE = 0.8
# Confidence that a sudden group of letter-like edges is a text line.
_LINE_CONFIDENCE = 0.8


@dataclass(frozen=True)
class StaticSettings:
    """Criteria for overlays.

    max_frames             sampled frames, spread through the video
    max_scenes             groups of similar frames, which have equal weights
    min_edge_px            pixels on the edges of an overlay
    min_contrast           mean strength of its edges, in 8-bit codes per pixel
    min_variety            mean standard deviation between scenes of its surroundings, in 8-bit codes
    max_surrounding_share  share of surrounding pixels that have lasting edges, too
    max_lasting_share      share of the frame with lasting edges outside overlays
    max_area_share         share of the frame that an overlay's box takes
    min_confidence         candidates below are rejected
    """

    max_frames: int = 64
    max_scenes: int = 12
    min_edge_px: int = 60
    min_contrast: float = 3.2
    min_variety: float = 4.5
    max_surrounding_share: float = 0.02
    max_lasting_share: float = 0.1
    max_area_share: float = 0.35
    min_confidence: float = 0.5


@dataclass(frozen=True)
class _Candidate:
    box: Box
    edges: Mask
    contrast: float
    variety: float
    surrounding_share: float


def find_static(path: Path, survey: Survey, settings: StaticSettings | None = None) -> Findings:
    """Return the overlays that show in most of the surveyed video at ``path``, and its text lines.

    Only sampled frames are decoded. Raises BadInput if none can be decoded or the file has changed.
    """
    lasting = _find_lasting(path, survey, settings or StaticSettings())
    lines = _find_lines(path, survey, lasting.overlays)
    if not lines:
        return lasting
    others = [
        overlay for overlay in lasting.overlays if not any(_is_mostly_within(overlay.box, line.box) for line in lines)
    ]
    overlays = sorted((*others, *lines), key=lambda overlay: overlay.ranges[0].start_frame)
    reason = "1 text line that comes and goes" if len(lines) == 1 else f"{len(lines)} text lines that come and go"
    if others:
        reason = f"{lasting.reason}; {reason}"
    return Findings(tuple(overlays), min(overlay.confidence for overlay in overlays), reason)


def _find_lasting(path: Path, survey: Survey, settings: StaticSettings) -> Findings:
    """Return the overlays that show in most of the video."""
    samples = sample_frames(path, survey, settings.max_frames, settings.max_scenes)
    if len(samples.indices) < _MIN_FRAMES:
        return Findings((), 0.0, f"{len(samples.indices)} frames are too few to detect an overlay")
    evidence = gather_evidence(samples)
    height, width = evidence.lasting.shape
    reach = max(_MIN_REACH_PX, round(height * _REACH_SHARE))
    candidates = [_measure_candidate(evidence, *part) for part in group_edges(evidence, reach)]
    likely = [candidate for candidate in candidates if _is_overlay(candidate, (height, width), settings)]
    rest = measure_lasting_share(evidence, [candidate.box for candidate in likely])
    if rest > settings.max_lasting_share:
        return Findings((), 0.0, f"the scene is still: {rest:.0%} of the frame has edges that stay")
    if not likely:
        return _explain_absence(candidates, settings)
    return _fit_overlays(path, survey, samples, likely)


def _measure_candidate(evidence: Evidence, box: Box, edges: Mask) -> _Candidate:
    part = box.part
    around = cv2.dilate(edges.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    lasting, variety = evidence.lasting[part], evidence.variety[part]
    if not around.any():
        return _Candidate(box, edges, 0.0, 0.0, 1.0)
    surrounding_share = float((lasting[around] > evidence.likely).mean())
    return _Candidate(box, edges, float(lasting[edges].mean()), float(variety[around].mean()), surrounding_share)


def _is_overlay(candidate: _Candidate, size: tuple[int, int], settings: StaticSettings) -> bool:
    return bool(
        np.count_nonzero(candidate.edges) >= settings.min_edge_px
        and candidate.contrast >= settings.min_contrast
        and candidate.variety >= settings.min_variety
        and candidate.surrounding_share <= settings.max_surrounding_share
        and candidate.box.width * candidate.box.height <= settings.max_area_share * size[0] * size[1]
        and _estimate_confidence(candidate) >= settings.min_confidence
        and not _is_at_border(candidate, size)
    )


def _estimate_confidence(candidate: _Candidate) -> float:
    """Return the confidence: it grows with strong edges, changing surroundings and few edges outside."""
    value = (
        min(1.0, candidate.contrast / 6)
        * min(1.0, candidate.variety / 12) ** 0.5
        * (1 - 10 * candidate.surrounding_share)
    )
    return float(np.clip(value, 0, 1))


def _is_at_border(candidate: _Candidate, size: tuple[int, int]) -> bool:
    """Return True if its edges reach the border of the frame."""
    rows, columns = (
        np.flatnonzero(candidate.edges.any(axis=1)) + candidate.box.y,
        np.flatnonzero(candidate.edges.any(axis=0)) + candidate.box.x,
    )
    first, last = min(rows[0], columns[0]), min(size[0] - rows[-1], size[1] - columns[-1])
    return bool(first < 1 + _MARGIN_PX or last <= 1 + _MARGIN_PX)


def _explain_absence(candidates: list[_Candidate], settings: StaticSettings) -> Findings:
    """Return why there is no overlay: no edges stay, or they may belong to the scene."""
    strong = [
        candidate
        for candidate in candidates
        if candidate.contrast >= settings.min_contrast and np.count_nonzero(candidate.edges) >= settings.min_edge_px
    ]
    if not strong:
        return Findings((), 0.9, "no edges stay while the frame changes")
    if all(candidate.variety < settings.min_variety for candidate in strong):
        return Findings((), 0.3, "edges stay, but their surroundings do not change: they may belong to the scene")
    return Findings((), 0.6, "edges stay, but continue outside: they belong to the scene")


def _fit_overlays(path: Path, survey: Survey, samples: Samples, likely: list[_Candidate]) -> Findings:
    size = samples.components[0].shape[1:]
    others = np.zeros(size, bool)
    for candidate in likely:
        others[candidate.box.part] |= candidate.edges
    overlays: list[Overlay] = []
    fits: list[Fit] = []
    for candidate in likely:
        fitted = fit_edges(samples, candidate.box, candidate.edges, others)
        if fitted is not None:
            overlays += make_overlays(path, survey, samples, fitted, "static", _estimate_confidence(candidate))
            fits.append(fitted)
    overlays = add_date_stamps(path, survey, samples, fits, overlays)
    if not overlays:
        return Findings((), 0.3, "edges stay, but enclose no area that differs from its surroundings")
    confidence = min(overlay.confidence for overlay in overlays)
    complete = all(overlay.is_known for overlay in overlays)
    opacity = "" if complete else "; the opacity is partly unknown"
    overlays.sort(key=lambda overlay: overlay.ranges[0].start_frame)
    words = "1 overlay" if len(fits) == 1 else f"{len(fits)} overlays"
    return Findings(tuple(overlays), confidence, f"{words} with edges that stay while the frame changes{opacity}")


def _find_lines(path: Path, survey: Survey, others: tuple[Overlay, ...]) -> list[Overlay]:
    """Return text lines that come and go, except over lasting overlays that are not made of such lines."""
    overlays = []
    for line in find_lines(path, survey):
        overlapping = [overlay.box for overlay in others if intersect(line.box, overlay.box)]
        fitted = fit_line(path, survey, line) if all(_is_mostly_within(box, line.box) for box in overlapping) else None
        if fitted is not None:
            shown = FrameRange(line.start, line.end)
            overlays.append(make_steady_overlay(*fitted, shown, _MIN_EXPLAINED_LINE, _LINE_CONFIDENCE))
    return overlays


def _is_mostly_within(box: Box, other: Box) -> bool:
    """Return True if at least half of ``box`` is in ``other``: a lasting overlay cannot come and go with a line."""
    return 0 < box.area <= 2 * measure_overlap(box, other)
