"""``--overlay``: the frames of a sample with their landmarks drawn on them, as a clip that plays everywhere.

Each frame is drawn and encoded when it comes; none is kept. H.264 in MP4, yuv420p, BT.601 as its header says, a key
frame every two seconds, the index in front, no sound. x264 on one thread gives the same bytes for the same frames.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from tasks.landmarks.drawing import draw
from tasks.landmarks.points import Skeleton
from tasks.landmarks.sequence import Points, RgbImage, Sources
from tasks.media.sheets import fitting_size, paste, scaled

LONGEST_SIDE_PX = 640
_SMALL_SIDE_PX = 320  # up to here a picture is shown at twice its size: a hand of 20 pixels has no room for its bones
_LEAST_SIDE_PX = 16  # one block of the encoder
_TICKS = 90_000  # a second: whole for nearly every frame rate in use
_KEY_FRAME_SECONDS = 2.0
# Without B frames, no edit list delays the first frame. superfast takes a third off the size, and a millisecond more.
_ENCODER = {"preset": "ultrafast", "crf": "26", "bf": "0"}
_JPEG_QUALITY = 90
_GREY = 96
_INK = (235, 235, 235)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class Overlay:
    """Writes ``folder/<name>.mp4``; for a sample of one frame, ``folder/<name>.jpg``.

    The first readable picture sets the size: its longest side at most ``LONGEST_SIDE_PX``, twice its own for a small
    one, both sides even. Pictures of another size are fitted into it on black. A frame that is bad is a grey card
    that says so. A frame is shown at ``time_seconds`` where that is given, else at its number / ``fps``.
    """

    def __init__(self, folder: Path, name: str, skeleton: Skeleton, fps: float) -> None:
        """Raises ValueError where ``fps``, in frames a second, is not above 0. Writes nothing yet."""
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps must be above 0, not {fps}")
        self._path = folder / name
        self._skeleton = skeleton
        self._fps = fps
        self._frames = 0
        self._size: tuple[int, int] | None = None
        self._held: list[tuple[int, float, RgbImage | None]] = []  # bad frames before the size is known, and one page
        self._clip: _Clip | None = None

    def add(self, image: RgbImage | None, points: Points, source: Sources, time_seconds: float | None = None) -> None:
        """The next frame; None for one that could not be read. ``points`` and ``source`` are as ``draw`` takes them.

        Times rise from frame to frame; one that does not is shown right after the one before it.
        """
        number, self._frames = self._frames, self._frames + 1
        time = number / self._fps if time_seconds is None else time_seconds
        page = None if image is None else self._page(image, points, source, number)
        self._held.append((number, time, page))
        if self._size is not None and self._frames > 1:
            self._write(self._size)

    def close(self) -> Path | None:
        """Finish the file and say which it is; None, and no file, where no frame could be read."""
        if self._clip is not None:
            self._clip.close()
            return self._path.with_name(f"{self._path.name}.mp4")
        pages = [page for _, _, page in self._held if page is not None]
        if not pages:
            return None
        path = self._path.with_name(f"{self._path.name}.jpg")
        bgr = cv2.cvtColor(pages[0], cv2.COLOR_RGB2BGR)
        path.write_bytes(bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]))
        return path

    def _page(self, image: RgbImage, points: Points, source: Sources, number: int) -> RgbImage:
        """``picture`` at the clip's size, drawn on."""
        if self._size is None:
            self._size = clip_size(image)
        width, height = self._size
        drawn = draw(scaled(image, _shown_size(image, self._size)), points, self._skeleton, source, number)
        if drawn.shape[:2] == (height, width):
            return drawn
        page = np.zeros((height, width, 3), np.uint8)
        paste(page, drawn)
        return page

    def _write(self, size: tuple[int, int]) -> None:
        """Encode what is held."""
        if self._clip is None:
            self._clip = _Clip(self._path.with_name(f"{self._path.name}.mp4"), size, self._fps)
        for number, time, page in self._held:
            self._clip.write(_card(size, number) if page is None else page, time)
        self._held.clear()


def clip_size(image: RgbImage) -> tuple[int, int]:
    """Width and height in pixels of the clip whose first picture this is; both are even."""
    height, width = image.shape[:2]
    longest = max(width, height)
    wanted = 2 * longest if longest <= _SMALL_SIDE_PX else min(longest, LONGEST_SIDE_PX)
    return _even(width * wanted / longest), _even(height * wanted / longest)


def _shown_size(image: RgbImage, size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of ``picture`` in a clip of ``size``: stretched by a hundredth rather than with a thin rim."""
    fitting = fitting_size(image, *size)
    rim_px = max(size[0] - fitting[0], size[1] - fitting[1])
    return size if rim_px <= 2 + max(size) / 100 else fitting


def _even(side_px: float) -> int:
    return max(_LEAST_SIDE_PX, 2 * round(side_px / 2))


def _card(size: tuple[int, int], number: int) -> RgbImage:
    """What stands for a frame that could not be read."""
    width, height = size
    card = np.full((height, width, 3), _GREY, np.uint8)
    text = f"frame {number}: not readable"
    (wide, tall), _ = cv2.getTextSize(text, _FONT, 1.0, 1)
    scale = min(0.8, 0.9 * width / wide)
    origin = round((width - wide * scale) / 2), round((height + tall * scale) / 2)
    cv2.putText(card, text, origin, _FONT, scale, _INK, 1, cv2.LINE_AA)
    return card


class _Clip:
    """One H.264 stream in one MP4 file."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        rate = Fraction(fps).limit_denominator(1001)
        self._stream: VideoStream = self._container.add_stream("libx264", rate=rate, options=_ENCODER)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.thread_count = 1  # more would change the bytes, and take cores from other slots
        self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._stream.codec_context.gop_size = max(1, round(fps * _KEY_FRAME_SECONDS))
        _name_colours(self._stream)
        self._duration = max(1, round(_TICKS / fps))
        self._last = -1

    def write(self, page: RgbImage, time_seconds: float) -> None:
        planes = np.asarray(cv2.cvtColor(page, cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)
        frame = VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.time_base = Fraction(1, _TICKS)
        frame.pts = self._last = max(round(time_seconds * _TICKS), self._last + 1)
        frame.duration = self._duration
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


def _name_colours(stream: VideoStream) -> None:
    """Say in the header what OpenCV's conversion gives: BT.601, limited range."""
    context = stream.codec_context
    context.colorspace = Colorspace.ITU601
    context.color_range = ColorRange.MPEG
    context.color_primaries = ColorPrimaries.SMPTE170M
    context.color_trc = ColorTrc.SMPTE170M
