"""Cut, encode and join a video like a flow, for tests of single steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from tasks.media.segments.clock import Clock, build_clock
from tasks.media.segments.containers import choose_container
from tasks.media.segments.encoding import SegmentEncoder
from tasks.media.segments.joining import Joined, JoinPlan, join_segments
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.piping import FramePipe, build_first_filters, build_last_filters, pipe_command
from tasks.media.segments.plan import Cut, Segment, plan_segments
from tasks.media.segments.planes import view_planes
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.settings import EncoderSettings, get_ffmpeg_options
from tasks.media.segments.source import Survey, survey_video
from tasks.media.segments.verify import JoinedReport, SegmentReport, verify_joined, verify_segment

LOSSLESS = EncoderSettings("ffv1")
QUICK = {
    "x264": EncoderSettings("x264", crf=20, preset="ultrafast", gop_frames=9, options=(("bf", "2"),)),
    "x265": EncoderSettings("x265", crf=24, preset="ultrafast", gop_frames=9),
    "svtav1": EncoderSettings("svtav1", crf=30, preset="12", gop_frames=9),
}

Change = Callable[[int, VideoFrame], list[VideoFrame]]


def keep_frame(index: int, frame: VideoFrame) -> list[VideoFrame]:
    return [frame]


@dataclass
class Pipeline:
    """A video with its plan; the methods run the steps."""

    source: Path
    folder: Path
    survey: Survey
    clock: Clock
    segments: tuple[Segment, ...]
    settings: EncoderSettings
    picture: PictureFormat

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self.folder / f"{self.source.name}.{segment.number}.mp4" for segment in self.segments)

    @property
    def plan(self) -> JoinPlan:
        return JoinPlan(self.source, self.survey, self.clock, self.segments, self.files)

    def get_clock(self, segment: Segment) -> Clock:
        return self.clock.part(segment.start_frame, segment.end_frame)

    def encode(self, segment: Segment, change: Change = keep_frame) -> SegmentReport:
        path = self.files[segment.number]
        with (
            SegmentReader(self.source, self.survey) as reader,
            SegmentEncoder(path, self.settings, self.picture, self.get_clock(segment)) as encoder,
        ):
            for frame in reader.frames(segment):
                if segment.start_frame <= frame.index < segment.end_frame:
                    for written in change(frame.index, frame.frame):
                        encoder.write(written)
        return verify_segment(path, self.get_clock(segment)).with_damage(reader.damaged, segment)

    def make_command(self, segment: Segment, filters: str) -> list[str]:
        chain = [build_first_filters(self.survey.picture), filters, build_last_filters(segment, self.clock.ratio)]
        options = get_ffmpeg_options(self.settings, self.picture, self.clock)
        return pipe_command(",".join(filter(None, chain)), str(self.files[segment.number]), options)

    def pipe(self, segment: Segment, filters: str = "") -> SegmentReport:
        read = build_clock(self.survey.timeline).part(segment.read_start, segment.read_end)
        command, log = self.make_command(segment, filters), self.folder / "ffmpeg.log"
        with (
            SegmentReader(self.source, self.survey) as reader,
            FramePipe(command, self.survey.picture, read, log) as pipe,
        ):
            for frame in reader.frames(segment):
                pipe.write(frame.frame)
        return verify_segment(self.files[segment.number], self.get_clock(segment))

    def join(self, reports: list[SegmentReport], suffix: str = "") -> tuple[Joined, JoinedReport]:
        suffix = suffix or choose_container(self.source, self.settings.codec).suffix
        joined = join_segments(self.plan, self.folder / f"{self.source.name}.joined{suffix}")
        return joined, verify_joined(joined, self.plan, reports)


def make_pipeline(
    source: Path,
    folder: Path,
    count: int,
    settings: EncoderSettings = LOSSLESS,
    ratio: Fraction | int = 1,
    tolerant: bool = False,
    **picture: object,
) -> Pipeline:
    survey = survey_video(source, tolerant=tolerant)
    segments = plan_segments(survey.timeline, Cut(count, min_segment_frames=1, context_frames=3))
    clock = build_clock(survey.timeline, ratio)
    format_ = dataclasses.replace(survey.picture, **picture)  # type: ignore[arg-type]
    return Pipeline(source, folder, survey, clock, segments, settings, format_)


# Barcodes: the number of a frame in 12 cells of luma, each 16 x 16 pixels.
CELL_PX = 16
CELLS = 12


def draw_barcode(frame: VideoFrame, number: int) -> VideoFrame:
    frame.make_writable()
    luma = view_planes(frame)[0]
    top = 235 << (8 if luma.dtype == np.uint16 else 0)
    for bit in range(CELLS):
        luma[:CELL_PX, bit * CELL_PX : (bit + 1) * CELL_PX] = top if number >> bit & 1 else 16
    return frame


def read_barcode(frame: VideoFrame) -> int:
    luma = view_planes(frame)[0]
    inner = luma[4 : CELL_PX - 4, : CELLS * CELL_PX].reshape(CELL_PX - 8, CELLS, CELL_PX)[:, :, 4:-4]
    bright = inner.mean(axis=(0, 2)) > 125
    return int(sum(1 << bit for bit in range(CELLS) if bright[bit]))
