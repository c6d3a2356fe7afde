"""The stage that cleans segments: one item per segment, so that one video uses every slot."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tasks.engine.contract.items import Item, make_safe_id
from tasks.engine.contract.stage import Needs, NoParams, Stage, StageResult, Workspace
from tasks.media.segments.encoding import SegmentEncoder
from tasks.media.segments.plan import Segment
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.verify import SegmentReport, verify_segment
from tasks.overlays.cleaning import MakeRemover, SegmentCleaner
from tasks.overlays.components import Shape, read_shape
from tasks.overlays.overlay import Overlay
from tasks.overlays.removal.base import plan_regions
from tasks.overlays.removal.command import CommandRemover, Inpainter
from tasks.overlays.removal.fusing import FusingRemover
from tasks.overlays.work import VIDEO_PAYLOAD, PlannedVideo, VideoWork, make_output_format

# The child process with its libraries; and per pixel the frames of the encoder, and those that wait in a remover with
# the motion between them.
_BASE_BYTES = 400 * 2**20
_BYTES_PER_PIXEL = 1000
# While a program processes a segment, all its frames are held: three components of at most two bytes.
_BYTES_PER_HELD_PIXEL = 6


class CleanStage(Stage):
    """Cleans one segment of a video.

    The item's only input is the video; its payload is a VideoWork and that segment. It publishes the segment file and
    a report on its content.
    """

    name: ClassVar[str] = "segments"
    version: ClassVar[int] = 4
    memory_bytes: ClassVar[int] = 768 * 2**20
    timeout_seconds: ClassVar[float] = 6 * 3600.0
    packages: ClassVar[tuple[str, ...]] = ("av", "numpy", "opencv-contrib-python", "scipy")
    hides_devices: ClassVar[bool] = False  # the program gets the number of its device

    def __init__(self, devices: int | None = None) -> None:
        """``devices`` is the number of devices of the program, if each item needs one."""
        super().__init__(NoParams())
        self._devices = devices

    def needs(self) -> Needs:
        """Return the needs of a small frame; items say how much memory they need."""
        return Needs(self.memory_bytes, self._devices)

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Clean the segment. Raises BadInput if the video is damaged there, SegmentError if the encoding failed."""
        video, (segment,) = VIDEO_PAYLOAD.load(item.payload)
        survey = video.load_survey(work.output_dir)
        picture = make_output_format(survey.picture)
        clock = video.make_clock(survey).part(segment.start_frame, segment.end_frame)
        shape = read_shape(picture.pixel_format)
        places = plan_regions(video.load_overlays(work.output_dir), shape, picture.width_px, picture.height_px)
        shown = tuple(place for place in places if _is_shown(place.overlays, segment))
        make = self._choose_remover(
            video, shape, Inpainter(video.command, picture, clock.rate, self._device), work.scratch
        )
        cleaner = SegmentCleaner(shape, shown, make)
        output = work.output(video.segment_path(segment))
        with (
            SegmentReader(work.input(item.inputs[0]), survey) as reader,
            SegmentEncoder(output, video.encoder, picture, clock) as encoder,
        ):
            frames = reader.frames(segment)
            for frame in cleaner.clean(frames, segment):
                encoder.write(frame)
            deque(frames, maxlen=0)  # read the rest, whose damage counts, too
        report = verify_segment(output, clock).with_damage(reader.damaged, segment)
        report.write(work.output(video.report_path(segment)))
        return _make_result(video, segment, report, cleaner)

    def count_devices(self) -> int | None:
        """Return the number that the user has given."""
        return self._devices

    @property
    def _device(self) -> int:
        """Number of this slot's device."""
        return int(os.environ.get("HEADRACE_DEVICE") or os.environ.get("HEADRACE_SLOT", "0")) % (self._devices or 1)

    def _choose_remover(self, video: VideoWork, shape: Shape, inpainter: Inpainter, scratch: Path) -> MakeRemover:
        """Return the factory of removers for regions."""
        method = video.method
        if method != "command":
            return lambda region: FusingRemover(method, region, shape)
        return lambda region: CommandRemover(inpainter, region, shape, scratch / f"{region.box.x}-{region.box.y}")


def make_segment_items(planned: PlannedVideo) -> list[Item]:
    """Return an item for each segment of a video."""
    work, path, source = planned.work, str(planned.prepared.path), planned.prepared.source
    picture = planned.prepared.picture
    pixels = picture.width_px * picture.height_px
    return [
        Item(
            id=make_safe_id(f"{work.video}.{segment.number:04d}"),
            payload=VIDEO_PAYLOAD.dump(work, [segment]),
            inputs=(path,),
            cost=float((segment.read_end - segment.read_start) * pixels),
            fields={"video": work.video},
            name=f"{source.file_name or work.video}, segment {segment.number}",
            path=source.relative,
            memory_bytes=estimate_segment_bytes(planned),
        )
        for segment in planned.segments
    ]


def estimate_segment_bytes(planned: PlannedVideo) -> int:
    """Return the memory per segment of a video: the frames of encoder and remover."""
    picture = planned.prepared.picture
    pixels = picture.width_px * picture.height_px
    frames = pixels * _BYTES_PER_PIXEL
    if planned.work.method == "command":
        frames += pixels * _BYTES_PER_HELD_PIXEL * max((len(segment) for segment in planned.segments), default=0)
    return _BASE_BYTES + frames


def _is_shown(overlays: Iterable[Overlay], segment: Segment) -> bool:
    """Return True if any of the overlays shows in a frame of the segment."""
    ranges = [part for overlay in overlays for part in overlay.ranges]
    return any(part.start_frame < segment.end_frame and segment.start_frame < part.end_frame for part in ranges)


def _make_result(video: VideoWork, segment: Segment, report: SegmentReport, cleaner: SegmentCleaner) -> StageResult:
    shares = cleaner.shares
    return StageResult(
        {
            "video": video.video,
            "segment": segment.number,
            "frames": report.frames,
            "samples_unblended": shares.unblended,
            "samples_temporal": shares.temporal,
            "samples_spatial": shares.spatial,
        }
    )
