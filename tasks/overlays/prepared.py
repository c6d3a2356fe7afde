"""A video with its detected overlays, and the paths of the published files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.media.segments.picture import PictureFormat
from tasks.overlays.video_source import VideoSource

_UNNAMED = VideoSource("", "")


@dataclass(frozen=True)
class Prepared:
    """A video whose overlays were detected.

    source      its name and origin
    survey_digest, overlays_digest  sha256 of the two published files
    containers  for each codec, the extension of a container that holds all streams
    found       number of overlays; ``reason`` explains it
    """

    video: str
    path: Path
    survey_digest: str
    overlays_digest: str
    picture: PictureFormat
    containers: Mapping[str, str]
    found: int
    reason: str
    source: VideoSource = _UNNAMED


def survey_path(video: str) -> str:
    """Return the path of the video's survey, relative to the output folder."""
    return f"surveys/{video}.npz"


def overlays_path(video: str) -> str:
    """Return the path of the video's overlays."""
    return f"overlays/{video}.npz"


def mask_path(video: str) -> str:
    """Return the path of the mask image."""
    return f"overlays/{video}.png"
