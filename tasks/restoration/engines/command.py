"""The engine that runs an external program between two FFmpeg processes.

The steps of the chain before its scaling (deinterlacing, denoising, chroma shift) run first. Then the program gets
whole, clean frames. Scaling and the later steps run last. Programs such as Maxine, GFPGAN or Topaz need no code here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tasks.media.programs.images import IMAGE_NAMES
from tasks.media.programs.running import run_program
from tasks.media.segments.clock import Clock
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.piping import build_first_filters, build_last_filters, pipe_command
from tasks.media.segments.plan import Segment
from tasks.media.segments.verify import SegmentReport
from tasks.restoration.chain import Chain, Step
from tasks.restoration.engines.base import SegmentJob, get_encoder_options, verify_output
from tasks.restoration.engines.between import EXACT, convert_from_rgb, fit_size, split_at_scaling, tag_matrix
from tasks.restoration.engines.exchange import ProgramOutput, open_clip, open_images
from tasks.restoration.engines.feeding import feed_frames, feed_source
from tasks.restoration.engines.graph import build_graph, join_graphs, tag_format
from tasks.restoration.engines.template import CommandTemplate

_PASSTHROUGH = {"fps_mode": "passthrough", "an": None}
# FFV1 with checksums, and slices for programs that decode with several threads. PNG compression is fast, not small.
_CLIP = {"format": "matroska", "c:v": "ffv1", "level": "3", "slices": "4", "slicecrc": "1", "threads": "1"}
_IMAGES = {"c:v": "png", "pix_fmt": "rgb24", "compression_level": "1", "threads": "1", "start_number": "0"}


@dataclass(frozen=True)
class CommandEngine:
    """Runs ``template`` for each segment. The slot limits the time.

    A program that reads clips also gets the context frames, since it may use neighboring frames; a program that reads
    images does not.
    """

    template: CommandTemplate

    def restore(self, job: SegmentJob) -> SegmentReport:
        """Write ``job.output`` and return a report on it. Raises BadInput or SegmentError: see ``Engine``."""
        if job.chain.interlaced:
            raise SegmentError("programs need whole frames, but this chain keeps fields: choose a deinterlacer")
        before, after = split_at_scaling(job.chain.steps)
        with TemporaryDirectory(prefix="program-", dir=job.scratch) as folder:
            program_run = _ProgramRun(job, self.template, Path(folder))
            damaged = program_run.prepare(before)
            program_run.run()
            program_run.finish(after)
        return verify_output(job, damaged)


@dataclass(frozen=True)
class _ProgramRun:
    """The processing of one segment by the program; ``folder`` holds all intermediate files."""

    job: SegmentJob
    template: CommandTemplate
    folder: Path

    @property
    def _is_clip(self) -> bool:
        return self.template.form == "clip"

    @property
    def _input(self) -> Path:
        return self.folder / ("given.mkv" if self._is_clip else "given")

    @property
    def _output(self) -> Path:
        """Path of the program's output."""
        return self.folder / ("made.mkv" if self._is_clip else "made")

    def prepare(self, steps: Sequence[Step]) -> Mapping[int, str]:
        """Write the program's input, a clip or a folder of images. Return the damaged frames."""
        tagging = tag_matrix(self.job)  # the conversion to RGB depends on it
        filters, output, options = self._plan_clip() if self._is_clip else self._plan_images()
        graph = join_graphs(build_first_filters(self.job.survey.picture), build_graph((*steps, tagging)), filters)
        command = pipe_command(graph, str(output), _PASSTHROUGH | options)
        return feed_source(self.job, command, self.folder / "before.log")

    def _plan_clip(self) -> tuple[str, Path, dict[str, str]]:
        """Return the last filters, the path and the encoding options of the input clip.

        Frames get times at a constant rate; otherwise programs that expect one may repeat or drop frames.
        """
        rate = self.job.clock.rate
        return f"settb=expr={rate.denominator}/{rate.numerator},setpts=expr=N", self._input, _CLIP

    def _plan_images(self) -> tuple[str, Path, dict[str, str]]:
        """Return the same for images; create the folders for input and output."""
        self._input.mkdir()
        (self._output / self.template.results).mkdir(parents=True)
        graph = join_graphs(
            f"scale=flags={EXACT},format=rgb24", build_last_filters(self.job.segment, self.job.chain.ratio)
        )
        return graph, self._input / IMAGE_NAMES, _IMAGES

    def run(self) -> None:
        """Run the program."""
        chain = self.job.chain
        values = {"input": str(self._input), "output": str(self._output), "fps": f"{float(self.job.clock.rate):.6g}"}
        command = self.template.command.fill(values | {"width": str(chain.width_px), "height": str(chain.height_px)})
        run_program(command, {"TMPDIR": str(self.folder)}, self.folder / "program.log")

    def finish(self, steps: Sequence[Step]) -> None:
        """Run the remaining steps on the program's output, and encode it."""
        job, program = self.job, self.template.command.program
        with self._open_output(program) as output:
            graph = join_graphs(
                build_first_filters(output.picture),
                build_graph((*convert_from_rgb(output.picture, job), *steps, fit_size(job.chain))),
                tag_format(job.picture),
                build_last_filters(_count_written(job)) if self._is_clip else "",
            )
            command = pipe_command(graph, str(job.output), get_encoder_options(job))
            feed_frames(output.frames, output.picture, self._clock, command, self.folder / "after.log")

    def _open_output(self, program: str) -> AbstractContextManager[ProgramOutput]:
        if self._is_clip:
            return open_clip(self._input, self._output, program)
        return open_images(self._input, self._output / self.template.results, program)

    @property
    def _clock(self) -> Clock:
        """The clock of the frames in the program's output."""
        segment = self.job.segment
        return self.job.clock.part(segment.read_start, segment.read_end) if self._is_clip else self.job.part


def estimate_scratch_bytes(chain: Chain, source: PictureFormat, frames: int) -> int:
    """Return the estimated scratch space for a segment of ``frames`` source frames.

    Input frames count at the source's size, output frames at the written size, three bytes per pixel. Lossless files of
    a tape are smaller, unless the program writes larger frames than requested.
    """
    pixels = source.width_px * source.height_px + chain.width_px * chain.height_px
    return int(3 * pixels * frames * chain.ratio)


def _count_written(job: SegmentJob) -> Segment:
    """Return the segment in terms of written frames."""
    segment, ratio = job.segment, job.chain.ratio
    bounds = (segment.start_frame, segment.end_frame, segment.read_start, segment.read_end)
    return Segment(segment.number, *(Clock.written_at(bound, ratio) for bound in bounds))
