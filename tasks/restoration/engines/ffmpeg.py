"""The engine that needs nothing but FFmpeg: all of a chain in one process, fed with frames, on one thread."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.media.segments.piping import first_filters, last_filters
from tasks.media.segments.verify import SegmentReport
from tasks.restoration.engines.base import SegmentJob, checked, encoder_arguments
from tasks.restoration.engines.feeding import feed_source
from tasks.restoration.engines.graph import ffmpeg_command, graph_text, joined, naming_filters


@dataclass(frozen=True)
class FfmpegEngine:
    """Runs the chain's filters as they are."""

    def restore(self, job: SegmentJob) -> SegmentReport:
        """Write ``job.output`` and say what is in it. Raises BadInput or SegmentError, as ``Engine`` says."""
        graph = joined(
            first_filters(job.found.picture),
            graph_text(job.chain.steps),
            naming_filters(job.picture),
            last_filters(job.segment, job.chain.ratio),
        )
        command = ffmpeg_command(graph, [*encoder_arguments(job), str(job.output)])
        damaged = feed_source(job, command, job.scratch / "ffmpeg.log")
        return checked(job, damaged)
