"""The stage that joins a tape's restored segments, with its sound, and checks what comes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import NoParams, Stage, StageResult, Value, Workspace
from tasks.media.segments.joining import JoinPlan, join_segments
from tasks.media.segments.verify import read_reports, verify_joined
from tasks.restoration.diagnosis_stage import Diagnosed
from tasks.restoration.planning import PlannedTape
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
        reports = read_reports([work.output_dir / tape.report(segment) for segment in segments])
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
            "sound_late_seconds": report.sound_late_seconds,
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
    tape = known.tape
    return Item(tape.id, {}, (str(known.path),), 0.0, tape.fields, tape.name, tape.path)


def refused(item: Item, why: str) -> Item:
    """The item of a tape for which what is asked for cannot be had: it fails, and says ``why``."""
    return replace(item, payload={"refused": why})
