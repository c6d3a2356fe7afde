"""What a video's frames have in common, and containers and encoders must be told."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tasks.media.segments.errors import SegmentError

# FFmpeg's AVFieldOrder. 4 and 5 are fields that lie line by line in one frame: the ffmpeg command gives 4 to frames
# whose top field comes first, and its muxers read it so.
_FIELD_ORDERS = {1: "progressive", 2: "tff", 3: "bff", 4: "tff", 5: "bff"}
_FIELD_NUMBERS = {"progressive": 1, "tff": 2, "bff": 3}
UNSPECIFIED = 2
FULL_RANGE = 2


@dataclass(frozen=True)
class PictureFormat:
    """The format of a video's frames, as they are stored.

    pixel_format    FFmpeg's name; yuv420p for yuvj420p, whose range is in ``color_range``
    sample_aspect   width of a pixel by its height; 1 where the video does not say
    field_order     progressive, tff (top field first), bff; empty where the video does not say
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
        """Whether a frame is two fields of different times."""
        return self.field_order in {"tff", "bff"}

    @property
    def field_number(self) -> int:
        """The field order as FFmpeg numbers it."""
        return _FIELD_NUMBERS.get(self.field_order, 0)


def picture_format(stream: VideoStream) -> PictureFormat:
    """The format of what ``stream`` decodes to; complete when a frame of it was decoded."""
    context = stream.codec_context
    return PictureFormat(
        width_px=context.width,
        height_px=context.height,
        pixel_format=plain_name(context.pix_fmt or ""),
        sample_aspect=stream.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1),
        field_order=_FIELD_ORDERS.get(context.field_order, ""),
        primaries=context.color_primaries,
        transfer=context.color_trc,
        matrix=context.colorspace,
        color_range=FULL_RANGE if (context.pix_fmt or "").startswith("yuvj") else context.color_range,
    )


def check_frame(frame: VideoFrame, picture: PictureFormat, what: str) -> None:
    """Raises SegmentError where ``frame``, which is ``what``, is not in that format: PyAV would convert it, untold."""
    given = f"{frame.width}x{frame.height} {frame.format.name}"
    due = f"{picture.width_px}x{picture.height_px} {picture.pixel_format}"
    if given != due:
        raise SegmentError(f"{what} is {given}, not {due}")


def plain_name(pixel_format: str) -> str:
    """The name of a pixel format without the range in it: yuvj420p is yuv420p in full range."""
    return pixel_format.replace("yuvj", "yuv", 1)
