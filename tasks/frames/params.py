"""Options of the frames stage. All of them enter the key."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from tasks.engine.contract.errors import Problem
from tasks.media.damage import OnDamage

Strategy = Literal["support-then-uniform", "uniform", "support", "rule"]
Rule = Literal["fps", "every", "all", "keyframes", "random", "shots"]
Clips = Literal["none", "copy", "exact"]
AudioFormat = Literal["flac", "wav"]
Audio = Literal["none", "flac", "wav"]
TimeOrigin = Literal["file", "first"]
ImageFormat = Literal["jpg", "png", "webp", "avif"]
Deinterlace = Literal["off", "flagged"]
Hdr = Literal["keep", "sdr"]
Alpha = Literal["drop", "keep", "black", "white"]
Format = Literal["jsonl", "parquet", "lance", "webdataset", "imagefolder"]
Labels = Literal["none", "folder"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

DEFAULT_MAX_FRAMES = 8  # without a rule
MAX_SIDE_PX = 16_384
_EVERY = re.compile(r"([1-9][0-9]{0,8})|(([0-9]{1,8}\.?[0-9]{0,9}|\.[0-9]{1,9})s)")
_CROP = re.compile(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}\+[0-9]{1,5}\+[0-9]{1,5}")
_ASPECT = re.compile(r"[1-9][0-9]{0,3}:[1-9][0-9]{0,3}")
_LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")
_RESIZE = re.compile(r"([1-9][0-9]{0,4})(?:x([1-9][0-9]{0,4}))?")
_SHARE = r"\s*[A-Za-z0-9][A-Za-z0-9_]{0,39}\s*=\s*([0-9]+\.?[0-9]*|\.[0-9]+)([eE]-?[0-9]+)?\s*"


def _check_resize(value: object) -> object:
    """Return ``value`` as text if it is a size. Raises ValueError with the allowed forms."""
    text = str(value) if isinstance(value, int) else value
    if not isinstance(text, str):
        return text
    match = _RESIZE.fullmatch(text)
    if match is None or any(int(side) > MAX_SIDE_PX for side in match.groups() if side):
        raise ValueError(
            "use WIDTHxHEIGHT, such as 640x360, or the longest side in pixels, such as 512"
            f" (each from 1 to {MAX_SIDE_PX})"
        )
    return text


def _check_every(value: object) -> object:
    """Return ``value`` as text if it is a step. Raises ValueError with the allowed forms."""
    text = str(value) if isinstance(value, int) else value
    if not isinstance(text, str):
        return text
    if not _EVERY.fullmatch(text) or not float(text.rstrip("s")):
        raise ValueError("use a number of frames, such as 10, or seconds with s, such as 2s or 0.5s")
    return text


def _check_crop(value: object) -> object:
    """Return ``value`` if it is a rectangle. Raises ValueError with the allowed form."""
    if isinstance(value, str) and not _CROP.fullmatch(value):
        raise ValueError("use WIDTHxHEIGHT+LEFT+TOP in pixels, such as 640x480+0+16")
    return value


def _check_aspect(value: object) -> object:
    """Return ``value`` if it is an aspect ratio. Raises ValueError with the allowed form."""
    if isinstance(value, str) and not _ASPECT.fullmatch(value):
        raise ValueError("use WIDTH:HEIGHT, such as 1:1 or 16:9")
    return value


def _check_license(value: object) -> object:
    """Return ``value`` if it is an identifier. Raises ValueError with the allowed form."""
    if isinstance(value, str) and not _LICENSE.fullmatch(value):
        raise ValueError("an identifier of letters, digits, '.', '+' and '-', such as cc-by-4.0")
    return value


# The patterns make Prefect's form reject other texts at once. The flow checks more, such as the sum of the shares.
Resize = Annotated[
    str, BeforeValidator(_check_resize), WithJsonSchema({"type": "string", "pattern": f"^{_RESIZE.pattern}$"})
]
Every = Annotated[
    str, BeforeValidator(_check_every), WithJsonSchema({"type": "string", "pattern": f"^({_EVERY.pattern})$"})
]
Crop = Annotated[str, BeforeValidator(_check_crop), WithJsonSchema({"type": "string", "pattern": f"^{_CROP.pattern}$"})]
Aspect = Annotated[
    str, BeforeValidator(_check_aspect), WithJsonSchema({"type": "string", "pattern": f"^{_ASPECT.pattern}$"})
]
License = Annotated[
    str, BeforeValidator(_check_license), WithJsonSchema({"type": "string", "pattern": f"^{_LICENSE.pattern}$"})
]
Rate = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
SplitShares = Annotated[
    str, WithJsonSchema({"type": "string", "pattern": rf"^(\s*|\s*folder\s*|{_SHARE}(,{_SHARE})*)$"})
]


class FramesParams(BaseModel):
    """Options for selecting frames and for their image files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_frames: Annotated[int | None, Field(ge=1, description="Maximum frames per sample; None for no limit")] = 8
    strategy: Annotated[
        Strategy,
        Field(description="Frames at support timestamps, then evenly spaced frames or those of a rule; or only one"),
    ] = "support-then-uniform"
    fps: Annotated[Rate | None, Field(description="Rule: frames per second of the video")] = None
    every: Annotated[Every | None, Field(description="Rule: every N-th frame, or a frame every so many seconds")] = None
    all: Annotated[bool, Field(description="Rule: all frames")] = False
    keyframes: Annotated[bool, Field(description="Rule: frames from which decoding can start")] = False
    random: Annotated[int | None, Field(ge=1, description="Rule: number of random frames")] = None
    seed: Annotated[int | None, Field(ge=0, description="Seed of the random frames; None is 0")] = None
    shots: Annotated[int | None, Field(ge=1, description="Rule: frames per shot")] = None
    time_origin: Annotated[
        TimeOrigin, Field(description="Times count from the start of the file, as in players, or from the first frame")
    ] = "file"
    frames: Annotated[bool, Field(description="Extract frames")] = True
    clips: Annotated[Clips, Field(description="Clips of the samples: copies of whole GOPs, or encoded again")] = "none"
    audio: Annotated[Audio, Field(description="Audio files of the samples")] = "none"
    image_format: Annotated[ImageFormat, Field(description="Image format of the frames")] = "jpg"
    quality: Annotated[int, Field(ge=1, le=100, description="Quality of jpg and webp; png is lossless")] = 90
    resize: Annotated[
        Resize | None,
        Field(description="WIDTHxHEIGHT, or the longest side in pixels (never enlarges); by default the video's size"),
    ] = None
    square_pixels: Annotated[bool, Field(description="Scale the width by the pixel aspect ratio")] = False
    crop: Annotated[Crop | None, Field(description="Keep this rectangle: WIDTHxHEIGHT+LEFT+TOP")] = None
    center_crop: Annotated[Aspect | None, Field(description="Keep the center with this aspect ratio")] = None
    pad: Annotated[Aspect | None, Field(description="Add black borders up to this aspect ratio")] = None
    deinterlace: Annotated[Deinterlace, Field(description="Deinterlace frames that are flagged as interlaced")] = "off"
    hdr: Annotated[Hdr, Field(description="Map PQ and HLG to SDR, or keep their values")] = "keep"
    depth: Annotated[Literal[8, 16], Field(description="Bits per channel; 16 for png only")] = 8
    alpha: Annotated[Alpha, Field(description="Drop the alpha channel, keep it, or flatten it on a color")] = "drop"
    on_damage: Annotated[
        OnDamage, Field(description="How to handle damaged or missing frames: skip and report them, or fail the video")
    ] = "skip"
    verify_frames: Annotated[Share, Field(description="Share of frames to compare with a full decode of the video")] = (
        0.0
    )


