"""The plan for one tape: how it is restored, and how it is cut."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tasks.media.segment_stages.work import SegmentedWork, WorkPayload
from tasks.media.segments.plan import Cut, Segment, plan_segments, usual_seconds
from tasks.media.segments.settings import EncoderSettings
from tasks.media.segments.source import Survey
from tasks.restoration.chain import Chain
from tasks.restoration.options import EngineName

# Of the frames that are read. A shelf has more tapes than there are slots, so that short segments gain little.
_CONTEXT_SHARE = 0.05


@dataclass(frozen=True)
class TapeWork(SegmentedWork):
    """How one tape is restored. Plain values: it goes through payloads as JSON.

    tape     its id
    folder   of its restored segments, relative to the output folder
    survey   where the survey of it was published, relative to the output folder
    digest   sha256 of that file: what was learnt of the tape enters the keys of what is made of it
    identity  of what the engine works with beside FFmpeg: a program's command, a network's digest; empty for nothing
    suffix   of the restored file
    preset   by which the chain was built
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


def cut_tape(found: Survey, chain: Chain, seconds: float | None = None) -> tuple[Segment, ...]:
    """The segments of a tape: each about ``seconds`` long; by default as is usual.

    Where the chain drops frames by their place, segments begin where its pattern does.
    """
    length = seconds or usual_seconds(found.timeline, chain.context_frames, _CONTEXT_SHARE)
    cut = Cut(seconds=length, context_frames=chain.context_frames, align_frames=chain.ratio.denominator)
    return plan_segments(found.timeline, cut)
