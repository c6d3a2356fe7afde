"""A segment on its way through a network: an ffmpeg before it, the network in this process, an ffmpeg behind it.

Nothing is written in between: frames go through pipes, a few at a time, whatever the segment's length.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain as chained
from typing import IO, TYPE_CHECKING, cast

import av
from av.video.frame import VideoFrame

from tasks.media.opening import open_pipe
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.picture import FULL_RANGE, PictureFormat
from tasks.media.segments.piping import first_filters, last_filters, pipe_command
from tasks.media.segments.verify import SegmentReport
from tasks.restoration.chain import Step
from tasks.restoration.engines.base import SegmentJob, checked, encoder_options
from tasks.restoration.engines.between import EXACT, fitting, from_rgb, is_deep, split_at_scaling, taken_matrix
from tasks.restoration.engines.exchange import RGB_MATRIX
from tasks.restoration.engines.feeding import feed, feed_source
from tasks.restoration.engines.graph import graph_text, joined, naming_filters
from tasks.restoration.engines.neural.tiles import Picture, Tile, enlarge, plan_tiles
from tasks.restoration.engines.neural.weights import Device, Weights

if TYPE_CHECKING:
    from tasks.restoration.engines.neural.network import Network

_MIB = 2**20
# What ncnn, its weights and frames on their way take beside a tile.
_BASE_BYTES = 160 * _MIB
_TILES_BYTES = 640 * _MIB
_RAW = {"format": "nut", "c:v": "rawvideo", "fps_mode": "passthrough", "an": None}


@dataclass(frozen=True)
class NeuralEngine:
    """Lets a network enlarge each frame where the chain would scale; scaling to the written size comes after it.

    weights      which network: ``find_weights``
    device       where it runs
    gpu_index    with vulkan, the number of the device; None: slots take turns. HEADRACE_GPU overrides it
    threads      on the CPU; one, where slots give the parallelism
    tiles_bytes  what a tile may take: how large tiles are follows from it
    """

    weights: Weights
    device: Device = "cpu"
    gpu_index: int | None = None
    threads: int = 1
    tiles_bytes: int = _TILES_BYTES

    @property
    def tile_px(self) -> int:
        """The most pixels of a tile, those included that it shares with others; never too few for the network."""
        least = (2 * self.weights.halo_px + 32) ** 2
        return max(self.tiles_bytes // self.weights.bytes_per_px, least)

    @property
    def memory_bytes(self) -> int:
        """What a segment takes at most beside FFmpeg and the encoder, whatever the size of its picture."""
        files = 4 * sum(path.stat().st_size for path in (self.weights.param, self.weights.model))
        return _BASE_BYTES + files + self.tile_px * self.weights.bytes_per_px

    def restore(self, job: SegmentJob) -> SegmentReport:
        """Write ``job.output`` and say what is in it. Raises BadInput or SegmentError, as ``Engine`` says."""
        if job.chain.interlaced:
            raise SegmentError("a network is given whole frames, and this chain keeps fields: choose a deinterlacer")
        from tasks.restoration.engines.neural.network import open_network  # ncnn is an extra

        before, after = split_at_scaling(job.chain.steps)
        network = open_network(self.weights, self.device, self.gpu_index, self.threads)
        with _opened(job, before) as source:
            made = _Enlarging(source.frames, network, self)
            first = next(made, None)
            if first is None:
                source.damaged()  # says why, where it knows
                raise SegmentError("ffmpeg gave the network no frame")
            _encode(job, after, chained([first], made), _picture(first))
            made.tell()
            return checked(job, source.damaged())


def _encode(job: SegmentJob, steps: Sequence[Step], frames: Iterable[VideoFrame], picture: PictureFormat) -> None:
    """Put what the network made through the other steps, and write the segment."""
    graph = joined(
        first_filters(picture),
        graph_text((*from_rgb(picture, job), *steps, fitting(job.chain))),
        naming_filters(job.picture),
    )
    command = pipe_command(graph, str(job.output), encoder_options(job))
    feed(frames, picture, job.part, command, job.scratch / "after.log")


class _Enlarging(Iterator[VideoFrame]):
    """Frames as the network makes them of ``frames``."""

    def __init__(self, frames: Iterator[VideoFrame], network: Network, engine: NeuralEngine) -> None:
        self._frames, self._network, self._engine = frames, network, engine
        self._tiles: list[Tile] = []
        self._count = self._broken = 0

    def __next__(self) -> VideoFrame:
        frame = next(self._frames)
        weights = self._engine.weights
        if not self._tiles:
            self._tiles = plan_tiles(frame.height, frame.width, weights.halo_px, self._engine.tile_px)
        made = enlarge(cast("Picture", frame.to_ndarray()), self._tiles, weights.scale, self._network.run)
        self._count += 1
        self._broken += made.broken_tiles > 0
        return VideoFrame.from_ndarray(made.picture, format=frame.format.name)

    def tell(self) -> None:
        """Say in the item's log where the network broke."""
        if self._broken:
            name = self._engine.weights.name
            sys.stderr.write(
                f"{name} made no picture of parts of {self._broken} of {self._count} frames: enlarged by\n"
            )
            sys.stderr.write("cubic interpolation instead\n")


@dataclass(frozen=True)
class _Source:
    """Frames as RGB, after the first steps of the chain; ``feeding`` is what puts the segment through them."""

    frames: Iterator[VideoFrame]
    feeding: Future[Mapping[int, str]]

    def damaged(self) -> Mapping[int, str]:
        """What ``feed_source`` gives. To be asked when the frames have come to their end. Raises what it raises."""
        return self.feeding.result()


@contextmanager
def _opened(job: SegmentJob, steps: Sequence[Step]) -> Iterator[_Source]:
    """The frames of ``job``'s segment after ``steps``. What goes wrong before them is raised by the frames.

    Another thread feeds ffmpeg. It ends by itself where nobody reads on.
    """
    rgb = "rgb48le" if is_deep(job.chain) else "rgb24"
    graph = joined(
        first_filters(job.found.picture),
        graph_text((*steps, taken_matrix(job))),
        f"scale=flags={EXACT},format={rgb}",
        last_filters(job.segment, job.chain.ratio),
    )
    receiving, sending = os.pipe()
    with ThreadPoolExecutor(1, "feeding") as pool, os.fdopen(receiving, "rb", buffering=0) as file:
        feeding = pool.submit(_feed, job, pipe_command(graph, "pipe:1", _RAW), sending)
        with closing(_received(file, feeding)) as frames:
            yield _Source(frames, feeding)


def _feed(job: SegmentJob, command: Sequence[str], sending: int) -> Mapping[int, str]:
    # Open here until it is known how it ended, so that whoever sees the end of the pipe can ask.
    try:
        return feed_source(job, command, job.scratch / "before.log", sending)
    finally:
        os.close(sending)


def _received(file: IO[bytes], feeding: Future[Mapping[int, str]]) -> Generator[VideoFrame]:
    """The frames that come through the pipe. Raises what ``feeding`` raised, where it did."""
    try:
        with open_pipe(file) as container:
            yield from container.decode(video=0)
    except av.error.FFmpegError as error:
        feeding.result()
        raise SegmentError(f"the frames for the network cannot be read: {error}") from error
    feeding.result()


def _picture(frame: VideoFrame) -> PictureFormat:
    return PictureFormat(frame.width, frame.height, frame.format.name, matrix=RGB_MATRIX, color_range=FULL_RANGE)
