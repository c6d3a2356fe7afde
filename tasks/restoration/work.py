"""What is decided about a tape before its segments are restored, and how it travels in an item's payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tasks.media.segments.clock import Clock, output_clock
from tasks.media.segments.plan import Cut, Segment, plan_segments, usual_seconds
from tasks.media.segments.settings import EncoderSettings
from tasks.media.segments.source import Survey, load_survey
from tasks.restoration.chain import Chain
from tasks.restoration.options import EngineName

# Of the frames that are read. A shelf has more tapes than there are slots, so that short segments gain little.
_CONTEXT_SHARE = 0.05


@dataclass(frozen=True)
class TapeWork:
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

    def clock(self, found: Survey) -> Clock:
        """Of the whole restored video."""
        return output_clock(found.timeline, self.chain.ratio)

    def loaded(self, output_dir: Path) -> Survey:
        """The survey. Raises OSError or ValueError where it is gone or damaged."""
        return load_survey(output_dir / self.survey)

    def file(self, segment: Segment) -> str:
        """Where the restored segment is published, relative to the output folder."""
        return f"{self.folder}/{segment.number:04d}.mp4"

    def report(self, segment: Segment) -> str:
        """Where it is said what is in that file."""
        return f"{self.folder}/{segment.number:04d}.json"


_WORK = TypeAdapter(TapeWork)
_SEGMENTS = TypeAdapter(tuple[Segment, ...])


def as_payload(work: TapeWork, segments: Sequence[Segment]) -> dict[str, Any]:
    """``work`` on ``segments`` as JSON values."""
    return {
        "work": _WORK.dump_python(work, mode="json"),
        "segments": _SEGMENTS.dump_python(tuple(segments), mode="json"),
    }


def from_payload(payload: Mapping[str, Any]) -> tuple[TapeWork, tuple[Segment, ...]]:
    """The work and the segments that :func:`as_payload` made ``payload`` of."""
    return _WORK.validate_python(payload["work"]), _SEGMENTS.validate_python(payload["segments"])


def cut_tape(found: Survey, chain: Chain, seconds: float | None = None) -> tuple[Segment, ...]:
    """The segments of a tape: each about ``seconds`` long; by default as is usual.

    Where the chain drops frames by their place, segments begin where its pattern does.
    """
    length = seconds or usual_seconds(found.timeline, chain.context_frames, _CONTEXT_SHARE)
    cut = Cut(seconds=length, context_frames=chain.context_frames, align_frames=chain.ratio.denominator)
    return plan_segments(found.timeline, cut)
