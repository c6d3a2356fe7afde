"""What is decided about a tape before its segments are restored, and how it travels in an item's payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tasks.media.segments.clock import Clock, output_clock
from tasks.media.segments.plan import Cut, Segment, plan_segments
from tasks.media.segments.settings import EncoderSettings
from tasks.media.segments.source import Survey, load_survey
from tasks.restoration.chain import Chain
from tasks.restoration.options import EngineName


@dataclass(frozen=True)
class TapeWork:
    """How one tape is restored. Plain values: it goes through payloads as JSON.

    tape     its id
    survey   where the survey of it was published, relative to the output folder
    digest   sha256 of that file: what was learnt of the tape enters the keys of what is made of it
    suffix   of the restored file
    """

    tape: str
    survey: str
    digest: str
    chain: Chain
    encoder: EncoderSettings
    engine: EngineName
    suffix: str

    def clock(self, found: Survey) -> Clock:
        """Of the whole restored video."""
        return output_clock(found.timeline, self.chain.ratio)

    def loaded(self, output_dir: Path) -> Survey:
        """The survey. Raises OSError or ValueError where it is gone or damaged."""
        return load_survey(output_dir / self.survey)

    def file(self, segment: Segment) -> str:
        """Where the restored segment is published, relative to the output folder."""
        return f"segments/{self.tape}/{segment.number:04d}.mp4"

    def report(self, segment: Segment) -> str:
        """Where it is said what is in that file."""
        return f"segments/{self.tape}/{segment.number:04d}.json"


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


def cut_tape(found: Survey, chain: Chain, seconds: float | None, slots: int) -> tuple[Segment, ...]:
    """The segments of a tape: each about ``seconds`` long, or as suits so many ``slots``.

    Where the chain drops frames by their place, segments begin where its pattern does.
    """
    align = chain.ratio.denominator
    return plan_segments(
        found.timeline, Cut(seconds=seconds, slots=slots, context_frames=chain.context_frames, align_frames=align)
    )
