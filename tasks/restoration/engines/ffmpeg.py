"""The engine that uses FFmpeg alone: the whole chain in one process with one thread, fed with frames."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.media.segments.piping import build_first_filters, build_last_filters, pipe_command
from tasks.media.segments.verify import SegmentReport
from tasks.restoration.engines.base import SegmentJob, get_encoder_options, verify_output
from tasks.restoration.engines.feeding import feed_source
from tasks.restoration.engines.graph import build_graph, join_graphs, tag_format


@dataclass(frozen=True)
class FfmpegEngine:
    """Runs the filters of the chain in FFmpeg."""

    def restore(self, job: SegmentJob) -> SegmentReport:
        """Write ``job.output`` and return a report on it. Raises BadInput or SegmentError: see ``Engine``."""
        graph = join_graphs(
            build_first_filters(job.survey.picture),
            build_graph(job.chain.steps),
            tag_format(job.picture),
            _time_last_field(job),
            build_last_filters(job.segment, job.chain.ratio),
        )
        command = pipe_command(graph, str(job.output), get_encoder_options(job))
        damaged = feed_source(job, command, job.scratch / "ffmpeg.log")
        return verify_output(job, damaged)


def _time_last_field(job: SegmentJob) -> str:
    """Return the filter that sets the time of the last frame of a bobbed video; empty for other segments.

    Deinterlacers guess it from the frame before, which is wrong if frames are missing or vary in duration.
    """
    segment, ratio = job.segment, job.chain.ratio
    if ratio <= 1 or segment.read_end < len(job.survey.timeline):
        return ""
    clock = job.clock.part(segment.read_start, segment.read_end)
    seconds = int(clock.pts[-1]) * clock.time_base
    return f"setpts='if(eq(N,{len(clock) - 1}),round({seconds.numerator}/{seconds.denominator}/TB),PTS)'"
