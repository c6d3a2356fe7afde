"""The format of the frames of a video."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tasks.media.segments.errors import SegmentError

# FFmpeg's AVFieldOrder. 4 and 5 are interleaved fields: the ffmpeg command uses 4 for top field first, and its muxers
# read it in this way.
_FIELD_ORDERS = {1: "progressive", 2: "tff", 3: "bff", 4: "tff", 5: "bff"}
_FIELD_NUMBERS = {"progressive": 1, "tff": 2, "bff": 3}
UNSPECIFIED = 2
FULL_RANGE = 2


@dataclass(frozen=True)
class PictureFormat:
    """The format of stored frames.

    pixel_format    FFmpeg's name; yuv420p for yuvj420p, whose range is in ``color_range``
    sample_aspect   width of a pixel over its height; 1 if unspecified
    field_order     progressive, tff (top field first), bff; empty if unspecified
    primaries, transfer, matrix   numbers of ITU-T H.273; 2 is unspecified
    color_range     1 limited, 2 full, 0 unspecified
    """

    width_px: int
    height_px: int
    pixel_format: str
    sample_aspect: Fraction = Fraction(1)
    field_order: str = ""
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    color_range: int = 0

    @property
    def is_interlaced(self) -> bool:
        """True if a frame consists of two fields with different times."""
        return self.field_order in {"tff", "bff"}

    @property
    def field_number(self) -> int:
        """FFmpeg's number of the field order."""
        return _FIELD_NUMBERS.get(self.field_order, 0)


def read_frame_format(stream: VideoStream) -> PictureFormat:
    """Return the format of the frames of ``stream``; it is complete after a frame has been decoded."""
    context = stream.codec_context
    return PictureFormat(
        width_px=context.width,
        height_px=context.height,
        pixel_format=drop_range(context.pix_fmt or ""),
        sample_aspect=stream.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1),
        field_order=_FIELD_ORDERS.get(context.field_order, ""),
        primaries=context.color_primaries,
        transfer=context.color_trc,
        matrix=context.colorspace,
        color_range=FULL_RANGE if (context.pix_fmt or "").startswith("yuvj") else context.color_range,
    )


def check_frame(frame: VideoFrame, picture: PictureFormat, what: str) -> None:
    """Raise SegmentError if ``frame``, called ``what``, has another format: PyAV would convert it silently."""
    actual = f"{frame.width}x{frame.height} {frame.format.name}"
    due = f"{picture.width_px}x{picture.height_px} {picture.pixel_format}"
    if actual != due:
        raise SegmentError(f"{what} is {actual}, not {due}")


def drop_range(pixel_format: str) -> str:
    """Return the name of a pixel format without its range: yuvj420p is yuv420p in full range."""
    return pixel_format.replace("yuvj", "yuv", 1)
