"""The engine for everything else: a program of the user's, between two runs of FFmpeg.

What a chain has before its scaling (fields, noise, colour shifts) is done first; then the program sees whole, clean
frames; scaling to the written size and what comes after it is done last. So Maxine, GFPGAN, Topaz and whatever
comes next need no code here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tasks.media.programs.pictures import PICTURE_NAMES
from tasks.media.programs.running import run_program
from tasks.media.segments.clock import Clock
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.piping import first_filters, last_filters, pipe_command
from tasks.media.segments.plan import Segment
from tasks.media.segments.verify import SegmentReport
from tasks.restoration.chain import Chain, Step
from tasks.restoration.engines.base import SegmentJob, checked, encoder_options
from tasks.restoration.engines.between import EXACT, fitting, from_rgb, split_at_scaling, taken_matrix
from tasks.restoration.engines.exchange import Made, opened_clip, opened_pictures
from tasks.restoration.engines.feeding import feed, feed_source
from tasks.restoration.engines.graph import graph_text, joined, naming_filters
from tasks.restoration.engines.template import CommandTemplate

_PASSTHROUGH = {"fps_mode": "passthrough", "an": None}
# FFV1 with checksums, and slices for programs that decode on several threads; small PNG files are not worth the time.
_CLIP = {"format": "matroska", "c:v": "ffv1", "level": "3", "slices": "4", "slicecrc": "1", "threads": "1"}
_PICTURES = {"c:v": "png", "pix_fmt": "rgb24", "compression_level": "1", "threads": "1", "start_number": "0"}


@dataclass(frozen=True)
class CommandEngine:
    """Runs ``template`` for each segment, without a time-out: that is the slot's.

    A program that takes clips sees the frames of the context, too, since it may look around; one that takes
    pictures does not.
    """

    template: CommandTemplate

    def restore(self, job: SegmentJob) -> SegmentReport:
        """Write ``job.output`` and say what is in it. Raises BadInput or SegmentError, as ``Engine`` says."""
        if job.chain.interlaced:
            raise SegmentError("a program is given whole frames, and this chain keeps fields: choose a deinterlacer")
        before, after = split_at_scaling(job.chain.steps)
        with TemporaryDirectory(prefix="program-", dir=job.scratch) as folder:
            errand = _Errand(job, self.template, Path(folder))
            damaged = errand.prepare(before)
            errand.run()
            errand.finish(after)
        return checked(job, damaged)


@dataclass(frozen=True)
class _Errand:
    """One segment on its way through the program; all files between are in ``folder``."""

    job: SegmentJob
    template: CommandTemplate
    folder: Path

    @property
    def _is_clip(self) -> bool:
        return self.template.form == "clip"

    @property
    def _given(self) -> Path:
        return self.folder / ("given.mkv" if self._is_clip else "given")

    @property
    def _room(self) -> Path:
        """Where the program is to write."""
        return self.folder / ("made.mkv" if self._is_clip else "made")

    def prepare(self, steps: Sequence[Step]) -> Mapping[int, str]:
        """Write what the program is given: a clip, or a folder of pictures. Returns the frames that are damaged."""
        named = taken_matrix(self.job)  # RGB is made of the colours by it
        filters, output, options = self._clip() if self._is_clip else self._pictures()
        graph = joined(first_filters(self.job.found.picture), graph_text((*steps, named)), filters)
        command = pipe_command(graph, str(output), _PASSTHROUGH | options)
        return feed_source(self.job, command, self.folder / "before.log")

    def _clip(self) -> tuple[str, Path, dict[str, str]]:
        """The last filters of the clip that is given, and how it is written.

        Frames get times of an even rate: a program that counts on one would else repeat or drop some.
        """
        rate = self.job.clock.rate
        return f"settb=expr={rate.denominator}/{rate.numerator},setpts=expr=N", self._given, _CLIP

    def _pictures(self) -> tuple[str, Path, dict[str, str]]:
        """The same for pictures; makes their folder, and the one for what is made of them."""
        self._given.mkdir()
        (self._room / self.template.results).mkdir(parents=True)
        graph = joined(f"scale=flags={EXACT},format=rgb24", last_filters(self.job.segment, self.job.chain.ratio))
        return graph, self._given / PICTURE_NAMES, _PICTURES

    def run(self) -> None:
        """Run the program."""
        chain = self.job.chain
        values = {"input": str(self._given), "output": str(self._room), "fps": f"{float(self.job.clock.rate):.6g}"}
        command = self.template.command.filled(values | {"width": str(chain.width_px), "height": str(chain.height_px)})
        run_program(command, {"TMPDIR": str(self.folder)}, self.folder / "program.log")

    def finish(self, steps: Sequence[Step]) -> None:
        """Put what the program made through the other steps, and encode it."""
        job, who = self.job, self.template.command.program
        with self._made(who) as made:
            graph = joined(
                first_filters(made.picture),
                graph_text((*from_rgb(made.picture, job), *steps, fitting(job.chain))),
                naming_filters(job.picture),
                last_filters(_as_written(job)) if self._is_clip else "",
            )
            command = pipe_command(graph, str(job.output), encoder_options(job))
            feed(made.frames, made.picture, self._clock, command, self.folder / "after.log")

    def _made(self, who: str) -> AbstractContextManager[Made]:
        if self._is_clip:
            return opened_clip(self._given, self._room, who)
        return opened_pictures(self._given, self._room / self.template.results, who)

    @property
    def _clock(self) -> Clock:
        """When the frames that the program made are shown."""
        segment = self.job.segment
        return self.job.clock.part(segment.read_start, segment.read_end) if self._is_clip else self.job.part


def scratch_bytes(chain: Chain, source: PictureFormat, frames: int) -> int:
    """About how much room a segment of ``frames`` frames of the source takes while a program works on it.

    As much as the pixels that go in at the source's size and come out at the written one, three bytes each, which is
    more than lossless files of a tape take, unless the program writes a larger picture than was asked for.
    """
    pixels = source.width_px * source.height_px + chain.width_px * chain.height_px
    return int(3 * pixels * frames * chain.ratio)


def _as_written(job: SegmentJob) -> Segment:
    """The segment counted in frames that are written."""
    segment, ratio = job.segment, job.chain.ratio
    bounds = (segment.start_frame, segment.end_frame, segment.read_start, segment.read_end)
    return Segment(segment.number, *(Clock.written_at(bound, ratio) for bound in bounds))
