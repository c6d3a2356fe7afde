"""Converting decoded frames to upright images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
from av.buffer import Buffer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from tasks.media.tone_mapping import HLG, PQ, map_tones

ImageArray = npt.NDArray[np.uint8]  # uint16 if ImageOptions.depth is 16
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


@dataclass(frozen=True)
class ImageOptions:
    """Options of the conversion to images; by default, pixels are those that are stored.

    deinterlace  interpolate the lines of one field of interlaced frames
    map_tones    convert HDR (PQ and HLG) to SDR
    depth        bits per channel: 8 (uint8) or 16 (uint16, scaled by range)
    alpha        keep a fourth channel
    """

    deinterlace: bool = False
    map_tones: bool = False
    depth: int = 8
    alpha: bool = False


STORED = ImageOptions()


# FFmpeg's names by depth above 8 bits and alpha.
_RGB_FORMATS = {(False, False): "rgb24", (False, True): "rgba", (True, False): "rgb48le", (True, True): "rgba64le"}


def deinterlace(frame: VideoFrame) -> VideoFrame:
    """Return ``frame`` with the lines of its second field interpolated from the first one, by FFmpeg's filter estdif.

    It uses this frame only, so it works for single frames.
    """
    graph = Graph()
    base = frame.time_base or Fraction(1, 25)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
    graph.link_nodes(source, graph.add("estdif", "mode=frame:parity=auto:deint=all"), graph.add("buffersink"))
    graph.configure()
    graph.push(frame)
    graph.push(None)
    return cast("VideoFrame", graph.pull())


class Converter:
    """Converts frames to images on the calling thread. Keeps swscale's tables from one frame to the next."""

    def __init__(self, channels: Channels = "bgr24", options: ImageOptions = STORED) -> None:
        self._reformatter = VideoReformatter()
        self._options = options
        self._channels: Channels = channels
        self._turn: Turn | None = None
        self._last: tuple[float, bool] = (0.0, False)

    def convert(self, frame: VideoFrame, follows: bool = False) -> ImageArray:
        """Return ``frame`` as an upright image, uint8, height x width x 3, channels in the converter's order.

        ``follows``: the frame directly follows the last converted one in the video.
        Uses the color matrix and range that the frame states, else BT.601 and limited range, like swscale, OpenCV and
        the ffmpeg command. Keeps the stored pixels: no aspect correction, no tone mapping.
        """
        turn = self._get_turn(frame, follows)
        if self._options != STORED:
            return turn_image(self._convert_specially(frame), turn)
        converted = self._reformatter.reformat(frame, format=self._channels, threads=1)
        return turn_image(cast("ImageArray", converted.to_ndarray()), turn)

    @property
    def swaps_axes(self) -> bool:
        """True if the last converted image is rotated by 90 or 270 degrees."""
        return self._turn is not None and self._turn[0] == 0

    def _convert_specially(self, frame: VideoFrame) -> ImageArray:
        """Return the image of a frame by the options: height x width x 3 or 4, in the converter's order."""
        options = self._options
        if options.deinterlace and frame.interlaced_frame:
            frame = deinterlace(frame)
        is_hdr = options.map_tones and frame.color_trc in {PQ, HLG}
        deep = options.depth == 16 or is_hdr
        name = _RGB_FORMATS[deep, options.alpha]
        image = self._reformatter.reformat(frame, format=name, threads=1).to_ndarray()
        if is_hdr:
            mapped = map_tones(
                image[..., :3].astype(np.float32) / np.float32(65535), frame.color_trc, frame.color_primaries
            )
            image = np.concatenate([np.rint(mapped * 65535).astype(image.dtype), image[..., 3:]], axis=2)
        if deep and options.depth == 8:
            image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
        if self._channels == "bgr24":
            image = image[..., [2, 1, 0, 3][: image.shape[2]]]
        return cast("ImageArray", image)

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
