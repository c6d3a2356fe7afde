"""Feeding frames to an external ffmpeg; its messages go to the item's log and into the error if it fails."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from av.video.frame import VideoFrame

from tasks.media.programs.running import copy_to_item_log, read_tail
from tasks.media.segments.clock import Clock
from tasks.media.segments.errors import SegmentError
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.piping import FramePipe
from tasks.media.segments.reading import SegmentReader
from tasks.restoration.engines.base import SegmentJob

_COMPONENT = re.compile(r"^\[[^\]]* @ 0x[0-9a-f]+\] ")


def feed_source(
    job: SegmentJob, command: Sequence[str], log: Path, stdout: int = subprocess.DEVNULL
) -> Mapping[int, str]:
    """Feed the frames of ``job``'s segment, with their context, to ``command``, as ``feed_frames`` does.

    Returns the damaged frames by their index in the video, each with one clause; the survey tolerates damage.
    Raises BadInput if frames cannot be read, SegmentError if the command fails.
    """
    with SegmentReader(job.source, job.survey) as reader:
        frames = (read.frame for read in reader.frames(job.segment))
        feed_frames(frames, job.survey.picture, job.read, command, log, stdout)
        for index, damage in sorted(reader.damaged.items()):
            sys.stderr.write(f"{job.source.name}: frame {index}: {damage}\n")
        return dict(reader.damaged)


def feed_frames(
    frames: Iterable[VideoFrame],
    picture: PictureFormat,
    clock: Clock,
    command: Sequence[str],
    log: Path,
    stdout: int = subprocess.DEVNULL,
) -> None:
    """Feed ``frames``, of the format ``picture`` and with the times of ``clock``, to ``command``.

    Its messages go to ``log`` and to the item's log, its standard output to the file descriptor ``stdout``.
    Raises SegmentError if it fails.
    """
    try:
        with FramePipe(command, picture, clock, log, stdout) as pipe:
            for frame in frames:
                pipe.write(frame)
    except SegmentError as error:
        raise SegmentError(f"{error}{_find_cause(log)}") from error
    finally:
        copy_to_item_log(log)


def _find_cause(log: Path) -> str:
    """Return ffmpeg's first message, which is the cause of the others, without the name of the component."""
    lines = [line for line in read_tail(log).splitlines() if line.strip()] if log.is_file() else []
    return f"; its first message: {_COMPONENT.sub('', lines[0])}" if len(lines) > 1 else ""
