"""Perceptual hashes: images that look alike have hashes that differ in few bits."""

from __future__ import annotations

import cv2
import numpy as np

from tasks.media.orientation import ImageArray

_SIDE_PX = 32  # of the thumbnail that pHash transforms
_MIN_DEVIATION = 4.0  # gray levels; the hash of a flatter image is that of its noise


def compute_phash(image: ImageArray) -> str | None:
    """Return OpenCV's pHash of an image (height x width x 3 or 4, BGR) as 16 hex digits.

    None if the image has too little texture: all black images are alike. The thumbnail averages areas, so the hash does
    not depend on the size of the image.
    """
    if image.dtype != np.uint8:
        image = (image >> 8).astype(np.uint8)
    thumbnail = cv2.resize(image, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(thumbnail[..., :3], cv2.COLOR_BGR2GRAY)
    if float(gray.std()) < _MIN_DEVIATION:
        return None
    return np.asarray(cv2.img_hash.pHash(gray), dtype=np.uint8).tobytes().hex()
