"""Open the frames of one sample, in display order: an image folder or a video."""

from __future__ import annotations

from pathlib import Path

from tasks.landmarks.frame_images import ImageFrames
from tasks.landmarks.frame_source import Frame, FrameSource
from tasks.landmarks.frame_videos import VideoFrames

__all__ = ["Frame", "FrameSource", "open_frames"]


def open_frames(
    path: Path, media: str, fps: float | None, start: float | None = None, end: float | None = None
) -> FrameSource:
    """Open the frames at ``path``: an image folder displayed at ``fps`` (25 if None), or a video with its own times.

    ``start`` and ``end`` limit a video to a part of it, in seconds. Raises BadInput if there are no frames,
    TransientError if the file system failed.
    """
    return VideoFrames(path, start, end) if media == "video" else ImageFrames(path, fps)