def get_rule(params: FramesParams) -> Rule | None:
    """Return the rule that selects frames; None if they are evenly spaced."""
    return next((rule for rule in get_args(Rule) if getattr(params, rule)), None)


def check_frames(values: Mapping[str, Any]) -> list[Problem]:
    """Return the contradictions between the options of the frames stage; ``values`` are those of FramesParams."""
    rules = [f"--{rule}" for rule in get_args(Rule) if values[rule]]
    return [*_check_rules(rules, values), *_check_random(values), *_check_files(rules, values), *_check_images(values)]


def _check_rules(rules: Sequence[str], values: Mapping[str, Any]) -> Iterator[Problem]:
    if len(rules) > 1:
        yield Problem(", ".join(rules), "given together", "one of them", "choose one")
    if rules and (strategy := values["strategy"]) in {"uniform", "support"}:
        allowed = f"support-then-uniform or rule with {rules[0]}"
        yield Problem(f"--strategy {strategy}", f"given with {rules[0]}", allowed, "remove one of the two")
    if not rules and values["strategy"] == "rule":
        listed = ", ".join(f"--{rule}" for rule in get_args(Rule))
        yield Problem("--strategy rule", "without a rule", f"with one of {listed}", "add one")
    if values["shots"] and importlib.util.find_spec("scenedetect") is None:
        advice = "install it by pip install --no-deps scenedetect"
        yield Problem("--shots", "needs the library scenedetect, which is missing", "it installed", advice)


def _check_random(values: Mapping[str, Any]) -> Iterator[Problem]:
    count, maximum = values["random"], values["max_frames"]
    if values["seed"] is not None and count is None:
        yield Problem("--seed", "given without --random", "both", "add --random, or remove --seed")
    if count and maximum and count > maximum:
        given = f"{count}, more than --max-frames {maximum}"
        yield Problem("--random", given, "at most the maximum", "change one of the two")


def _check_files(rules: Sequence[str], values: Mapping[str, Any]) -> Iterator[Problem]:
    if values["frames"]:
        return
    if values["clips"] == values["audio"] == "none":
        yield Problem("--no-frames", "given without --clips and --audio", "one of them", "add one")
    if rules:
        yield Problem("--no-frames", f"given with {rules[0]}", "one of the two", "remove one")


def _check_images(values: Mapping[str, Any]) -> Iterator[Problem]:
    form = values["image_format"]
    if values["depth"] == 16 and form != "png":
        yield Problem("--depth 16", f"given with {form}", "png", "add --image-format png")
    if values["alpha"] == "keep" and form == "jpg":
        yield Problem("--alpha keep", "given with jpg", "png, webp or avif", "change --image-format")


def choose_frames(values: Mapping[str, Any]) -> FramesParams:
    """Return the options of the frames stage among those of the flow. By default, rules have no maximum of frames."""
    has_rule = any(values[rule] for rule in get_args(Rule))
    max_frames = values["max_frames"] or (None if has_rule else DEFAULT_MAX_FRAMES)
    chosen = {name: values[name] for name in FramesParams.model_fields}
    return FramesParams(**{**chosen, "max_frames": max_frames})
