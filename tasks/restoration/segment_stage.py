"""The stage that restores segments: one item per segment, so that a long tape uses every slot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tasks.engine.contract.items import Item, make_safe_id
from tasks.engine.contract.stage import Needs, NoParams, Stage, StageResult, Workspace
from tasks.restoration.engines.base import Engine, SegmentJob
from tasks.restoration.engines.choice import Engines
from tasks.restoration.engines.ffmpeg import FfmpegEngine
from tasks.restoration.engines.neural.weights import count_gpus
from tasks.restoration.options import EngineName
from tasks.restoration.planning import PlannedTape
from tasks.restoration.work import TAPE_PAYLOAD, TapeWork

_BASE_BYTES = 400 * 2**20
_BYTES_PER_PIXEL = 150


class SegmentStage(Stage):
    """Restores one segment of a tape.

    The item's only input is the tape; its payload is a TapeWork and that segment. It publishes the segment file and a
    report on it.
    """

    name: ClassVar[str] = "segments"
    version: ClassVar[int] = 3
    memory_bytes: ClassVar[int] = 768 * 2**20
    timeout_seconds: ClassVar[float] = 6 * 3600.0
    packages: ClassVar[tuple[str, ...]] = ("av", "imageio-ffmpeg", "ffmpeg-python")

    def __init__(self, engines: Mapping[EngineName, Engine] | None = None, devices: int | None = None) -> None:
        """``engines`` are those that items use; ``devices`` is their number, if each item needs one."""
        super().__init__(NoParams())
        self._engines = engines or {"ffmpeg": FfmpegEngine()}
        self._devices = devices

    def needs(self) -> Needs:
        """Return the needs of a small frame; items say how much memory they need."""
        return Needs(self.memory_bytes, self._devices)

    def count_devices(self) -> int | None:
        """Return the number of Vulkan devices, if items need one."""
        return count_gpus() if self._devices else None

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Restore the segment. Raises BadInput if the tape is damaged there, SegmentError if the engine fails."""
        tape, (segment,) = TAPE_PAYLOAD.load(item.payload)
        output = work.output(tape.segment_path(segment))
        job = SegmentJob(
            source=work.input(item.inputs[0]),
            survey=tape.load_survey(work.output_dir),
            segment=segment,
            chain=tape.chain,
            settings=tape.encoder,
            output=output,
            scratch=work.scratch,
        )
        report = self._engines[tape.engine].restore(job)
        report.write(work.output(tape.report_path(segment)))
        return StageResult({"tape": tape.tape, "segment": segment.number, "frames": report.frames})


def list_segment_items(planned: PlannedTape, engines: Engines | None = None) -> list[Item]:
    """Return an item per segment of a tape."""
    memory = estimate_segment_bytes(planned.work, engines.memory_bytes if engines else {})
    work, tape, source = planned.work, planned.diagnosed.tape, planned.diagnosed.path
    return [
        Item(
            id=make_safe_id(f"{work.tape}.{segment.number:04d}"),
            payload=TAPE_PAYLOAD.dump(work, [segment]),
            inputs=(str(source),),
            cost=float(len(segment) * work.chain.width_px * work.chain.height_px * work.chain.ratio),
            fields={"tape": work.tape, **tape.fields},
            name=f"{tape.name}, {work.preset}, segment {segment.number}",
            path=tape.path,
            memory_bytes=memory,
        )
        for segment in planned.segments
    ]


def estimate_segment_bytes(work: TapeWork, engine_bytes: Mapping[EngineName, int]) -> int:
    """Return the memory per segment of a tape; ``engine_bytes`` is that of each engine besides FFmpeg.

    An encoder holds about forty frames of lookahead; filters and pipes hold a few more.
    """
    pixels = work.chain.width_px * work.chain.height_px
    return _BASE_BYTES + pixels * _BYTES_PER_PIXEL + engine_bytes.get(work.engine, 0)
