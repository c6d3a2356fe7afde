"""The stage that joins a tape's restored segments, with its sound, and checks what comes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tasks.engine.errors import BadInput
from tasks.engine.items import Item
from tasks.engine.stage import Stage, StageResult, Value, Workspace
from tasks.media.segments.joining import JoinPlan, join_segments
from tasks.media.segments.plan import Segment
from tasks.media.segments.verify import JoinedReport, SegmentReport, verify_joined
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
        """Join, verify, and say what was lost. Raises SegmentError where segments do not make the whole."""
        (tape, segments), source = from_payload(item.payload), work.input(item.inputs[0])
        found = tape.loaded(work.output_dir)
        files = tuple(work.output_dir / tape.file(segment) for segment in segments)
        plan = JoinPlan(source, found, tape.clock(found), segments, files)
        joined = join_segments(plan, work.output(f"restored/{tape.tape}{tape.suffix}"))
        report = verify_joined(joined, plan, _reports(tape, segments, work.output_dir))
        missing = found.damage.reason if found.damage else None
        values: dict[str, Value] = {
            "frames": report.frames,
            "duration_seconds": report.duration_seconds,
            "segments": len(segments),
            "not_carried": list(joined.lost),
            "missing": missing,
            "sound_late_seconds": _latest(report),
        }
        return StageResult(values, {"steps": [step.reason for step in tape.chain.steps]})


def join_item(work: TapeWork, segments: Sequence[Segment], tape: Path) -> Item:
    """The item of the tape at ``tape``."""
    return Item(id=work.tape, payload=as_payload(work, segments), inputs=(str(tape),), cost=float(len(segments)))


def _reports(tape: TapeWork, segments: Sequence[Segment], output_dir: Path) -> list[SegmentReport]:
    """What each segment was said to hold when it was made. Raises BadInput where that is gone."""
    try:
        texts = [(output_dir / tape.report(segment)).read_text(encoding="utf-8") for segment in segments]
    except OSError as error:
        raise BadInput(f"a restored segment is gone: {error}; run the same command again") from error
    return [SegmentReport(**json.loads(text)) for text in texts]


def _latest(report: JoinedReport) -> float:
    """By how much, at most, a packet of the sound comes at another time than in the source."""
    return max((copy.late_seconds for copy in report.copies if copy.kind == "audio"), default=0.0)
