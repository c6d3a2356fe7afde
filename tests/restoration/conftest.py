"""Fixtures and helpers for the tests of restoration.

make_tape  makes a tape of a real clip by its name in TAPES, once per session
Pipeline   a tape with its plan, for tests of engines
"""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import pytest

from tasks.media.segments.clock import Clock, build_clock
from tasks.media.segments.joining import Joined, JoinPlan, join_segments
from tasks.media.segments.plan import Cut, Segment, plan_segments
from tasks.media.segments.planes import hash_frame
from tasks.media.segments.settings import EncoderSettings
from tasks.media.segments.source import Survey, survey_video
from tasks.media.segments.verify import JoinedReport, SegmentReport, verify_joined
from tasks.restoration.chain import Chain, Step
from tasks.restoration.engines.base import Engine, SegmentJob

# Small for quick tests. 48 frames of skv_bikes.mp4 at 50 per second become 24 interlaced frames.
_FIELDS = "scale=192:144,setpts=N/(50*TB),fps=50,trim=end_frame=48"
_FILM = "scale=192:144,setpts=N*1001/(24000*TB),fps=24000/1001,trim=end_frame=40"
_NOISE = "noise=c0s=18:c0f=t:c1s=25:c1f=t:c2s=25:c2f=t:all_seed=6"

# File name -> ffmpeg arguments between the clip and the file.
TAPES = {
    "interlaced.mkv": f"-vf {_FIELDS},tinterlace=interleave_top,setsar=12/11 -c:v ffv1",
    "noisy-interlaced.mkv": f"-vf {_FIELDS},{_NOISE},tinterlace=interleave_top,setsar=12/11,setparams=colorspace=5 "
    "-c:v mpeg2video -q:v 2 -flags +ildct+ilme -g 12 -bf 2",
    "bottom-field-first.mkv": f"-vf {_FIELDS},tinterlace=interleave_bottom,setsar=12/11 -c:v ffv1",
    "telecined.mkv": f"-vf {_FILM},telecine=pattern=23,setsar=10/11 -c:v ffv1",
    "full-range.mkv": "-vf scale=192:144:out_range=pc,trim=end_frame=12 -color_range pc -c:v ffv1",
}


@pytest.fixture(scope="session")
def make_tape(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("tapes")
    clip = shared_data / "video" / "skv_bikes.mp4"

    @functools.cache
    def make(name: str) -> Path:
        program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", str(clip)]
        subprocess.run([*program, *TAPES[name].split(), str(folder / name)], check=True)
        return folder / name

    return make


def make_chain(*steps: Step, ratio: Fraction | int = 1, **values: object) -> Chain:
    """Return a chain with these steps for frames of 192x144; ``values`` override its fields."""
    usual = {"context_frames": 5, "width_px": 192, "height_px": 144, "sample_aspect": "1:1", "interlaced": False}
    usual |= {"pixel_format": "yuv420p", "color_matrix": "bt470bg"}
    return Chain(steps=steps, ratio=Fraction(ratio), **(usual | values))  # type: ignore[arg-type]


def make_step(filter: str, **options: str) -> Step:
    return Step(filter, options, "a test asks for it")


BOB = make_step("bwdif", mode="send_field", parity="tff", deint="all")
DENOISE = make_step("hqdn3d", luma_spatial="3", chroma_spatial="6", luma_tmp="4", chroma_tmp="9")
LOSSLESS = EncoderSettings("ffv1")
QUICK = EncoderSettings("x264", crf=20, preset="ultrafast", gop_frames=12, options=(("bf", "2"),))


@dataclass(frozen=True)
class Pipeline:
    """A tape with its plan; the methods run an engine and the join."""

    source: Path
    folder: Path
    survey: Survey
    chain: Chain
    settings: EncoderSettings
    segments: tuple[Segment, ...]

    @property
    def clock(self) -> Clock:
        return build_clock(self.survey.timeline, self.chain.ratio)

    def make_job(self, number: int = 0) -> SegmentJob:
        scratch = self.folder / f"scratch {number}"
        scratch.mkdir(parents=True, exist_ok=True)
        output = self.folder / f"{number}.mp4"
        segment = self.segments[number]
        return SegmentJob(self.source, self.survey, segment, self.chain, self.settings, output, scratch)

    def restore(self, engine: Engine) -> list[SegmentReport]:
        return [engine.restore(self.make_job(segment.number)) for segment in self.segments]

    def join(self, reports: list[SegmentReport]) -> tuple[Joined, JoinedReport]:
        files = tuple(self.make_job(segment.number).output for segment in self.segments)
        plan = JoinPlan(self.source, self.survey, self.clock, self.segments, files)
        joined = join_segments(plan, self.folder / "joined.mp4")
        return joined, verify_joined(joined, plan, reports)


def make_pipeline(
    source: Path,
    folder: Path,
    chain: Chain,
    count: int = 1,
    settings: EncoderSettings = LOSSLESS,
    tolerant: bool = False,
) -> Pipeline:
    """Plan ``source`` in ``count`` segments."""
    survey = survey_video(source, tolerant=tolerant)
    align = chain.ratio.denominator
    cut = Cut(count, min_segment_frames=1, context_frames=chain.context_frames, align_frames=align)
    return Pipeline(source, folder, survey, chain, settings, plan_segments(survey.timeline, cut))


def decode_video(path: Path) -> list[tuple[int | None, str]]:
    """Return (pts, digest of the stored pixels) of each frame."""
    with av.open(str(path)) as container:
        return [(frame.pts, hash_frame(frame)) for frame in container.decode(container.streams.video[0])]
