"""Open a video and decode a frame: ``python -m deployments.web.children.probe VIDEO``; prints its properties."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployments.web.children.program import run_program

_MEMORY_BYTES, _CPU_SECONDS = 4 << 30, 600
# The suffix of each demuxer's files, so that a name never depends on the user's.
_SUFFIXES: Mapping[str, str] = {
    "mov,mp4,m4a,3gp,3g2,mj2": ".mp4",
    "matroska,webm": ".mkv",
    "avi": ".avi",
    "mpeg": ".mpg",
    "mpegts": ".ts",
    "mpegvideo": ".m2v",
    "flv": ".flv",
    "ogg": ".ogv",
    "asf": ".wmv",
    "nut": ".nut",
    "mxf": ".mxf",
    "ivf": ".ivf",
    "dv": ".dv",
    "gif": ".gif",
    "h264": ".h264",
    "hevc": ".hevc",
    "m4v": ".m4v",
    "yuv4mpegpipe": ".y4m",
    "mjpeg": ".mjpeg",
    "obu": ".obu",
    "rm": ".rm",
    "swf": ".swf",
    "gxf": ".gxf",
    "wtv": ".wtv",
}


def probe(path: str) -> dict[str, Any]:
    """Return the properties of the video at ``path``. Raises BadInput if it is not a video."""
    from tasks.media.reading import VideoReader

    with VideoReader(Path(path)) as video:
        next(iter(video.read_frames_or_damage([0])), None)
        info = video.info
        return {
            "width": info.width_px,
            "height": info.height_px,
            "seconds": info.duration_seconds,
            "frames": info.frames,
            "suffix": _SUFFIXES[info.container],
        }


if __name__ == "__main__":
    raise SystemExit(run_program(probe, sys.argv[1:], _MEMORY_BYTES, _CPU_SECONDS))
