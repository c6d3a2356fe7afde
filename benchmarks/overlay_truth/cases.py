"""One clip with one overlay: detected, removed, and compared with the baselines."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from benchmarks.overlay_truth.baselines import BASELINES, run_baseline
from benchmarks.overlay_truth.clips import CLIPS, Clip
from benchmarks.overlay_truth.crops import View, draw_masks, make_view, read_crops
from benchmarks.overlay_truth.drawing import Corner, Kind, Mark
from benchmarks.overlay_truth.judging import count_wrong_frames, measure_opacity_error
from benchmarks.overlay_truth.marks import Marked, mark_clip
from benchmarks.overlay_truth.ours import detect, fit_masks, remove
from benchmarks.overlay_truth.scores import Scores, compute_iou, score
from tasks.overlays.boxes import Box
from tasks.overlays.detection.findings import Findings
from tasks.overlays.overlay import Overlay

Encoding = Literal["lossless", "lossy"]
_CORNERS: tuple[Corner, ...] = ("bottom right", "top left", "top right", "bottom left")


@dataclass(frozen=True)
class Case:
    """A clip, its overlay, opacity and encoding."""

    clip: Clip
    mark: Mark
    opacity: float
    encoding: Encoding

    @property
    def name(self) -> str:
        """The name in tables and files."""
        return f"{self.clip.name} {self.mark.kind} {self.opacity:g} {self.encoding}"


@dataclass(frozen=True)
class Result:
    """The measurements of one case.

    iou, confidence, reason  of detection without training; an IoU of 0 if it detects no overlay
    opacity_error            mean error of the opacity, where both overlays lie; ``None`` if it is unknown
    wrong_frames             with a detected overlay and none in truth, or the reverse
    untouched                scores of the marked clip
    baselines                scores by name
    with_truth, with_mask    scores of our removal with the true overlays, and with the true masks only
    with_detected            scores of our removal with the detected overlays; ``None`` if there are none
    """

    case: Case
    iou: float
    confidence: float
    reason: str
    opacity_error: float | None
    wrong_frames: int
    untouched: Scores | None = None
    baselines: dict[str, Scores] = field(default_factory=dict)
    with_truth: Scores | None = None
    with_mask: Scores | None = None
    with_detected: Scores | None = None

    @property
    def best(self) -> str:
        """The baseline with the highest PSNR."""
        return max(self.baselines, key=lambda name: self.baselines[name].psnr)


def list_cases(
    clips: Sequence[Clip], kinds: Sequence[Kind], opacities: Sequence[float], encodings: Sequence[Encoding]
) -> Iterator[Case]:
    """Yield all cases; the overlays of a clip are in the same corner, those of the next clip in another.

    The overlay of a clip does not depend on the other selected clips.
    """
    for clip in clips:
        number = CLIPS.index(clip)
        for kind in kinds:
            mark = Mark(kind, number, _CORNERS[number % len(_CORNERS)])
            yield from (Case(clip, mark, opacity, encoding) for opacity in opacities for encoding in encodings)


def measure_case(
    case: Case, frames: int | None, folder: Path, with_removal: bool = True, removal_frames: int | None = None
) -> Result:
    """Make the clip of ``case`` in ``folder``, which is removed afterwards, and measure it.

    Overlays are detected in all ``frames``, and removed from ``removal_frames`` in the middle.
    """
    marked = mark_clip(case.clip, case.mark, case.opacity, frames, folder)
    try:
        path = marked.marked if case.encoding == "lossless" else marked.lossy
        findings = detect(path)
        first = _score_detection(case, marked, findings)
        return (
            _score_removal(first, make_view(marked, removal_frames), path, findings, folder) if with_removal else first
        )
    finally:
        shutil.rmtree(folder)


def _score_detection(case: Case, marked: Marked, findings: Findings) -> Result:
    return Result(
        case,
        compute_detection_iou(findings, marked),
        findings.confidence,
        findings.reason,
        measure_opacity_error(findings.overlays, marked.overlays),
        count_wrong_frames(findings.overlays, marked.overlays, marked.frames),
    )


def compute_detection_iou(findings: Findings, marked: Marked) -> float:
    """Return the IoU of detected and true overlays over all frames, in pixels."""
    whole = Box(0, 0, marked.picture.width_px, marked.picture.height_px)
    both = (
        draw_masks(overlays, marked.shape, whole, marked.frames)[0] for overlays in (findings.overlays, marked.overlays)
    )
    return compute_iou(*both)


def _score_removal(first: Result, view: View, path: Path, findings: Findings, folder: Path) -> Result:
    marked = view.marked
    clean, source = read_crops(marked.clean, view), read_crops(path, view)
    usual = {name: score(run_baseline(name, path, source, view, folder), source, clean, view) for name in BASELINES}

    def score_ours(overlays: Sequence[Overlay]) -> Scores | None:
        touched = view.draw_masks_of(overlays)
        return score(remove(path, overlays, view), source, clean, view, touched) if overlays else None

    return replace(
        first,
        untouched=score(source, source, clean, view),
        baselines=usual,
        with_truth=score_ours(marked.overlays),
        with_mask=score_ours(fit_masks(path, marked.overlays)),
        with_detected=score_ours(findings.overlays),
    )
