"""The stage that restores segments: one item a segment, so that a long tape uses every slot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from tasks.engine.items import Item, safe_id
from tasks.engine.stage import Stage, StageResult, Workspace
from tasks.media.segments.plan import Segment
from tasks.restoration.engines.base import Engine, SegmentJob
from tasks.restoration.engines.ffmpeg import FfmpegEngine
from tasks.restoration.work import TapeWork, as_payload, from_payload


class NoParams(BaseModel):
    """All that the result depends on is in the items."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SegmentStage(Stage):
    """Restores one segment of a tape.

    The item's only input is the tape; its payload is a TapeWork and that segment. Published are
    the segment file and, beside it, what is in it.
    """

    name: ClassVar[str] = "segments"
    version: ClassVar[int] = 1
    memory_bytes: ClassVar[int] = 768 * 2**20
    timeout_seconds: ClassVar[float] = 6 * 3600.0
    packages: ClassVar[tuple[str, ...]] = ("av", "imageio-ffmpeg", "ffmpeg-python")

    def __init__(self, engine: Engine | None = None) -> None:
        super().__init__(NoParams())
        self._engine = engine or FfmpegEngine()

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Restore the item's segment. Raises BadInput where the tape is damaged there, SegmentError where it failed."""
        tape, (segment,) = from_payload(item.payload)
        output = work.output(tape.file(segment))
        job = SegmentJob(
            source=work.input(item.inputs[0]),
            found=tape.loaded(work.output_dir),
            segment=segment,
            chain=tape.chain,
            settings=tape.encoder,
            output=output,
            scratch=work.scratch,
        )
        report = self._engine.restore(job)
        work.output(tape.report(segment)).write_text(json.dumps(asdict(report)), encoding="utf-8")
        return StageResult({"tape": tape.tape, "segment": segment.number, "frames": report.frames})


def segment_items(work: TapeWork, segments: Sequence[Segment], tape: Path) -> list[Item]:
    """An item for each of the segments of the tape at ``tape``."""
    return [
        Item(
            id=safe_id(f"{work.tape}.{segment.number:04d}"),
            payload=as_payload(work, [segment]),
            inputs=(str(tape),),
            cost=float(len(segment) * work.chain.width_px * work.chain.height_px * work.chain.ratio),
            fields={"tape": work.tape},
        )
        for segment in segments
    ]
