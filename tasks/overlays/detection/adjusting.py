"""Adjust what a detector found: keep some of it in the video, add overlays, limit all to parts of the video."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tasks.engine.contract.errors import BadInput, Problem
from tasks.media.orientation import parse_display_matrix
from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box, measure_overlap
from tasks.overlays.detection.findings import Findings
from tasks.overlays.detection.mask.opacity import fit_opacity
from tasks.overlays.detection.mask.parsing import parse_mask, place_mask
from tasks.overlays.detection.placing import turn_upright
from tasks.overlays.overlay import FrameRange, Overlay, merge_ranges

_TIMES = re.compile(r"\s*(\d{1,7}(?:\.\d{1,6})?)\s*-\s*(\d{1,7}(?:\.\d{1,6})?)\s*")
_MIN_IOU = 0.5


@dataclass(frozen=True)
class Adjustments:
    """What the user changes about the detected overlays.

    skip   boxes of detected overlays that stay in the video, in the frame as shown
    add    further overlays: boxes or paths of images
    times  start and end in seconds; empty for the whole video
    """

    skip: tuple[Box, ...] = ()
    add: tuple[str, ...] = ()
    times: tuple[tuple[float, float], ...] = ()


def adjust_findings(path: Path, survey: Survey, findings: Findings, adjustments: Adjustments) -> Findings:
    """Return ``findings`` with the user's adjustments. Raises BadInput if an added overlay does not fit the video."""
    overlays, reasons = list(findings.overlays), [findings.reason]
    if adjustments.skip:
        overlays = _skip(overlays, adjustments.skip, survey, reasons)
    for text in adjustments.add:
        overlays += read_mask(path, survey, text)
    if adjustments.add:
        reasons.append(f"{len(adjustments.add)} added by --add")
    if adjustments.times:
        overlays = list(_limit(overlays, _find_frames(survey, adjustments.times)))
        reasons.append("only " + ", ".join(f"{start:g}-{end:g} s" for start, end in adjustments.times))
    confidence = min((overlay.confidence for overlay in overlays), default=findings.confidence)
    return Findings(tuple(overlays), confidence, "; ".join(reasons))


def read_mask(path: Path, survey: Survey, text: str) -> tuple[Overlay, ...]:
    """Return the overlay that the user gives as an image or a box, with its opacity. Raises BadInput if unusable."""
    given = parse_mask(text)
    overlay = given if isinstance(given, Problem) else place_mask(given, survey, path.name)
    if isinstance(overlay, Problem):
        raise BadInput(str(overlay))
    return fit_opacity(path, survey, overlay)


def find_shown_box(overlay: Overlay, survey: Survey) -> Box:
    """Return the box of an overlay in the frame as shown (after rotation)."""
    box, picture = overlay.box, survey.picture
    turn = parse_display_matrix(survey.display_matrix)
    # The grid of the stored samples may reach one pixel out of the frame.
    right, bottom = min(box.right, picture.width_px), min(box.bottom, picture.height_px)
    stored = np.array([[box.x, box.y, right, bottom]], np.float32)
    return _make_box(turn_upright(stored, turn, picture.width_px, picture.height_px)[0].tolist())


def _make_box(edges: Sequence[float]) -> Box:
    left, top, right, bottom = map(round, edges)
    return Box(left, top, right - left, bottom - top)


def _skip(overlays: list[Overlay], boxes: Sequence[Box], survey: Survey, reasons: list[str]) -> list[Overlay]:
    shown = [find_shown_box(overlay, survey) for overlay in overlays]
    unused = [box for box in boxes if not any(_is_match(box, other) for other in shown)]
    kept = [
        overlay
        for overlay, other in zip(overlays, shown, strict=True)
        if not any(_is_match(box, other) for box in boxes)
    ]
    if len(kept) < len(overlays):
        reasons.append(f"{len(overlays) - len(kept)} of {len(overlays)} skipped")
    reasons += [f"no overlay to skip at {box.x},{box.y},{box.width}x{box.height}" for box in unused]
    return kept


def _is_match(box: Box, other: Box) -> bool:
    both = measure_overlap(box, other)
    return both >= _MIN_IOU * (box.area + other.area - both)


def _find_frames(survey: Survey, times: Iterable[tuple[float, float]]) -> list[FrameRange]:
    """Return the frames that start in one of the parts ``times``."""
    timeline = survey.timeline
    starts = np.array([timeline.seconds(index) for index in range(len(timeline))])
    bounds = (np.searchsorted(starts, np.array(part) - 1e-6).tolist() for part in times)
    return [FrameRange(start, end) for start, end in bounds if start < end]


def _limit(overlays: Iterable[Overlay], parts: Sequence[FrameRange]) -> Iterable[Overlay]:
    """Yield overlays with those frames only that are in ``parts``; without those that show in none of them."""
    for overlay in overlays:
        cut = [
            FrameRange(max(shown.start_frame, part.start_frame), min(shown.end_frame, part.end_frame))
            for shown in overlay.ranges
            for part in parts
        ]
        ranges = merge_ranges(part for part in cut if part.start_frame < part.end_frame)
        if ranges:
            yield replace(overlay, ranges=ranges)


def parse_times(text: str) -> tuple[float, float] | Problem:
    """Return the start and end in seconds that ``--times`` gives; a problem if it gives none."""
    match = _TIMES.fullmatch(text)
    start, end = map(float, match.groups()) if match else (0.0, 0.0)
    if start < end:
        return start, end
    return Problem("--times", repr(text), "START-END in seconds, as in 12.5-60", "give an end after the start")
