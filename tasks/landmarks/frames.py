"""The frames of one sample, in the order in which they are shown: out of a folder of pictures or a video."""

from __future__ import annotations

from pathlib import Path

from tasks.landmarks.frame_pictures import PictureFrames
from tasks.landmarks.frame_source import Frame, FrameSource
from tasks.landmarks.frame_videos import VideoFrames

__all__ = ["Frame", "FrameSource", "open_frames"]


def open_frames(path: Path, media: str, fps: float | None) -> FrameSource:
    """The frames at ``path``: a folder of pictures shown at ``fps`` (25 where None), or a video at its own times.

    Raises BadInput where there are none, TransientError where the file system failed.
    """
    return VideoFrames(path) if media == "video" else PictureFrames(path, fps)
