"""What is known of a video before its segments are cleaned, and where that lies in the output folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.media.segments.picture import PictureFormat
from tasks.overlays.video_source import VideoSource

_UNNAMED = VideoSource("", "")


@dataclass(frozen=True)
class Prepared:
    """A video whose overlays are found.

    source      its name and where it is from
    survey_digest, overlays_digest  sha256 of the two published files
    containers  for each codec, the extension of the file that holds all of the video's streams
    found       how many overlays there are; ``reason``: why so many
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
    """Where the survey of the video with that id is published, relative to the output folder."""
    return f"surveys/{video}.npz"


def overlays_path(video: str) -> str:
    """Where it is published what lies over it."""
    return f"overlays/{video}.npz"


def mask_path(video: str) -> str:
    """Where the picture of that is published."""
    return f"overlays/{video}.png"
