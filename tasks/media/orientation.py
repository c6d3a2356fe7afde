"""From a decoded frame to an upright picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
from av.buffer import Buffer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

Picture = npt.NDArray[np.uint8]
Turn = tuple[int, int, int, int]
Channels = Literal["bgr24", "rgb24"]

UPRIGHT: Turn = (1, 0, 0, 1)


def display_turn(frame: VideoFrame) -> Turn:
    """How ``frame`` is to be turned to be shown, as its display matrix says."""
    data = frame.side_data.get("DISPLAYMATRIX")
    return matrix_turn(() if data is None else np.frombuffer(bytes(cast("Buffer", data)), dtype=np.int32).tolist())


def matrix_turn(matrix: Sequence[int]) -> Turn:
    """The signs (a, b, c, d) of a display matrix: (x, y) is shown at (a x + c y, b x + d y).

    The matrix is nine native int32 in row order, a, b, u, c, d, v, x, y, w (libavutil/display.h). What turns by
    anything but a quarter, or says nothing, counts as upright.
    """
    if not matrix:
        return UPRIGHT
    a, b, c, d = (int(np.sign(matrix[position])) for position in (0, 1, 3, 4))
    is_quarter = (a != 0) == (d != 0) and (b != 0) == (c != 0) and (a != 0) != (b != 0)
    return (a, b, c, d) if is_quarter else UPRIGHT


def turned(picture: Picture, turn: Turn) -> Picture:
    """``picture`` (height x width x 3) as it is meant to be seen; contiguous."""
    a, b, c, d = turn
    if a == 0:  # x and y change places, then each keeps or loses its direction
        picture, a, d = picture.transpose(1, 0, 2), c, b
    picture = picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(picture)


class Converter:
    """Turns frames into pictures on the calling thread. Keeps swscale's tables from one frame to the next."""

    def __init__(self, channels: Channels = "bgr24") -> None:
        self._reformatter = VideoReformatter()
        self._channels: Channels = channels
        self._turn: Turn | None = None
        self._last: tuple[float, bool] = (0.0, False)

    def picture(self, frame: VideoFrame, follows: bool = False) -> Picture:
        """``frame`` upright, uint8, height x width x 3, the channels in the order that was asked for.

        ``follows``: it is the one that comes after the last in the video.
        The colour matrix and range are those that the frame names; where it names none, BT.601 and limited range, as
        swscale, OpenCV and the ffmpeg command do. Pixels stay as they are stored: no other aspect, no tone mapping.
        """
        converted = self._reformatter.reformat(frame, format=self._channels, threads=1)
        return turned(cast("Picture", converted.to_ndarray()), self._turn_of(frame, follows))

    def _turn_of(self, frame: VideoFrame, follows: bool) -> Turn:
        """How to turn ``frame``. A matrix that says something else comes with a keyframe, or with another rotation.

        It is looked up no more often than that: PyAV's side data and their frame refer to each other, so that a frame
        that was asked for them lives on until Python looks for such rings, with hundreds of others.
        """
        rotation, last, self._last = frame.rotation, self._last, (frame.rotation, bool(frame.key_frame))
        begins_group = (
            self._last[1] and not last[1]
        )  # where every frame is a keyframe, the container alone has a matrix
        if self._turn is None or not follows or begins_group or rotation != last[0]:
            self._turn = display_turn(frame)
        return self._turn
