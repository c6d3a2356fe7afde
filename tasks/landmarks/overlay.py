"""``--overlay``: the frames of a sample with their landmarks, as a video clip.

Each frame is drawn and encoded as it arrives. The clip is H.264 in MP4, yuv420p, BT.601 as declared in its header, with
a keyframe every two seconds, the index at the front, and no audio. x264 with one thread is reproducible.
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
from tasks.media.contact_sheets import fit_size, paste_centered, resize_image

MAX_SIDE_PX = 640
_SMALL_SIDE_PX = 320  # images up to this size are doubled, because small hands have no room for their bones
_MIN_SIDE_PX = 16  # one macroblock
_TICKS = 90_000  # per second: divisible by nearly all frame rates
_KEY_FRAME_SECONDS = 2.0
# Without B-frames, no edit list delays the first frame. superfast would save a third of the size for another
# millisecond.
_ENCODER = {"preset": "ultrafast", "crf": "26", "bf": "0"}
_JPEG_QUALITY = 90
_GREY = 96
_INK = (235, 235, 235)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class Overlay:
    """Writes ``folder/<name>.mp4``, or ``folder/<name>.jpg`` for a sample of one frame.

    The first readable image sets the size: its longest side is at most ``MAX_SIDE_PX``, small images are doubled, and
    both sides are even. Images of other sizes are fitted into it on black. A bad frame becomes a grey placeholder with
    a message. A frame is displayed at ``time_seconds`` if given, otherwise at its number / ``fps``.
    """

    def __init__(self, folder: Path, name: str, skeleton: Skeleton, fps: float) -> None:
        """Raises ValueError unless ``fps`` (frames per second) is above 0. Writes no file yet."""
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps must be above 0, not {fps}")
        self._path = folder / name
        self._skeleton = skeleton
        self._fps = fps
        self._frames = 0
        self._size: tuple[int, int] | None = None
        self._pending: list[
            tuple[int, float, RgbImage | None]
        ] = []  # bad frames before the size is known, and one image
        self._clip: _Clip | None = None

    def add(self, image: RgbImage | None, points: Points, source: Sources, time_seconds: float | None = None) -> None:
        """Add the next frame; None for an unreadable one. ``points`` and ``source`` are as in ``draw``.

        Times should increase; a frame whose time does not is displayed right after the previous one.
        """
        number, self._frames = self._frames, self._frames + 1
        time = number / self._fps if time_seconds is None else time_seconds
        canvas = None if image is None else self._render(image, points, source, number)
        self._pending.append((number, time, canvas))
        if self._size is not None and self._frames > 1:
            self._write(self._size)

    def close(self) -> Path | None:
        """Finish the file and return its path; None, without a file, if no frame is readable."""
        if self._clip is not None:
            self._clip.close()
            return self._path.with_name(f"{self._path.name}.mp4")
        canvases = [canvas for _, _, canvas in self._pending if canvas is not None]
        if not canvases:
            return None
        path = self._path.with_name(f"{self._path.name}.jpg")
        bgr = cv2.cvtColor(canvases[0], cv2.COLOR_RGB2BGR)
        path.write_bytes(bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]))
        return path

    def _render(self, image: RgbImage, points: Points, source: Sources, number: int) -> RgbImage:
        """Return ``image`` at the clip's size, with its landmarks."""
        if self._size is None:
            self._size = compute_clip_size(image)
        width, height = self._size
        drawn = draw(
            resize_image(image, _compute_shown_size(image, self._size)), points, self._skeleton, source, number
        )
        if drawn.shape[:2] == (height, width):
            return drawn
        canvas = np.zeros((height, width, 3), np.uint8)
        paste_centered(canvas, drawn)
        return canvas

    def _write(self, size: tuple[int, int]) -> None:
        """Encode all pending frames."""
        if self._clip is None:
            self._clip = _Clip(self._path.with_name(f"{self._path.name}.mp4"), size, self._fps)
        for number, time, canvas in self._pending:
            self._clip.write(_draw_placeholder(size, number) if canvas is None else canvas, time)
        self._pending.clear()


def compute_clip_size(image: RgbImage) -> tuple[int, int]:
    """Return the width and height in pixels of a clip with this first image; both are even."""
    height, width = image.shape[:2]
    longest = max(width, height)
    target = 2 * longest if longest <= _SMALL_SIDE_PX else min(longest, MAX_SIDE_PX)
    return _round_to_even(width * target / longest), _round_to_even(height * target / longest)


def _compute_shown_size(image: RgbImage, size: tuple[int, int]) -> tuple[int, int]:
    """Return the size of ``image`` in a clip of ``size``; a deviation of 1 % is stretched to avoid a thin black rim."""
    fitting = fit_size(image, *size)
    rim_px = max(size[0] - fitting[0], size[1] - fitting[1])
    return size if rim_px <= 2 + max(size) / 100 else fitting


def _round_to_even(side_px: float) -> int:
    return max(_MIN_SIDE_PX, 2 * round(side_px / 2))


def _draw_placeholder(size: tuple[int, int], number: int) -> RgbImage:
    """Return the placeholder for an unreadable frame."""
    width, height = size
    placeholder = np.full((height, width, 3), _GREY, np.uint8)
    text = f"frame {number}: not readable"
    (wide, tall), _ = cv2.getTextSize(text, _FONT, 1.0, 1)
    scale = min(0.8, 0.9 * width / wide)
    origin = round((width - wide * scale) / 2), round((height + tall * scale) / 2)
    cv2.putText(placeholder, text, origin, _FONT, scale, _INK, 1, cv2.LINE_AA)
    return placeholder


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
        _declare_colours(self._stream)
        self._duration = max(1, round(_TICKS / fps))
        self._last = -1

    def write(self, canvas: RgbImage, time_seconds: float) -> None:
        planes = np.asarray(cv2.cvtColor(canvas, cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)
        frame = VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.time_base = Fraction(1, _TICKS)
        frame.pts = self._last = max(round(time_seconds * _TICKS), self._last + 1)
        frame.duration = self._duration
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


def _declare_colours(stream: VideoStream) -> None:
    """Declare in the header the colours of OpenCV's conversion: BT.601, limited range."""
    context = stream.codec_context
    context.colorspace = Colorspace.ITU601
    context.color_range = ColorRange.MPEG
    context.color_primaries = ColorPrimaries.SMPTE170M
    context.color_trc = ColorTrc.SMPTE170M
