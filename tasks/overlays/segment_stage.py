"""The stage that cleans segments: one item a segment, so that one video uses every slot."""

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
from tasks.overlays.components import Shape, component_shape
from tasks.overlays.overlay import Overlay
from tasks.overlays.removal.base import regions
from tasks.overlays.removal.command import CommandRemover, Inpainter
from tasks.overlays.removal.fusing import FusingRemover
from tasks.overlays.work import VIDEO_PAYLOAD, PlannedVideo, VideoWork, written_picture

# The child with its libraries; and for each pixel the frames of the encoder, and of a remover those that wait for
# neighbours, with the motion between them.
_LEAST_BYTES = 400 * 2**20
_BYTES_A_PIXEL = 1000
# While a program works on a segment, all of its frames wait for it: three components, of two bytes at most.
_BYTES_A_HELD_PIXEL = 6


class CleanStage(Stage):
    """Cleans one segment of a video.

    The item's only input is the video; its payload is a VideoWork and that segment. Published are the segment file
    and, beside it, what is in it.
    """

    name: ClassVar[str] = "segments"
    version: ClassVar[int] = 3
    memory_bytes: ClassVar[int] = 768 * 2**20
    timeout_seconds: ClassVar[float] = 6 * 3600.0
    packages: ClassVar[tuple[str, ...]] = ("av", "numpy", "opencv-contrib-python-headless", "scipy")

    def __init__(self, needs: Needs | None = None) -> None:
        """``needs.max_slots`` is how many devices the program of the method ``command`` has."""
        super().__init__(NoParams())
        self._needs = needs or super().needs()

    def needs(self) -> Needs:
        """Of the largest picture, and of the program that has a device to each slot."""
        return self._needs

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Clean the item's segment. Raises BadInput where the video is damaged there, SegmentError where it failed."""
        video, (segment,) = VIDEO_PAYLOAD.load(item.payload)
        found = video.load_survey(work.output_dir)
        picture, clock = (
            written_picture(found.picture),
            video.make_clock(found).part(segment.start_frame, segment.end_frame),
        )
        shape = component_shape(picture.pixel_format)
        places = regions(video.load_overlays(work.output_dir), shape, picture.width_px, picture.height_px)
        shown = tuple(place for place in places if _shows(place.overlays, segment))
        make = self._remover_of(video, shape, Inpainter(video.command, picture, clock.rate, self._device), work.scratch)
        cleaner = SegmentCleaner(shape, shown, make)
        output = work.output(video.segment_path(segment))
        with (
            SegmentReader(work.input(item.inputs[0]), found) as reader,
            SegmentEncoder(output, video.encoder, picture, clock) as encoder,
        ):
            frames = reader.frames(segment)
            for frame in cleaner.cleaned(frames, segment):
                encoder.write(frame)
            deque(frames, maxlen=0)  # what is damaged is known when all are read
        report = verify_segment(output, clock).with_damage(reader.damaged, segment)
        report.write(work.output(video.report_path(segment)))
        return _result(video, segment, report, cleaner)

    @property
    def _device(self) -> int:
        """The number of the device that this slot has for itself."""
        return int(os.environ.get("HEADRACE_SLOT", "0")) % (self._needs.max_slots or 1)

    def _remover_of(self, video: VideoWork, shape: Shape, inpainter: Inpainter, scratch: Path) -> MakeRemover:
        """What removes the overlays of a region."""
        method = video.method
        if method != "command":
            return lambda region: FusingRemover(method, region, shape)
        return lambda region: CommandRemover(inpainter, region, shape, scratch / f"{region.box.x}-{region.box.y}")


def segment_items(planned: PlannedVideo) -> list[Item]:
    """An item for each of the segments of a video."""
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
        )
        for segment in planned.segments
    ]


def segment_needs(planned: Iterable[PlannedVideo], max_slots: int | None = None) -> Needs:
    """What a segment takes of the host, for the largest: an encoder's and a remover's frames."""
    return Needs(_LEAST_BYTES + max(map(_segment_bytes, planned), default=0), max_slots)


def _segment_bytes(planned: PlannedVideo) -> int:
    """The memory that the frames of the video's longest segment take."""
    picture = planned.prepared.picture
    pixels = picture.width_px * picture.height_px
    own = pixels * _BYTES_A_PIXEL
    if planned.work.method != "command":
        return own
    return own + pixels * _BYTES_A_HELD_PIXEL * max((len(segment) for segment in planned.segments), default=0)


def _shows(overlays: Iterable[Overlay], segment: Segment) -> bool:
    """Whether any of them lies over a frame of the segment."""
    ranges = [part for overlay in overlays for part in overlay.ranges]
    return any(part.start_frame < segment.end_frame and segment.start_frame < part.end_frame for part in ranges)


def _result(video: VideoWork, segment: Segment, report: SegmentReport, cleaner: SegmentCleaner) -> StageResult:
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
