"""The stage that joins a tape's restored segments, with its sound, and checks what comes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from tasks.engine.errors import BadInput
from tasks.engine.items import Item
from tasks.engine.stage import Stage, StageResult, Value, Workspace
from tasks.media.segments.joining import JoinPlan, join_segments
from tasks.media.segments.plan import Segment
from tasks.media.segments.verify import JoinedReport, SegmentReport, verify_joined
from tasks.restoration.diagnosis_stage import Diagnosed
from tasks.restoration.planning import PlannedTape
from tasks.restoration.segment_stage import NoParams
from tasks.restoration.work import TapeWork, as_payload, from_payload


class JoinStage(Stage):
    """Joins one tape.

    The item's only input is the tape; its payload is a TapeWork and all segments. The segments' files enter no key:
    they are made of the same tape by the same work, and are removed when the tape is done.
    """

    name: ClassVar[str] = "tapes"
    version: ClassVar[int] = 1
    memory_bytes: ClassVar[int] = 512 * 2**20
    timeout_seconds: ClassVar[float] = 3600.0
    packages: ClassVar[tuple[str, ...]] = ("av",)

    def __init__(self) -> None:
        super().__init__(NoParams())

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Join, verify, and say what was lost.

        Raises BadInput where the tape's options cannot be had for it or segments are missing, SegmentError where they
        do not make the whole.
        """
        if "refused" in item.payload:
            raise BadInput(item.payload["refused"])
        (tape, segments), source = from_payload(item.payload), work.input(item.inputs[0])
        reports = _reports(tape, segments, work.output_dir)
        found = tape.loaded(work.output_dir)
        files = tuple(work.output_dir / tape.file(segment) for segment in segments)
        plan = JoinPlan(source, found, tape.clock(found), segments, files)
        joined = join_segments(plan, work.output(restored_path(tape)))
        report = verify_joined(joined, plan, reports)
        missing = found.damage.reason if found.damage else None
        values: dict[str, Value] = {
            "preset": tape.preset,
            "chosen_because": item.payload["reason"],
            "chain": [f"{step.filter}: {step.reason}" for step in tape.chain.steps],
            "width_px": tape.chain.width_px,
            "height_px": tape.chain.height_px,
            "frames": report.frames,
            "duration_seconds": report.duration_seconds,
            "segments": len(segments),
            "not_carried": list(joined.lost),
            "converted": [str(one) for one in joined.converted],
            "missing": missing,
            "damaged_frames": sum(report.damaged_frames for report in reports),
            "sound_late_seconds": _latest(report),
        }
        return StageResult(values, {"work": item.payload["work"]})


def restored_path(work: TapeWork) -> str:
    """Where the restored tape is published, relative to the output folder."""
    return f"restored/{work.tape}{work.suffix}"


def join_item(planned: PlannedTape) -> Item:
    """The item of a tape whose segments are restored first."""
    payload = as_payload(planned.work, planned.segments) | {"reason": planned.reason}
    return replace(bare_item(planned.diagnosed), payload=payload, cost=float(planned.frames))


def bare_item(known: Diagnosed) -> Item:
    """The item of a tape of which it is not known what is to be done."""
    return Item(known.tape.id, {}, (str(known.path),), 0.0, known.tape.fields)


def refused(item: Item, why: str) -> Item:
    """The item of a tape for which what is asked for cannot be had: it fails, and says ``why``."""
    return replace(item, payload={"refused": why})


def _reports(tape: TapeWork, segments: tuple[Segment, ...], output_dir: Path) -> list[SegmentReport]:
    """What each segment was said to hold when it was made. Raises BadInput where some were not made."""
    paths = [output_dir / tape.report(segment) for segment in segments]
    missing = [str(segment.number) for segment, path in zip(segments, paths, strict=True) if not path.is_file()]
    if missing:
        numbers = ", ".join(missing[:10]) + (" and others" if len(missing) > 10 else "")
        advice = "their own failures say why; the same command tries them again, and takes the others as they are"
        raise BadInput(f"{len(missing)} of {len(segments)} segments were not restored ({numbers}): {advice}")
    return [SegmentReport(**json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def _latest(report: JoinedReport) -> float:
    """By how much, at most, a packet of the sound comes at another time than in the source."""
    return max((copy.late_seconds for copy in report.copies if copy.kind == "audio"), default=0.0)
