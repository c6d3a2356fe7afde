"""The plan for one video: how it is cleaned, and how it is cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.stage import get_published_file
from tasks.media.segment_stages.work import SegmentedWork, WorkPayload
from tasks.media.segments.codecs import Codec
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.plan import Cut, Segment, choose_segment_seconds, plan_segments
from tasks.media.segments.settings import EncoderSettings, choose_lossless_settings
from tasks.media.segments.source import load_survey
from tasks.media.timeline import Timeline
from tasks.overlays.components import get_planar_format
from tasks.overlays.options import CleaningOptions, Method
from tasks.overlays.overlay import Overlay, load_overlays
from tasks.overlays.prepared import Prepared, overlays_path, survey_path
from tasks.overlays.removal.base import count_context_frames

# The source does not determine these.
_DEFAULT_CRF: Mapping[Codec, float] = {"x264": 16, "x265": 18, "svtav1": 20}
# Context of programs that fill in from other frames (ProPainter: ten, and every tenth of all), and the segment length
# for programs.
_PROGRAM_CONTEXT_FRAMES, _PROGRAM_SECONDS = 10, 10.0


@dataclass(frozen=True)
class VideoWork(SegmentedWork):
    """How one video is cleaned. Plain values: it is stored in payloads as JSON.

    video     its id
    digests   sha256 of its survey and of its overlays, which enter the keys of the segments
    command   the program of the method ``command`` with its arguments; empty for other methods
    suffix    of the cleaned file
    """

    video: str
    digests: tuple[str, str]
    method: Method
    command: str
    encoder: EncoderSettings
    suffix: str

    @property
    def id(self) -> str:
        """ID of the video."""
        return self.video

    @property
    def segment_folder(self) -> str:
        """Folder of the cleaned segments."""
        return f"segments/{self.video}"

    @property
    def survey_path(self) -> str:
        """Path of the video's survey."""
        return survey_path(self.video)

    @property
    def result_path(self) -> str:
        """Path at which the cleaned video is published."""
        return f"cleaned/{self.video}{self.suffix}"

    def load_overlays(self, output_dir: Path) -> tuple[Overlay, ...]:
        """Read the overlays. Raises OSError or BadInput if they are missing or damaged."""
        return load_overlays(get_published_file(output_dir, overlays_path(self.video)))


VIDEO_PAYLOAD = WorkPayload(VideoWork)


@dataclass(frozen=True)
class PlannedVideo:
    """A video with its work; without segments if it has no overlays."""

    prepared: Prepared
    work: VideoWork
    segments: tuple[Segment, ...]


def make_output_format(picture: PictureFormat) -> PictureFormat:
    """Return the format of the cleaned frames: the source's, with planar samples."""
    return replace(picture, pixel_format=get_planar_format(picture.pixel_format))


def plan_video(prepared: Prepared, options: CleaningOptions, output_dir: Path) -> PlannedVideo:
    """Return the plan for a video.

    Raises InvalidInput if the codec does not support its frames, OSError or BadInput if its survey is unusable.
    """
    settings = choose_encoder(prepared, options)
    digests = prepared.survey_digest, prepared.overlays_digest
    if not prepared.found:
        work = VideoWork(prepared.video, digests, options.method, options.command, settings, prepared.path.suffix)
        return PlannedVideo(prepared, work, ())
    survey = load_survey(get_published_file(output_dir, survey_path(prepared.video)))
    suffix = prepared.containers[settings.codec]
    work = VideoWork(prepared.video, digests, options.method, options.command, settings, suffix)
    return PlannedVideo(prepared, work, plan_segments(survey.timeline, _choose_cut(survey.timeline, options)))


def _choose_cut(timeline: Timeline, options: CleaningOptions) -> Cut:
    """Return how a video is cut. A program holds a whole segment, so its segments are shorter."""
    context = _PROGRAM_CONTEXT_FRAMES if options.method == "command" else count_context_frames(options.method)
    seconds = choose_segment_seconds(timeline, context)
    if options.method == "command":
        seconds = min(seconds, _PROGRAM_SECONDS)
    return Cut(
        count=None if options.segments == "auto" else options.segments,
        seconds=seconds if options.segments == "auto" else None,
        min_segment_frames=options.min_segment_frames,
        context_frames=context,
    )


def choose_encoder(prepared: Prepared, options: CleaningOptions) -> EncoderSettings:
    """Return the encoder of the cleaned frames. Raises InvalidInput if the codec does not support them."""
    picture = make_output_format(prepared.picture)
    try:
        if options.codec == "lossless":
            return choose_lossless_settings(picture)
        settings = EncoderSettings(
            options.codec, crf=_DEFAULT_CRF[options.codec] if options.crf is None else options.crf
        )
        settings.check(picture)
    except ValueError as error:
        allowed = "a codec that supports its frames"
        raise InvalidInput([Problem("--codec", str(error), allowed, "use --codec lossless")]) from error
    return settings
