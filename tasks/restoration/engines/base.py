"""The interface of an engine: the job that it gets, and the report that it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from tasks.media.segments.clock import Clock, build_clock
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.parts import inspect_part
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.plan import Segment
from tasks.media.segments.settings import EncoderSettings, get_ffmpeg_options
from tasks.media.segments.source import Survey
from tasks.media.segments.verify import SegmentReport, verify_segment
from tasks.restoration.chain import Chain

LIMITED_RANGE = 1

# Primaries, transfer and matrix as numbers of ITU-T H.273, grouped as in FFmpeg's colorspace filter. BT.601 has one
# transfer for 625 and 525 lines; the gamma of 2.8 that H.273 lists for 625 lines is that of old screens.
_COLORS = {"bt709": (1, 1, 1), "smpte170m": (6, 6, 6), "bt470bg": (5, 6, 5)}
_NUMBERS = {"bt709": 1, "bt470bg": 5, "smpte170m": 6}
_FIELD_MODES = {"tff": "tff", "bff": "bff", "prog": "progressive"}


@dataclass(frozen=True)
class SegmentJob:
    """One segment to restore.

    source    the video of ``survey``
    segment   planned with ``chain.context_frames``; if ``chain.ratio`` is a fraction, the starts of the segment and
              of its context are multiples of the denominator
    chain     the filters
    settings  the encoder settings
    output    path of the segment file to write, .mp4
    scratch   a temporary folder of the item
    """

    source: Path
    survey: Survey
    segment: Segment
    chain: Chain
    settings: EncoderSettings
    output: Path
    scratch: Path

    @property
    def clock(self) -> Clock:
        """The clock of the whole written video. Raises BadInput if the times of the source are damaged."""
        return build_clock(self.survey.timeline, self.chain.ratio)

    @property
    def part(self) -> Clock:
        """The clock of the frames written for this segment, from 0."""
        return self.clock.part(self.segment.start_frame, self.segment.end_frame)

    @property
    def read(self) -> Clock:
        """The clock of the frames read for this segment, context included, from 0."""
        return build_clock(self.survey.timeline).part(self.segment.read_start, self.segment.read_end)

    @property
    def picture(self) -> PictureFormat:
        """The format of the written frames."""
        return get_written_format(self.chain, self.survey.picture)


class Engine(Protocol):
    """Restores segments, one at a time. It is pickled and sent to a child process."""

    def restore(self, job: SegmentJob) -> SegmentReport:
        """Write ``job.output`` and return a report on it.

        Raises BadInput if the source is damaged, SegmentError if the engine fails or its result is not as planned.
        """
        ...


def get_written_format(chain: Chain, source: PictureFormat) -> PictureFormat:
    """Return the format of the frames that ``chain`` writes for frames of the format ``source``, in limited range.

    Primaries and transfer are those of the last ``setparams`` in the chain, else those that match its matrix.
    """
    primaries, transfer, matrix = _COLORS[chain.color_matrix]
    return PictureFormat(
        width_px=chain.width_px,
        height_px=chain.height_px,
        pixel_format=chain.pixel_format,
        sample_aspect=Fraction(chain.sample_aspect.replace(":", "/")),
        field_order=_get_kept_order(chain, source) if chain.interlaced else "progressive",
        primaries=_NUMBERS.get(_find_last_option(chain, "color_primaries"), primaries),
        transfer=_NUMBERS.get(_find_last_option(chain, "color_trc"), transfer),
        matrix=matrix,
        color_range=LIMITED_RANGE,
    )


def get_encoder_options(job: SegmentJob) -> dict[str, str | None]:
    """Return the options of an ffmpeg that writes the segment file of ``job``."""
    return get_ffmpeg_options(job.settings, job.picture, job.clock)


def verify_output(job: SegmentJob, damaged: Mapping[int, str] | None = None) -> SegmentReport:
    """Return the report on the segment file of ``job``. Raises SegmentError if it is not as planned.

    ``damaged`` comes from ``feed_source``; damaged context frames do not count, since they belong to other segments.
    """
    report = verify_segment(job.output, job.part)
    header, due = inspect_part(job.output).header, job.picture
    actual = f"{header.width_px}x{header.height_px} {header.pixel_format}"
    planned = f"{due.width_px}x{due.height_px} {due.pixel_format}"
    if actual != planned:
        raise SegmentError(f"{job.output.name}: the filters wrote frames of {actual}, but the chain plans {planned}")
    return report.with_damage(damaged or {}, job.segment)


def _get_kept_order(chain: Chain, source: PictureFormat) -> str:
    """Return the field order of kept fields: the last one set in the chain, else that of the source."""
    return _FIELD_MODES.get(_find_last_option(chain, "field_mode"), source.field_order)


def _find_last_option(chain: Chain, name: str) -> str:
    """Return the last value that the chain sets for ``name``, an option of ``setparams``; empty without one."""
    names = {"setparams": name, "setfield": "mode" if name == "field_mode" else ""}
    values = [step.options.get(names.get(step.filter, ""), "") for step in chain.steps]
    return next((value for value in reversed(values) if value not in {"", "auto"}), "")
