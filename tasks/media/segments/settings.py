"""How segments are encoded: the same way in each, so that their packets can follow one another in one stream.

Every group of pictures is closed, headers do not depend on content, and one thread is used unless more are asked for.
The same settings serve PyAV and an external ffmpeg; segments of one video must all come from the same of the two, for
their encoders may be of different versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import av

from tasks.media.segments.clock import Clock
from tasks.media.segments.codecs import Codec
from tasks.media.segments.picture import PictureFormat

ENCODERS: Mapping[Codec, str] = {"x264": "libx264", "x265": "libx265", "svtav1": "libsvtav1", "ffv1": "ffv1"}
# Fields of their own that a decoder gets back as they were.
_INTERLACED: frozenset[Codec] = frozenset({"x264", "ffv1"})


@dataclass(frozen=True)
class EncoderSettings:
    """How to encode.

    crf, preset   as the encoder understands them; ``None`` for its own choice; ffv1 has neither
    gop_frames    a keyframe at least every so many frames; every frame of ffv1 is one
    options       further options of the encoder, by the names that FFmpeg has for them; x264-params and the like are
                  added to those that segments need
    """

    codec: Codec
    crf: float | None = None
    preset: str | None = None
    gop_frames: int = 250
    threads: int = 1
    options: tuple[tuple[str, str], ...] = ()

    @property
    def encoder(self) -> str:
        """FFmpeg's name of the encoder."""
        return ENCODERS[self.codec]

    def check(self, picture: PictureFormat) -> None:
        """Raises ValueError where the encoder cannot take such pictures."""
        formats = [known.name for known in av.codec.Codec(self.encoder, "w").video_formats or []]
        if picture.pixel_format not in formats:
            raise ValueError(f"{self.codec} takes no {picture.pixel_format}; it takes {', '.join(formats)}")
        if picture.is_interlaced and self.codec not in _INTERLACED:
            raise ValueError(f"{self.codec} cannot keep fields; deinterlace, or use {' or '.join(sorted(_INTERLACED))}")


# H.264 by its quantiser: its rate factor 0 is lossless at 8 bits alone.
_LOSSLESS = (
    EncoderSettings("x264", preset="veryfast", options=(("qp", "0"),)),
    EncoderSettings("ffv1"),
    EncoderSettings("x265", preset="superfast", options=(("x265-params", "lossless=1"),)),
)


def lossless_settings(picture: PictureFormat) -> EncoderSettings:
    """Settings with which every pixel of such pictures comes back, in the same pixel format.

    H.264 where that is so, else FFV1, or HEVC for planes of RGB.
    Raises ValueError where no encoder takes them, as with packed RGB: they would have to be converted first.
    """
    for settings in _LOSSLESS:
        with suppress(ValueError):
            settings.check(picture)
            if _comes_back(settings.codec, picture.pixel_format):
                return settings
    raise ValueError(f"no lossless encoder here takes {picture.pixel_format}; convert such frames to planes first")


def _comes_back(codec: Codec, pixel_format: str) -> bool:
    """Whether the decoder gives the format that the encoder took.

    That of H.264 makes colours for grey pictures, that of FFV1 packed pixels of planes of 8-bit RGB.
    """
    return {"x264": pixel_format.startswith("yuv"), "ffv1": pixel_format != "gbrp"}.get(codec, True)


def encoder_options(settings: EncoderSettings, picture: PictureFormat, clock: Clock) -> dict[str, str]:
    """The encoder's options, by the names that FFmpeg has for them. Every segment of a video gets the same ones."""
    options = {"threads": str(settings.threads), "g": str(settings.gop_frames)}
    options |= _own_options(settings, picture, clock)
    if settings.crf is not None and settings.codec != "ffv1":
        options["crf"] = f"{settings.crf:g}"
    if settings.preset is not None and settings.codec != "ffv1":
        options["preset"] = settings.preset
    if picture.is_interlaced:
        options["flags"] = "+ildct+ilme" if settings.codec == "x264" else "+ildct"
    for name, value in settings.options:
        # What the encoder itself is told is added: the headers stay as they must be.
        options[name] = f"{options[name]}:{value}" if name.endswith("-params") and name in options else value
    return options


def _own_options(settings: EncoderSettings, picture: PictureFormat, clock: Clock) -> dict[str, str]:
    """What makes the headers of one encoder constant, its groups closed and its threads so many."""
    threads, fps = settings.threads, f"{clock.rate.numerator}/{clock.rate.denominator}"
    match settings.codec:
        case "x264":
            # It takes the order of fields from the frames, too late for its first headers.
            order = ":bff=1" if picture.field_order == "bff" else ""
            return {"x264-params": f"stitchable=1:open-gop=0:fps={fps}{order}"}
        case "x265":
            pools = "none" if threads == 1 else str(threads)
            frames = 1 if threads == 1 else 0
            fixed = f"open-gop=0:info=0:fps={fps}:log-level=error"
            return {"x265-params": f"{fixed}:pools={pools}:frame-threads={frames}"}
        case "svtav1":
            return {"svtav1-params": f"lp={threads}"}
        case "ffv1":
            return {"level": "3", "slicecrc": "1", "slices": "4", "g": "1"}


def container_options(clock: Clock) -> dict[str, str]:
    """Options of the mp4 muxer with which every time of ``clock`` is a whole tick."""
    return {"video_track_timescale": str(clock.time_base.denominator), "fflags": "+bitexact"}


def ffmpeg_encoder_options(settings: EncoderSettings, picture: PictureFormat, clock: Clock) -> dict[str, str | None]:
    """Return the options with which an external ffmpeg writes a segment file (.mp4), as ``pipe_command`` takes them."""
    tags = {
        "color_primaries": picture.primaries,
        "color_trc": picture.transfer,
        "colorspace": picture.matrix,
        "color_range": picture.color_range,
    }
    options: dict[str, str | None] = {
        "format": "mp4",
        "an": None,
        "c:v": settings.encoder,
        "pix_fmt": picture.pixel_format,
        "fps_mode": "passthrough",
        "enc_time_base": f"{clock.time_base.numerator}:{clock.time_base.denominator}",
        **{name: str(number) for name, number in tags.items()},
        **encoder_options(settings, picture, clock),
        **container_options(clock),
    }
    if settings.codec == "x264":  # it writes the rate of its time base, thousands of frames a second
        options["bsf:v"] = f"h264_metadata=tick_rate={2 * clock.rate}"
    return options
