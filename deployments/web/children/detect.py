"""Detect overlays before anything is removed: ``python -m deployments.web.children.detect FOLDER COUNT VIDEO``.

Prints the overlays, and writes COUNT frames of the video to FOLDER as ``frames`` does.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deployments.web.children.frames import write_frames
from deployments.web.children.program import run_program

_MEMORY_BYTES, _CPU_SECONDS = 6 << 30, 3600
_MAX_OVERLAYS = 400


def detect(folder: str, count: str, video: str) -> dict[str, Any]:
    """Return the detected overlays, each box once. Raises BadInput if the video cannot be read."""
    from tasks.media.segments.source import survey_video
    from tasks.overlays.detection.adjusting import find_shown_box
    from tasks.overlays.detection.static.detector import find_static

    times = write_frames(folder, count, video)
    path = Path(video)
    survey = survey_video(path, tolerant=True)
    findings = find_static(path, survey)
    shown: dict[Any, dict[str, Any]] = {}
    for overlay in findings.overlays:
        box = find_shown_box(overlay, survey)
        entry = shown.setdefault(box, {"box": asdict(box), "label": overlay.label, "confidence": 0.0, "times": []})
        entry["confidence"] = max(entry["confidence"], overlay.confidence)
        entry["times"] += [_list_seconds(survey, part.start_frame, part.end_frame) for part in overlay.ranges]
    return {"times": times, "reason": findings.reason, "overlays": list(shown.values())[:_MAX_OVERLAYS]}


def _list_seconds(survey: Any, start_frame: int, end_frame: int) -> list[float]:
    timeline = survey.timeline
    end = timeline.seconds(end_frame) if end_frame < len(timeline) else timeline.duration_seconds
    return [round(timeline.seconds(start_frame), 3), round(end, 3)]


if __name__ == "__main__":
    raise SystemExit(run_program(detect, sys.argv[1:], _MEMORY_BYTES, _CPU_SECONDS))
