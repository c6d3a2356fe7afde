"""The seam between the flow and what restores a segment: what an engine is given, and what it has to leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from tasks.media.segments.clock import Clock, output_clock
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.parts import inspect_part
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.plan import Segment
from tasks.media.segments.settings import EncoderSettings, ffmpeg_encoder_options
from tasks.media.segments.source import Survey
from tasks.media.segments.verify import SegmentReport, verify_segment
from tasks.restoration.chain import Chain

LIMITED_RANGE = 1

# Primaries, transfer and matrix in the numbers of ITU-T H.273, as FFmpeg's filter colorspace groups them. BT.601 has
# one transfer for 625 and 525 lines; the gamma of 2.8 that H.273 also knows for 625 lines is that of old screens.
_COLORS = {"bt709": (1, 1, 1), "smpte170m": (6, 6, 6), "bt470bg": (5, 6, 5)}
_NUMBERS = {"bt709": 1, "bt470bg": 5, "smpte170m": 6}
_FIELD_MODES = {"tff": "tff", "bff": "bff", "prog": "progressive"}


@dataclass(frozen=True)
class SegmentJob:
    """One segment to restore.

    source    the video that ``found`` was made of
    segment   of it, planned with ``chain.context_frames``; where ``chain.ratio`` is no whole number, beginning at a
              multiple of its denominator, and its context, too
    chain     what is done to the frames
    settings  how they are encoded
    output    the segment file to write, .mp4
    scratch   a folder of the item, which is thrown away
    """

    source: Path
    found: Survey
    segment: Segment
    chain: Chain
    settings: EncoderSettings
    output: Path
    scratch: Path

    @property
    def clock(self) -> Clock:
        """Of the whole video that is written. Raises BadInput where the source's times are damaged."""
        return output_clock(self.found.timeline, self.chain.ratio)

    @property
    def part(self) -> Clock:
        """Of the frames that are written for this segment, from 0."""
        return self.clock.part(self.segment.start_frame, self.segment.end_frame)

    @property
    def read(self) -> Clock:
        """Of the frames that are read for this segment with its context, from 0."""
        return output_clock(self.found.timeline).part(self.segment.read_start, self.segment.read_end)

    @property
    def picture(self) -> PictureFormat:
        """The format of the frames that are written."""
        return written_format(self.chain, self.found.picture)


class Engine(Protocol):
    """Restores segments, one at a time. Pickled on its way to the process that does it."""

    def restore(self, job: SegmentJob) -> SegmentReport:
        """Write ``job.output`` and say what is in it.

        Raises BadInput where the source is damaged, SegmentError where the work failed or is not what it must be.
        """
        ...


def written_format(chain: Chain, source: PictureFormat) -> PictureFormat:
    """The format of the frames that ``chain`` makes of frames of the format ``source``: in limited range.

    Primaries and transfer are those that its last ``setparams`` names, else those that go with its matrix.
    """
    primaries, transfer, matrix = _COLORS[chain.color_matrix]
    return PictureFormat(
        width_px=chain.width_px,
        height_px=chain.height_px,
        pixel_format=chain.pixel_format,
        sample_aspect=Fraction(chain.sample_aspect.replace(":", "/")),
        field_order=_kept_order(chain, source) if chain.interlaced else "progressive",
        primaries=_NUMBERS.get(_last_said(chain, "color_primaries"), primaries),
        transfer=_NUMBERS.get(_last_said(chain, "color_trc"), transfer),
        matrix=matrix,
        color_range=LIMITED_RANGE,
    )


def encoder_options(job: SegmentJob) -> dict[str, str | None]:
    """Return the options of an ffmpeg that writes the segment file of ``job``."""
    return ffmpeg_encoder_options(job.settings, job.picture, job.clock)


def checked(job: SegmentJob, damaged: Mapping[int, str] | None = None) -> SegmentReport:
    """The report on what was written for ``job``. Raises SegmentError where it is not what it must be.

    ``damaged`` is what ``feed_source`` gave; frames of the context do not count, they are another segment's.
    """
    report = verify_segment(job.output, job.part)
    header, due = inspect_part(job.output).header, job.picture
    given = f"{header.width_px}x{header.height_px} {header.pixel_format}"
    planned = f"{due.width_px}x{due.height_px} {due.pixel_format}"
    if given != planned:
        raise SegmentError(f"{job.output.name}: the filters made pictures of {given}, and the chain says {planned}")
    return report.with_damage(damaged or {}, job.segment)


def _kept_order(chain: Chain, source: PictureFormat) -> str:
    """Which field is first where fields are kept: as the chain's last word on it says, else as the source says."""
    return _FIELD_MODES.get(_last_said(chain, "field_mode"), source.field_order)


def _last_said(chain: Chain, name: str) -> str:
    """The last value that the chain gives frames for ``name``, an option of ``setparams``; empty without one."""
    names = {"setparams": name, "setfield": "mode" if name == "field_mode" else ""}
    said = [step.options.get(names.get(step.filter, ""), "") for step in chain.steps]
    return next((value for value in reversed(said) if value not in {"", "auto"}), "")
