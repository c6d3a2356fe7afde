"""Perceptual hashes: images that look alike have hashes that differ in few bits."""

from __future__ import annotations

import cv2
import numpy as np

from tasks.media.orientation import ImageArray

_SIDE_PX = 32  # of the thumbnail that pHash transforms
_GRID_PX = 128  # pixels that it averages; averaging all pixels of a large image would take longer than encoding it
_MIN_DEVIATION = 4.0  # gray levels; the hash of a flatter image is that of its noise


def compute_phash(image: ImageArray) -> str | None:
    """Return OpenCV's pHash of an image (height x width x 3 or 4, BGR) as 16 hex digits.

    None if the image has too little texture: all black images are alike. The thumbnail averages pixels on a regular
    grid, so the hash hardly depends on the size of the image.
    """
    sample = cv2.resize(image, (_GRID_PX, _GRID_PX), interpolation=cv2.INTER_NEAREST_EXACT)[..., :3]
    if sample.dtype != np.uint8:
        sample = np.right_shift(sample, 8, dtype=np.uint16).astype(np.uint8)
    gray = cv2.cvtColor(sample, cv2.COLOR_BGR2GRAY)
    thumbnail = cv2.resize(gray, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    if cv2.meanStdDev(thumbnail)[1][0, 0] < _MIN_DEVIATION:
        return None
    return np.asarray(cv2.img_hash.pHash(thumbnail), dtype=np.uint8).tobytes().hex()
