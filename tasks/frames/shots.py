"""Detect shots with PySceneDetect, on frames that the exact reader gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2

from tasks.media.reading import DamagedFrame

if TYPE_CHECKING:
    from tasks.media.reading import VideoReader

_WIDTH_PX = 256  # of the images that are compared, as PySceneDetect chooses by default


def detect_cuts(reader: VideoReader) -> list[int]:
    """Return the index of the first frame of each shot but the first, from a decode of the whole video.

    Damaged frames are not compared. Raises UnreliableIndexError as ``read_frames_or_damage`` does.
    """
    from scenedetect import AdaptiveDetector, FrameTimecode

    detector = AdaptiveDetector()
    rate = reader.info.fps
    cuts: list[int] = []
    for frame in reader.read_frames_or_damage():
        if isinstance(frame, DamagedFrame):
            continue
        height, width = frame.image.shape[:2]
        scale = min(1.0, _WIDTH_PX / width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = cv2.resize(frame.image, size, interpolation=cv2.INTER_LINEAR)
        time = FrameTimecode(frame.frame_index, fps=rate)
        cuts += [cut.frame_num for cut in detector.process_frame(time, image)]
    return sorted(cuts)
