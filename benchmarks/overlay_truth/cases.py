"""One clip with one overlay: found, removed, and compared with what is usually done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from benchmarks.overlay_truth.baselines import BASELINES, baseline
from benchmarks.overlay_truth.clips import CLIPS, Clip
from benchmarks.overlay_truth.crops import View, crops_of, masks_within, view_of
from benchmarks.overlay_truth.drawing import Corner, Kind, Mark
from benchmarks.overlay_truth.judging import opacity_error, wrong_frames
from benchmarks.overlay_truth.marks import Marked, mark_clip
from benchmarks.overlay_truth.ours import detected, removed, told_the_mask
from benchmarks.overlay_truth.scores import Scores, overlap, score
from tasks.overlays.boxes import Box
from tasks.overlays.detection.findings import Findings
from tasks.overlays.overlay import Overlay

Encoding = Literal["lossless", "lossy"]
_CORNERS: tuple[Corner, ...] = ("bottom right", "top left", "top right", "bottom left")


@dataclass(frozen=True)
class Case:
    """A clip, what is put on it and how strongly, and how it was encoded then."""

    clip: Clip
    mark: Mark
    opacity: float
    encoding: Encoding

    @property
    def name(self) -> str:
        """For tables and files."""
        return f"{self.clip.name} {self.mark.kind} {self.opacity:g} {self.encoding}"


@dataclass(frozen=True)
class Result:
    """What was measured in one case.

    iou, confidence, reason  of detection without training; an IoU of 0 where it finds nothing
    opacity_error            mean distance from the true opacity, where both lie; ``None`` where nothing is known of it
    wrong_frames             in which something is found where nothing shows, or nothing where something does
    untouched                the marked clip itself
    baselines                by name
    with_truth, with_mask    our removal, told opacity and colour, too, and the true masks alone
    with_found               with what our detection found; ``None`` where it found nothing
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
    with_found: Scores | None = None

    @property
    def best(self) -> str:
        """The baseline that comes nearest to the clean clip."""
        return max(self.baselines, key=lambda name: self.baselines[name].psnr)


def cases(
    clips: Sequence[Clip], kinds: Sequence[Kind], opacities: Sequence[float], encodings: Sequence[Encoding]
) -> Iterator[Case]:
    """All of them; a clip's overlays lie in the same corner, those of the next clip in another.

    What is put on a clip does not depend on which others are chosen.
    """
    for clip in clips:
        number = CLIPS.index(clip)
        for kind in kinds:
            mark = Mark(kind, number, _CORNERS[number % len(_CORNERS)])
            yield from (Case(clip, mark, opacity, encoding) for opacity in opacities for encoding in encodings)


def measure(
    case: Case, frames: int | None, folder: Path, with_removal: bool = True, removal_frames: int | None = None
) -> Result:
    """Make the clip of ``case`` in ``folder``, which is removed again, and measure it.

    Overlays are found in all of its ``frames``, and removed from ``removal_frames`` in the middle of these.
    """
    marked = mark_clip(case.clip, case.mark, case.opacity, frames, folder)
    try:
        path = marked.marked if case.encoding == "lossless" else marked.lossy
        found = detected(path)
        first = _detection(case, marked, found)
        return _removal(first, view_of(marked, removal_frames), path, found, folder) if with_removal else first
    finally:
        shutil.rmtree(folder)


def _detection(case: Case, marked: Marked, found: Findings) -> Result:
    return Result(
        case,
        detection_overlap(found, marked),
        found.confidence,
        found.reason,
        opacity_error(found.overlays, marked.overlays),
        wrong_frames(found.overlays, marked.overlays, marked.frames),
    )


def detection_overlap(found: Findings, marked: Marked) -> float:
    """The IoU of what was found with what is there, over all frames, in pixels."""
    whole = Box(0, 0, marked.picture.width_px, marked.picture.height_px)
    both = (masks_within(one, marked.shape, whole, marked.frames)[0] for one in (found.overlays, marked.overlays))
    return overlap(*both)


def _removal(first: Result, view: View, path: Path, found: Findings, folder: Path) -> Result:
    marked = view.marked
    clean, source = crops_of(marked.clean, view), crops_of(path, view)
    usual = {name: score(baseline(name, path, source, view, folder), source, clean, view) for name in BASELINES}

    def ours(overlays: Sequence[Overlay]) -> Scores | None:
        touched = view.masks_of(overlays)
        return score(removed(path, overlays, view), source, clean, view, touched) if overlays else None

    return replace(
        first,
        untouched=score(source, source, clean, view),
        baselines=usual,
        with_truth=ours(marked.overlays),
        with_mask=ours(told_the_mask(path, marked.overlays)),
        with_found=ours(found.overlays),
    )
