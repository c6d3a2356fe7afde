"""The neural engine: an ffmpeg process, the network in this process, and another ffmpeg process.

Frames pass through pipes, a few at a time, so a segment of any length needs no intermediate files.
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
from tasks.media.segments.piping import build_first_filters, build_last_filters, pipe_command
from tasks.media.segments.verify import SegmentReport
from tasks.restoration.chain import Step
from tasks.restoration.engines.base import SegmentJob, get_encoder_options, verify_output
from tasks.restoration.engines.between import EXACT, convert_from_rgb, fit_size, is_deep, split_at_scaling, tag_matrix
from tasks.restoration.engines.exchange import RGB_MATRIX
from tasks.restoration.engines.feeding import feed_frames, feed_source
from tasks.restoration.engines.graph import build_graph, join_graphs, tag_format
from tasks.restoration.engines.neural.tiles import Picture, Tile, plan_tiles, upscale
from tasks.restoration.engines.neural.weights import Device, Weights

if TYPE_CHECKING:
    from tasks.restoration.engines.neural.network import Network

_MIB = 2**20
# Memory of ncnn, its weights and the buffered frames, besides a tile.
_BASE_BYTES = 160 * _MIB
_TILES_BYTES = 640 * _MIB
_RAW = {"format": "nut", "c:v": "rawvideo", "fps_mode": "passthrough", "an": None}


@dataclass(frozen=True)
class NeuralEngine:
    """Upscales each frame by a network before the chain scales it to the written size.

    weights      the network: see ``find_weights``
    device       the device that it runs on
    gpu_index    number of the Vulkan device; None: slots take turns. HEADRACE_GPU overrides it
    threads      CPU threads; one by default, since slots run in parallel
    tiles_bytes  maximum memory per tile, which determines the size of tiles
    """

    weights: Weights
    device: Device = "cpu"
    gpu_index: int | None = None
    threads: int = 1
    tiles_bytes: int = _TILES_BYTES

    @property
    def tile_px(self) -> int:
        """Maximum pixels per tile, including the overlap; at least the minimum for the network."""
        min_px = (2 * self.weights.halo_px + 32) ** 2
        return max(self.tiles_bytes // self.weights.bytes_per_px, min_px)

    @property
    def memory_bytes(self) -> int:
        """Maximum memory per segment besides FFmpeg and the encoder, for frames of any size."""
        files = 4 * sum(path.stat().st_size for path in (self.weights.param, self.weights.model))
        return _BASE_BYTES + files + self.tile_px * self.weights.bytes_per_px

    def restore(self, job: SegmentJob) -> SegmentReport:
        """Write ``job.output`` and return a report on it. Raises BadInput or SegmentError: see ``Engine``."""
        if job.chain.interlaced:
            raise SegmentError("networks need whole frames, but this chain keeps fields: choose a deinterlacer")
        from tasks.restoration.engines.neural.network import open_network  # ncnn is an extra

        before, after = split_at_scaling(job.chain.steps)
        network = open_network(self.weights, self.device, self.gpu_index, self.threads)
        with _open_source(job, before) as source:
            upscaler = _Upscaler(source.frames, network, self)
            first = next(upscaler, None)
            if first is None:
                source.read_damage()  # raises the cause, if it is known
                raise SegmentError("ffmpeg sent no frame to the network")
            _encode(job, after, chained([first], upscaler), _get_format(first))
            upscaler.log_failures()
            return verify_output(job, source.read_damage())


def _encode(job: SegmentJob, steps: Sequence[Step], frames: Iterable[VideoFrame], picture: PictureFormat) -> None:
    """Run the remaining steps on the upscaled frames, and write the segment."""
    graph = join_graphs(
        build_first_filters(picture),
        build_graph((*convert_from_rgb(picture, job), *steps, fit_size(job.chain))),
        tag_format(job.picture),
    )
    command = pipe_command(graph, str(job.output), get_encoder_options(job))
    feed_frames(frames, picture, job.part, command, job.scratch / "after.log")


class _Upscaler(Iterator[VideoFrame]):
    """Iterates over the upscaled ``frames``."""

    def __init__(self, frames: Iterator[VideoFrame], network: Network, engine: NeuralEngine) -> None:
        self._frames, self._network, self._engine = frames, network, engine
        self._tiles: list[Tile] = []
        self._count = self._broken = 0

    def __next__(self) -> VideoFrame:
        frame = next(self._frames)
        weights = self._engine.weights
        if not self._tiles:
            self._tiles = plan_tiles(frame.height, frame.width, weights.halo_px, self._engine.tile_px)
        upscaled = upscale(cast("Picture", frame.to_ndarray()), self._tiles, weights.scale, self._network.run)
        self._count += 1
        self._broken += upscaled.broken_tiles > 0
        return VideoFrame.from_ndarray(upscaled.picture, format=frame.format.name)

    def log_failures(self) -> None:
        """Write failures of the network to the item's log."""
        if self._broken:
            name = self._engine.weights.name
            sys.stderr.write(f"{name} failed on parts of {self._broken} of {self._count} frames, which were\n")
            sys.stderr.write("interpolated bicubically instead\n")


@dataclass(frozen=True)
class _Source:
    """RGB frames after the first steps of the chain; ``feeding`` is the task that feeds the segment to them."""

    frames: Iterator[VideoFrame]
    feeding: Future[Mapping[int, str]]

    def read_damage(self) -> Mapping[int, str]:
        """Return the result of ``feed_source``, or raise its error. Call it after the last frame."""
        return self.feeding.result()


@contextmanager
def _open_source(job: SegmentJob, steps: Sequence[Step]) -> Iterator[_Source]:
    """Open the frames of ``job``'s segment after ``steps``. Reading them raises earlier errors.

    Another thread feeds ffmpeg; it ends when the frames are no longer read.
    """
    rgb = "rgb48le" if is_deep(job.chain) else "rgb24"
    graph = join_graphs(
        build_first_filters(job.survey.picture),
        build_graph((*steps, tag_matrix(job))),
        f"scale=flags={EXACT},format={rgb}",
        build_last_filters(job.segment, job.chain.ratio),
    )
    receiving, sending = os.pipe()
    with ThreadPoolExecutor(1, "feeding") as pool, os.fdopen(receiving, "rb", buffering=0) as file:
        feeding = pool.submit(_feed, job, pipe_command(graph, "pipe:1", _RAW), sending)
        with closing(_read_frames(file, feeding)) as frames:
            yield _Source(frames, feeding)


def _feed(job: SegmentJob, command: Sequence[str], sending: int) -> Mapping[int, str]:
    # The pipe stays open until the result is set, so that the reader of its end can ask for it.
    try:
        return feed_source(job, command, job.scratch / "before.log", sending)
    finally:
        os.close(sending)


def _read_frames(file: IO[bytes], feeding: Future[Mapping[int, str]]) -> Generator[VideoFrame]:
    """Yield the frames from the pipe. Raises the error of ``feeding``, if any."""
    try:
        with open_pipe(file) as container:
            yield from container.decode(video=0)
    except av.error.FFmpegError as error:
        feeding.result()
        raise SegmentError(f"the frames for the network cannot be read: {error}") from error
    feeding.result()


def _get_format(frame: VideoFrame) -> PictureFormat:
    return PictureFormat(frame.width, frame.height, frame.format.name, matrix=RGB_MATRIX, color_range=FULL_RANGE)
