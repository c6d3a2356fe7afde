"""The plan for one tape: how it is restored, and how it is cut."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tasks.media.segment_stages.work import SegmentedWork, WorkPayload
from tasks.media.segments.plan import Cut, Segment, choose_segment_seconds, plan_segments
from tasks.media.segments.settings import EncoderSettings
from tasks.media.segments.source import Survey
from tasks.restoration.chain import Chain
from tasks.restoration.options import EngineName

# Of the frames that are read. Most runs have more tapes than slots, so short segments gain little.
_CONTEXT_SHARE = 0.05


@dataclass(frozen=True)
class TapeWork(SegmentedWork):
    """How one tape is restored. Plain values: it is stored in payloads as JSON.

    tape      ID of the tape
    folder    folder of its restored segments, relative to the output folder
    survey    path of its survey, relative to the output folder
    digest    sha256 of the survey, so that the keys depend on it
    identity  identity of the engine, besides FFmpeg: the command of a program, the digest of a network; else empty
    suffix    extension of the restored file
    preset    name of the preset from which the chain was built
    """

    tape: str
    folder: str
    survey: str
    digest: str
    chain: Chain
    encoder: EncoderSettings
    engine: EngineName
    identity: str
    suffix: str
    preset: str

    @property
    def id(self) -> str:
        """ID of the tape."""
        return self.tape

    @property
    def segment_folder(self) -> str:
        """Folder of the restored segments."""
        return self.folder

    @property
    def survey_path(self) -> str:
        """Path of the tape's survey."""
        return self.survey

    @property
    def result_path(self) -> str:
        """Path at which the restored tape is published."""
        return f"restored/{self.tape}{self.suffix}"

    @property
    def frame_ratio(self) -> Fraction:
        """Frames written per frame read."""
        return self.chain.ratio


TAPE_PAYLOAD = WorkPayload(TapeWork)


def cut_tape(survey: Survey, chain: Chain, seconds: float | None = None) -> tuple[Segment, ...]:
    """Return the segments of a tape, each about ``seconds`` long (default: see ``choose_segment_seconds``).

    If the chain drops frames in a pattern, segments begin where the pattern begins.
    """
    length = seconds or choose_segment_seconds(survey.timeline, chain.context_frames, _CONTEXT_SHARE)
    cut = Cut(seconds=length, context_frames=chain.context_frames, align_frames=chain.ratio.denominator)
    return plan_segments(survey.timeline, cut)
