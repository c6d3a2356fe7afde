"""Converting decoded frames to upright images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
from av.buffer import Buffer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

ImageArray = npt.NDArray[np.uint8]
Turn = tuple[int, int, int, int]
Channels = Literal["bgr24", "rgb24"]

UPRIGHT: Turn = (1, 0, 0, 1)


def read_display_turn(frame: VideoFrame) -> Turn:
    """Return the rotation or reflection for display from the display matrix of ``frame``."""
    data = frame.side_data.get("DISPLAYMATRIX")
    return parse_display_matrix(
        () if data is None else np.frombuffer(bytes(cast("Buffer", data)), dtype=np.int32).tolist()
    )


def parse_display_matrix(matrix: Sequence[int]) -> Turn:
    """Return the signs (a, b, c, d) of a display matrix: (x, y) is shown at (a x + c y, b x + d y).

    The matrix is nine native int32 in row order, a, b, u, c, d, v, x, y, w (libavutil/display.h). An empty matrix, and
    one that does not rotate by a multiple of 90 degrees, count as upright.
    """
    if not matrix:
        return UPRIGHT
    a, b, c, d = (int(np.sign(matrix[position])) for position in (0, 1, 3, 4))
    is_quarter = (a != 0) == (d != 0) and (b != 0) == (c != 0) and (a != 0) != (b != 0)
    return (a, b, c, d) if is_quarter else UPRIGHT


def turn_image(image: ImageArray, turn: Turn) -> ImageArray:
    """Return ``image`` (height x width x 3) rotated or reflected for display; contiguous."""
    a, b, c, d = turn
    if a == 0:  # swap x and y, then reflect each if needed
        image, a, d = image.transpose(1, 0, 2), c, b
    image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image)


class Converter:
    """Converts frames to images on the calling thread. Keeps swscale's tables from one frame to the next."""

    def __init__(self, channels: Channels = "bgr24") -> None:
        self._reformatter = VideoReformatter()
        self._channels: Channels = channels
        self._turn: Turn | None = None
        self._last: tuple[float, bool] = (0.0, False)

    def convert(self, frame: VideoFrame, follows: bool = False) -> ImageArray:
        """Return ``frame`` as an upright image, uint8, height x width x 3, channels in the converter's order.

        ``follows``: the frame directly follows the last converted one in the video.
        Uses the color matrix and range that the frame states, else BT.601 and limited range, like swscale, OpenCV and
        the ffmpeg command. Keeps the stored pixels: no aspect correction, no tone mapping.
        """
        converted = self._reformatter.reformat(frame, format=self._channels, threads=1)
        return turn_image(cast("ImageArray", converted.to_ndarray()), self._get_turn(frame, follows))

    def _get_turn(self, frame: VideoFrame, follows: bool) -> Turn:
        """Return the turn of ``frame``. It changes only at a keyframe, or together with the frame's rotation.

        The display matrix is read only then: PyAV's side data and their frame refer to each other, so that a frame
        whose side data were read stays in memory until Python's next garbage collection, with hundreds of others.
        """
        rotation, last, self._last = frame.rotation, self._last, (frame.rotation, bool(frame.key_frame))
        # If every frame is a keyframe, only the container has a matrix.
        begins_group = self._last[1] and not last[1]
        if self._turn is None or not follows or begins_group or rotation != last[0]:
            self._turn = read_display_turn(frame)
        return self._turn
