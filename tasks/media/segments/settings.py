"""Encoder settings that give all segments equal headers, so that their packets can be in one stream.

All GOPs are closed, headers do not depend on content, and one thread is used by default. The settings work with PyAV
and with an external ffmpeg; all segments of a video must use the same of the two, because their encoders may have
different versions.
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
# Codecs that preserve fields.
_INTERLACED: frozenset[Codec] = frozenset({"x264", "ffv1"})


@dataclass(frozen=True)
class EncoderSettings:
    """The settings of an encoder.

    crf, preset   on the encoder's scale; None for its default; ffv1 has neither
    gop_frames    maximum distance of keyframes; every frame of ffv1 is one
    options       additional options by FFmpeg's names; x264-params and the like are appended to those that segments
                  need
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
        """Raise ValueError if the encoder does not support such frames."""
        formats = [video_format.name for video_format in av.codec.Codec(self.encoder, "w").video_formats or []]
        if picture.pixel_format not in formats:
            raise ValueError(f"{self.codec} takes no {picture.pixel_format}; it takes {', '.join(formats)}")
        if picture.is_interlaced and self.codec not in _INTERLACED:
            raise ValueError(f"{self.codec} cannot keep fields; deinterlace, or use {' or '.join(sorted(_INTERLACED))}")


# x264 by its quantizer: CRF 0 is lossless at 8 bits only.
_LOSSLESS = (
    EncoderSettings("x264", preset="veryfast", options=(("qp", "0"),)),
    EncoderSettings("ffv1"),
    EncoderSettings("x265", preset="superfast", options=(("x265-params", "lossless=1"),)),
)


def choose_lossless_settings(picture: PictureFormat) -> EncoderSettings:
    """Return lossless settings for such frames, which keep the pixel format.

    The codec is H.264 if possible, else FFV1, or HEVC for planar RGB.
    Raises ValueError if no encoder supports them, as for packed RGB, which must be converted first.
    """
    for settings in _LOSSLESS:
        with suppress(ValueError):
            settings.check(picture)
            if _keeps_format(settings.codec, picture.pixel_format):
                return settings
    raise ValueError(f"no lossless encoder here takes {picture.pixel_format}; convert such frames to planes first")


def _keeps_format(codec: Codec, pixel_format: str) -> bool:
    """Return True if the decoder's output has the format of the encoder's input.

    The H.264 decoder adds chroma to gray frames, and the FFV1 decoder packs planar 8-bit RGB.
    """
    return {"x264": pixel_format.startswith("yuv"), "ffv1": pixel_format != "gbrp"}.get(codec, True)


def get_encoder_options(settings: EncoderSettings, picture: PictureFormat, clock: Clock) -> dict[str, str]:
    """Return the encoder's options by FFmpeg's names, which are equal for all segments of a video."""
    options = {"threads": str(settings.threads), "g": str(settings.gop_frames)}
    options |= _get_fixed_options(settings, picture, clock)
    if settings.crf is not None and settings.codec != "ffv1":
        options["crf"] = f"{settings.crf:g}"
    if settings.preset is not None and settings.codec != "ffv1":
        options["preset"] = settings.preset
    if picture.is_interlaced:
        options["flags"] = "+ildct+ilme" if settings.codec == "x264" else "+ildct"
    for name, value in settings.options:
        # Parameters of the encoder are appended, so that the required ones remain.
        options[name] = f"{options[name]}:{value}" if name.endswith("-params") and name in options else value
    return options


def _get_fixed_options(settings: EncoderSettings, picture: PictureFormat, clock: Clock) -> dict[str, str]:
    """Return the options for constant headers, closed GOPs and the number of threads."""
    threads, fps = settings.threads, f"{clock.rate.numerator}/{clock.rate.denominator}"
    match settings.codec:
        case "x264":
            # It reads the field order from frames, which is too late for its first headers.
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


def get_container_options(clock: Clock) -> dict[str, str]:
    """Return the options of the MP4 muxer for ticks that represent all times of ``clock``."""
    return {"video_track_timescale": str(clock.time_base.denominator), "fflags": "+bitexact"}


def get_ffmpeg_options(settings: EncoderSettings, picture: PictureFormat, clock: Clock) -> dict[str, str | None]:
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
        **get_encoder_options(settings, picture, clock),
        **get_container_options(clock),
    }
    if settings.codec == "x264":  # otherwise it writes the rate of its time base, thousands of frames per second
        options["bsf:v"] = f"h264_metadata=tick_rate={2 * clock.rate}"
    return options
