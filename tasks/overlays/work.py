"""The plan for one video: how it is cleaned, and how it is cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.stage import get_published_file
from tasks.media.segment_stages.work import SegmentedWork, WorkPayload
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.plan import Cut, Segment, plan_segments, usual_seconds
from tasks.media.segments.settings import Codec, EncoderSettings, lossless_settings
from tasks.media.segments.source import load_survey
from tasks.media.timeline import Timeline
from tasks.overlays.components import planar_name
from tasks.overlays.options import CleaningOptions, Method
from tasks.overlays.overlay import Overlay, load_overlays
from tasks.overlays.prepared import Prepared, overlays_path, survey_path
from tasks.overlays.removal.base import context_frames

# What nobody tells from the source.
_USUAL_CRF: Mapping[Codec, float] = {"x264": 16, "x265": 18, "svtav1": 20}
# Programs that fill from other frames look about so far (ProPainter: ten, and one in ten of all); and how long the
# segments are that they are given.
_PROGRAM_CONTEXT_FRAMES, _PROGRAM_SECONDS = 10, 10.0


@dataclass(frozen=True)
class VideoWork(SegmentedWork):
    """How one video is cleaned. Plain values: it goes through payloads as JSON.

    video     its id
    digests   sha256 of its survey and of what lies over it: what was learnt of it enters the keys of what is made
    command   the program of that method, with its arguments; empty for the others
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
        """Read the overlays. Raises OSError, ValueError or KeyError if they are missing or damaged."""
        return load_overlays(get_published_file(output_dir, overlays_path(self.video)))


VIDEO_PAYLOAD = WorkPayload(VideoWork)


@dataclass(frozen=True)
class PlannedVideo:
    """A video with its work; without segments where nothing lies over it."""

    prepared: Prepared
    work: VideoWork
    segments: tuple[Segment, ...]


def written_picture(picture: PictureFormat) -> PictureFormat:
    """The format of the cleaned frames: that of the source, in planes."""
    return replace(picture, pixel_format=planar_name(picture.pixel_format))


def plan_video(known: Prepared, options: CleaningOptions, output_dir: Path) -> PlannedVideo:
    """What is to be done about a video.

    Raises InvalidInput where the codec cannot take its frames, OSError or ValueError where its survey is gone.
    """
    settings = encoder_settings(known, options)
    digests = known.survey_digest, known.overlays_digest
    if not known.found:
        work = VideoWork(known.video, digests, options.method, options.command, settings, known.path.suffix)
        return PlannedVideo(known, work, ())
    found = load_survey(get_published_file(output_dir, survey_path(known.video)))
    suffix = known.containers[settings.codec]
    work = VideoWork(known.video, digests, options.method, options.command, settings, suffix)
    return PlannedVideo(known, work, plan_segments(found.timeline, _cut(found.timeline, options)))


def _cut(timeline: Timeline, options: CleaningOptions) -> Cut:
    """How a video is cut. A program holds a whole segment, so that its own are shorter."""
    context = _PROGRAM_CONTEXT_FRAMES if options.method == "command" else context_frames(options.method)
    seconds = usual_seconds(timeline, context)
    if options.method == "command":
        seconds = min(seconds, _PROGRAM_SECONDS)
    return Cut(
        count=None if options.segments == "auto" else options.segments,
        seconds=seconds if options.segments == "auto" else None,
        min_segment_frames=options.min_segment_frames,
        context_frames=context,
    )


def encoder_settings(known: Prepared, options: CleaningOptions) -> EncoderSettings:
    """How the cleaned frames are encoded. Raises InvalidInput where the codec cannot take them."""
    picture = written_picture(known.picture)
    try:
        if options.codec == "lossless":
            return lossless_settings(picture)
        settings = EncoderSettings(options.codec, crf=_USUAL_CRF[options.codec] if options.crf is None else options.crf)
        settings.check(picture)
    except ValueError as error:
        allowed = "a codec that takes its frames as they are"
        raise InvalidInput([Problem("--codec", str(error), allowed, "use --codec lossless")]) from error
    return settings
