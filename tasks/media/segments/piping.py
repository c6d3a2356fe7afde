"""Send the frames of a segment to an external ffmpeg, which filters them and writes the segment file.

Frames are sent through a pipe as raw video in NUT, which keeps their times exactly. Filters restore the properties that
NUT does not keep: field order, color, sample aspect. Context frames are filtered, and dropped afterwards.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

import av
import ffmpeg
import imageio_ffmpeg
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tasks.media.segments.clock import Clock
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.picture import PictureFormat, check_frame
from tasks.media.segments.plan import Segment

# FFmpeg always reads, filters and encodes in separate threads; these get no helper threads.
_GLOBAL_OPTIONS = ("-v", "error", "-nostdin", "-hide_banner", "-filter_threads", "1")

_BUFFER_BYTES = 1 << 20
_LOG_BYTES = 2000


def build_first_filters(picture: PictureFormat) -> str:
    """Return the first filters, which restore the properties that the pipe does not keep."""
    mode = {"progressive": "prog", "": "auto"}.get(picture.field_order, picture.field_order)
    color = f"color_primaries={picture.primaries}:color_trc={picture.transfer}:colorspace={picture.matrix}"
    return (
        f"setparams=field_mode={mode}:range={picture.color_range}:{color},setsar=sar={picture.sample_aspect}:max=65535"
    )


def build_last_filters(segment: Segment, ratio: Fraction | int = 1) -> str:
    """Return the last filters, which drop the context and start at time 0.

    ``ratio`` is the number of frames written per frame read by the filters before.
    """
    whole = Clock.written_at(segment.read_start, ratio)
    start = Clock.written_at(segment.start_frame, ratio) - whole
    end = Clock.written_at(segment.end_frame, ratio) - whole
    return f"trim=start_frame={start}:end_frame={end},setpts=PTS-STARTPTS"


def pipe_command(graph: str, output: str, options: Mapping[str, str | None]) -> list[str]:
    """Return the command of an ffmpeg that is fed frames, filters them by ``graph`` and writes them to ``output``.

    ``graph`` may be empty. ``options`` are those of the output, by FFmpeg's names without the hyphen; ``format`` is
    the muxer, and options without a value are None.
    """
    filters = {"vf": graph} if graph else {}
    frames = ffmpeg.input("pipe:0", format="nut", threads=1)
    stream = frames.output(output, **filters, **options).global_args(*_GLOBAL_OPTIONS).overwrite_output()
    command: list[str] = ffmpeg.compile(stream, cmd=imageio_ffmpeg.get_ffmpeg_exe())
    return command


class FramePipe:
    """An ffmpeg process that is fed frames. Use it in a ``with`` block, and write every frame in order.

    ``command`` comes from ``pipe_command``; with the output ``pipe:1`` it writes to the file descriptor ``stdout``,
    which stays open here. Its messages go to ``log``. ``clock`` has the time of each frame to write, from 0:
    ``Clock.part`` of a clock of ratio 1, with the context.
    Leaving the block waits for the program to end. Raises SegmentError with its last message if it failed, or if the
    number of frames differs from the clock's.
    """

    def __init__(
        self,
        command: Sequence[str],
        picture: PictureFormat,
        clock: Clock,
        log: Path,
        stdout: int = subprocess.DEVNULL,
    ) -> None:
        self._picture, self._clock, self._log = picture, clock, log
        self._written, self._has_enough = 0, False
        with log.open("wb") as errors:
            self._process = subprocess.Popen(list(command), stdin=subprocess.PIPE, stdout=stdout, stderr=errors)
        self._stdin = cast("IO[bytes]", self._process.stdin)
        self._container = av.open(_Writer(self._stdin), "w", format="nut", buffer_size=_BUFFER_BYTES)
        self._stream = self._add_stream()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._process.kill()
            self._process.wait()
            # In this order, so that the container flushes into a broken pipe, which is ignored, and not into a closed
            # file, which would hide the original error.
            with suppress(OSError, av.error.FFmpegError):
                self._container.close()
            with suppress(OSError):
                self._stdin.close()

    def write(self, frame: VideoFrame) -> None:
        """Send ``frame`` as the next one. Its time is overwritten by the clock's.

        Raises SegmentError for a frame of another format, for an extra frame, or if the program has failed.
        """
        check_frame(frame, self._picture, f"frame {self._written} for ffmpeg")
        if self._written == len(self._clock):
            raise SegmentError(f"ffmpeg got more than {len(self._clock)} frames")
        frame.pts, frame.time_base = int(self._clock.pts[self._written]), self._clock.time_base
        self._written += 1
        if self._has_enough:
            return
        try:
            self._container.mux(self._stream.encode(frame))
        except (OSError, av.error.FFmpegError) as failed:
            # It may exit without an error before the last context frames, which it does not need.
            if self._process.wait() != 0:
                raise self._make_error() from failed
            self._has_enough = True

    def _finish(self) -> None:
        if self._written != len(self._clock):
            raise SegmentError(f"ffmpeg got {self._written} frames instead of {len(self._clock)}")
        with suppress(OSError, av.error.FFmpegError):  # the exit status is more informative
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._stdin.close()
        if self._process.wait() != 0:
            raise self._make_error()

    def _make_error(self) -> SegmentError:
        """Return the error for a program that has failed or closed its input."""
        self._process.wait()
        text = self._log.read_bytes()[-_LOG_BYTES:].decode("utf-8", errors="replace").strip()
        message = text.splitlines()[-1] if text else "no output"
        return SegmentError(f"ffmpeg ended with exit status {self._process.returncode}: {message}")

    def _add_stream(self) -> VideoStream:
        stream = self._container.add_stream("rawvideo", rate=self._clock.rate)
        context, picture = stream.codec_context, self._picture
        context.width, context.height, context.pix_fmt = picture.width_px, picture.height_px, picture.pixel_format
        context.time_base = stream.time_base = self._clock.time_base
        return stream


class _Writer:
    """A write-only file, so that PyAV does not try to seek in the pipe."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        """Write all of ``data``."""
        return self._file.write(data)
