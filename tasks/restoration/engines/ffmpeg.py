"""The engine that needs nothing but FFmpeg: all of a chain in one process, fed with frames, on one thread."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.media.segments.piping import first_filters, last_filters, pipe_command
from tasks.media.segments.verify import SegmentReport
from tasks.restoration.engines.base import SegmentJob, checked, encoder_options
from tasks.restoration.engines.feeding import feed_source
from tasks.restoration.engines.graph import graph_text, joined, naming_filters


@dataclass(frozen=True)
class FfmpegEngine:
    """Runs the chain's filters as they are."""

    def restore(self, job: SegmentJob) -> SegmentReport:
        """Write ``job.output`` and say what is in it. Raises BadInput or SegmentError, as ``Engine`` says."""
        graph = joined(
            first_filters(job.found.picture),
            graph_text(job.chain.steps),
            naming_filters(job.picture),
            _last_field_timed(job),
            last_filters(job.segment, job.chain.ratio),
        )
        command = pipe_command(graph, str(job.output), encoder_options(job))
        damaged = feed_source(job, command, job.scratch / "ffmpeg.log")
        return checked(job, damaged)


def _last_field_timed(job: SegmentJob) -> str:
    """The filter that gives the very last frame of a bobbed video its time; empty for other segments.

    Deinterlacers guess it from the frame before, which goes wrong where frames are missing, or are not equally long.
    """
    segment, ratio = job.segment, job.chain.ratio
    if ratio <= 1 or segment.read_end < len(job.found.timeline):
        return ""
    made = job.clock.part(segment.read_start, segment.read_end)
    seconds = int(made.pts[-1]) * made.time_base
    return f"setpts='if(eq(N,{len(made) - 1}),round({seconds.numerator}/{seconds.denominator}/TB),PTS)'"
