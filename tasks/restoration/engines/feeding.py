"""Frames on their way into an external ffmpeg; what it says is in the item's log, and in the error where it fails."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from av.video.frame import VideoFrame

from tasks.media.programs.running import tail, tell
from tasks.media.segments.clock import Clock
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.piping import FramePipe
from tasks.media.segments.reading import SegmentReader
from tasks.restoration.engines.base import SegmentJob

_WHO = re.compile(r"^\[[^\]]* @ 0x[0-9a-f]+\] ")


def feed_source(
    job: SegmentJob, command: Sequence[str], log: Path, stdout: int = subprocess.DEVNULL
) -> Mapping[int, str]:
    """Put the frames of ``job``'s segment, with their context, through ``command``, as ``feed`` does.

    Returns which of them are damaged, by their rank in the video, and how, in one clause; the survey tolerates that.
    Raises BadInput where they cannot be read, SegmentError where the command fails.
    """
    with SegmentReader(job.source, job.found) as reader:
        frames = (read.frame for read in reader.frames(job.segment))
        feed(frames, job.found.picture, job.read, command, log, stdout)
        for index, damage in sorted(reader.damaged.items()):
            sys.stderr.write(f"{job.source.name}: frame {index}: {damage}\n")
        return dict(reader.damaged)


def feed(
    frames: Iterable[VideoFrame],
    picture: PictureFormat,
    clock: Clock,
    command: Sequence[str],
    log: Path,
    stdout: int = subprocess.DEVNULL,
) -> None:
    """Put ``frames``, of the format ``picture`` and shown when ``clock`` says, through ``command``.

    What it says goes to ``log``, and to the item's log; what it writes to its standard output goes to the file
    descriptor ``stdout``. Raises SegmentError where it fails.
    """
    try:
        with FramePipe(command, picture, clock, log, stdout) as pipe:
            for frame in frames:
                pipe.write(frame)
    except SegmentError as error:
        raise SegmentError(f"{error}{_cause(log)}") from error
    finally:
        tell(log)


def _cause(log: Path) -> str:
    """The first thing that ffmpeg said, which is why it said the others; who of it said so is of no use."""
    lines = [line for line in tail(log).splitlines() if line.strip()] if log.is_file() else []
    return f"; first it said: {_WHO.sub('', lines[0])}" if len(lines) > 1 else ""
